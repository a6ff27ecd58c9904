//! An e-mail address in the one form in which it is kept and compared. Pure.
//!
//! The whole address is folded to lower case: no provider in use tells mailboxes apart by case, and two accounts that look alike
//! are worse. Left out: quoted and non-ASCII local parts, addresses of IP literals, and whether anybody reads the mail.

use url::Host;

/// RFC 5321 §4.5.3.1: what fits a path without its brackets.
const EMAIL_BYTES_MAX: usize = 254;
/// RFC 5321 §4.5.3.1.1.
const LOCAL_BYTES_MAX: usize = 64;
/// RFC 5322 §3.2.3, `atext` without letters and digits.
const LOCAL_MARKS: &[u8] = b"!#$%&'*+-/=?^_`{|}~.";

/// A normalised address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailFault {
    #[error("must be an e-mail address, as in name@example.org")]
    Shape,
    #[error("must be at most {EMAIL_BYTES_MAX} bytes long")]
    Length,
}

impl Email {
    /// Trims and folds; domains in other scripts become their ASCII form.
    pub fn parse(text: &str) -> Result<Self, EmailFault> {
        let text = text.trim();
        if text.len() > EMAIL_BYTES_MAX {
            return Err(EmailFault::Length);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailFault::Shape)?;
        let domain = domain_name(domain).ok_or(EmailFault::Shape)?;
        if !is_local(local) {
            return Err(EmailFault::Shape);
        }
        let email = format!("{}@{domain}", local.to_ascii_lowercase());
        match email.len() <= EMAIL_BYTES_MAX {
            true => Ok(Self(email)),
            false => Err(EmailFault::Length),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

fn is_local(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || LOCAL_MARKS.contains(&byte);
    (1..=LOCAL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && text.split('.').all(|atom| !atom.is_empty())
}

/// Lower case, ASCII; no address literal, no name without a dot.
fn domain_name(text: &str) -> Option<String> {
    // A percent sign would be decoded, and is in no name.
    if text.contains('%') {
        return None;
    }
    let Ok(Host::Domain(name)) = Host::parse(text) else {
        return None;
    };
    let labels = name.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    (labels && name.contains('.')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one() {
        for text in ["Ada@Example.org", " ada@example.org\n", "ADA@EXAMPLE.ORG"] {
            assert_eq!(
                Email::parse(text).unwrap().as_str(),
                "ada@example.org",
                "{text}"
            );
        }
        let other = Email::parse("ada+news@bücher.example").unwrap();
        assert_eq!(other.as_str(), "ada+news@xn--bcher-kva.example");
        assert_eq!(other.local(), "ada+news");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "@",
            "ada",
            "ada@",
            "@example.org",
            "a b@example.org",
            "ada@example",
            "ada@exa mple.org",
            "ada@[127.0.0.1]",
            "ada@127.0.0.1",
            ".ada@example.org",
            "ada.@example.org",
            "a..da@example.org",
            "ada@example..org",
            "ada@-x.org",
            "ada@example.org.",
            "ada@ex%61mple.org",
            "\"a\"@example.org",
            "ada\0@example.org",
            "adä@example.org",
            "a@b@example.org",
        ] {
            assert_eq!(Email::parse(text), Err(EmailFault::Shape), "{text:?}");
        }
    }

    #[test]
    fn lengths_hold_at_their_ends() {
        let local = "a".repeat(64);
        assert!(Email::parse(&format!("{local}@example.org")).is_ok());
        assert_eq!(
            Email::parse(&format!("a{local}@example.org")),
            Err(EmailFault::Shape)
        );
        let label = "b".repeat(61);
        let domain = format!("{label}.{label}.{label}.org");
        assert_eq!(format!("a@{domain}").len(), 191);
        assert!(Email::parse(&format!("{}@{domain}", "a".repeat(64))).is_ok());
        let long = format!("{}@{label}.{domain}", "a".repeat(2));
        assert_eq!(long.len(), 254);
        assert!(Email::parse(&long).is_ok());
        assert_eq!(Email::parse(&format!("a{long}")), Err(EmailFault::Length));
    }
}
