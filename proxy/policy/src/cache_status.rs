//! The `Cache-Status` member of an outcome (RFC 9211).
//!
//! `detail` carries the reason's code wherever the registered parameters don't say as much.

use std::fmt;

use crate::outcome::{Forward, Outcome, Stored};
use crate::reason::{Reason, forwarded};
use crate::request::Pass;

impl Outcome {
    /// The member of `Cache-Status` for a cache of this name (RFC 9211 §2).
    pub fn cache_status(&self, name: &str) -> String {
        let mut member = cache_name(name);
        // Into memory: it cannot fail.
        let _ = self.write_parameters(&mut member);
        member
    }

    /// The same without the name, from the first semicolon on.
    pub fn write_parameters(&self, member: &mut impl fmt::Write) -> fmt::Result {
        match *self {
            Self::Hit { ttl_s } | Self::HitUnverified { ttl_s } | Self::Stale { ttl_s, .. } => {
                member.write_str("; hit; ttl=")?;
                write!(member, "{ttl_s}")?;
            }
            _ => self.write_other_parameters(member)?,
        }
        match self.detail() {
            Some(detail) => {
                member.write_str("; detail=")?;
                member.write_str(detail.as_str())
            }
            None => Ok(()),
        }
    }

    fn write_other_parameters(&self, member: &mut impl fmt::Write) -> fmt::Result {
        match *self {
            Self::Revalidated {
                fwd,
                status,
                ttl_s,
                stored,
            } => {
                let (fwd, stored) = (fwd.fwd(), if stored { "; stored" } else { "" });
                write!(
                    member,
                    "; fwd={fwd}; fwd-status={status}{stored}; ttl={ttl_s}"
                )
            }
            Self::Miss {
                fwd,
                status,
                stored,
                collapsed,
            } => {
                // §2.5: `stored` is about the fetch of the request that it stands on.
                let more = match (collapsed, stored) {
                    (true, _) => "; collapsed",
                    (false, Stored::Yes) => "; stored",
                    (false, _) => "",
                };
                write!(member, "; fwd={}; fwd-status={status}{more}", fwd.fwd())
            }
            Self::Bypass { pass, status } => {
                write!(member, "; fwd={}", fwd_of(pass))?;
                match status {
                    Some(status) => write!(member, "; fwd-status={status}"),
                    None => Ok(()),
                }
            }
            // Neither served from the store nor forwarded.
            Self::OnlyIfCached
            | Self::Error(_)
            | Self::Hit { .. }
            | Self::HitUnverified { .. }
            | Self::Stale { .. } => Ok(()),
        }
    }

    /// The code, where the other parameters don't say it.
    fn detail(&self) -> Option<Reason> {
        let reason = self.reason();
        let said = match *self {
            Self::Hit { .. } => true,
            Self::Revalidated { fwd, .. } => fwd != Forward::Unverified,
            Self::Bypass { pass, .. } => fwd_of(pass) == reason.as_str(),
            Self::Miss { fwd, .. } => reason == forwarded(fwd) && is_token_of_its_own(fwd),
            _ => false,
        };
        (!said).then_some(reason)
    }
}

/// §2.2: a method that must reach the origin has a token of its own.
fn fwd_of(pass: Pass) -> &'static str {
    match pass {
        Pass::Method => "method",
        _ => "bypass",
    }
}

/// Whether the `fwd` token says all there is to say.
fn is_token_of_its_own(fwd: Forward) -> bool {
    !matches!(
        fwd,
        Forward::HitForMiss | Forward::CallerNamed | Forward::NoStorage | Forward::Unverified
    )
}

/// §2: a String or a Token (RFC 9651 §3.3.3, §3.3.4). A name that is no token is quoted, without what
/// no String may hold.
fn cache_name(name: &str) -> String {
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*') && name.chars().all(tchar) {
        return name.to_owned();
    }
    let mut quoted = String::from('"');
    for c in name.chars().filter(|c| matches!(c, ' '..='~')) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
