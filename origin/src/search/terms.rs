//! From what people type to what the databases are asked: never an error, whatever the text.
//!
//! Words are all wanted; `"..."` wants them side by side, `-` before a word or a phrase doesn't want it, `or` stands between
//! alternatives. Everything else that isn't a letter or a digit parts words. The result is rendered anew for each database, so no
//! operator of theirs is ever reached by what a person typed. Only so much of a text is looked at; the rest is left out.

use super::stop::is_stop_word;

/// Longer texts are cut: nobody types so much, and each word costs a look into the index.
const CHARS_MAX: usize = 400;
const WORDS_MAX: usize = 24;
/// Longer words stand in no article.
const WORD_CHARS_MAX: usize = 64;

/// One word, or several that stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    words: Vec<String>,
}

/// What must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Branch {
    wanted: Vec<Term>,
    unwanted: Vec<Term>,
}

/// What is searched for: one branch or another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    branches: Vec<Branch>,
}

impl Terms {
    /// Makes sense of any text. What wants nothing, or small words only, is empty and finds nothing.
    pub fn parse(text: &str) -> Self {
        let mut branches = vec![Branch::default()];
        let mut words_left = WORDS_MAX;
        for piece in pieces(text) {
            match piece {
                Piece::Or => branches.push(Branch::default()),
                Piece::Term { mut words, wanted } => {
                    words.truncate(words_left);
                    words_left -= words.len();
                    let Some(branch) = branches.last_mut() else {
                        continue;
                    };
                    let terms = if wanted {
                        &mut branch.wanted
                    } else {
                        &mut branch.unwanted
                    };
                    terms.push(Term { words });
                }
            }
        }
        for branch in &mut branches {
            branch.wanted.retain(Term::says_something);
            branch.unwanted.retain(Term::says_something);
        }
        branches.retain(|branch| !branch.wanted.is_empty());
        Self { branches }
    }

    /// Nothing can be found by it.
    pub fn is_empty(&self) -> bool {
        self.branches.is_empty()
    }

    /// For `websearch_to_tsquery`: every term in quotes, so that no word is an operator.
    pub(super) fn postgres(&self) -> String {
        let branch = |branch: &Branch| {
            let wanted = branch.wanted.iter().map(Term::quoted);
            let unwanted = branch
                .unwanted
                .iter()
                .map(|term| format!("-{}", term.quoted()));
            wanted.chain(unwanted).collect::<Vec<_>>().join(" ")
        };
        let branches: Vec<String> = self.branches.iter().map(branch).collect();
        branches.join(" or ")
    }

    /// As `postgres`, with the words of phrases anywhere: what the index can tell without looking at articles.
    pub(super) fn all_words(&self) -> String {
        let branch = |branch: &Branch| {
            let wanted = branch.wanted.iter().flat_map(|term| &term.words);
            let wanted = wanted.map(|word| format!("\"{word}\""));
            let unwanted = branch
                .unwanted
                .iter()
                .filter(|term| term.words.len() == 1)
                .map(|term| format!("-{}", term.quoted()));
            wanted.chain(unwanted).collect::<Vec<_>>().join(" ")
        };
        let branches: Vec<String> = self.branches.iter().map(branch).collect();
        branches.join(" or ")
    }

    /// For FTS5's `MATCH`.
    pub(super) fn sqlite(&self) -> String {
        let joined = |terms: &[Term], word: &str| {
            let terms: Vec<String> = terms.iter().map(Term::quoted).collect();
            format!("({})", terms.join(word))
        };
        let branch = |branch: &Branch| {
            let wanted = joined(&branch.wanted, " AND ");
            if branch.unwanted.is_empty() {
                return wanted;
            }
            format!("({wanted} NOT {})", joined(&branch.unwanted, " OR "))
        };
        let branches: Vec<String> = self.branches.iter().map(branch).collect();
        branches.join(" OR ")
    }

    /// The words that are wanted by themselves, for whom another spelling may be found.
    pub(super) fn single_words(&self) -> Vec<&str> {
        let wanted = self.branches.iter().flat_map(|branch| &branch.wanted);
        wanted
            .filter_map(|term| match term.words.as_slice() {
                [word] => Some(word.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The same with other words in the place of some.
    pub(super) fn with_words(&self, other: impl Fn(&str) -> Option<String>) -> Self {
        let mut changed = self.clone();
        let wanted = changed
            .branches
            .iter_mut()
            .flat_map(|branch| &mut branch.wanted);
        for term in wanted {
            if let [word] = term.words.as_mut_slice()
                && let Some(better) = other(word)
            {
                *word = better;
            }
        }
        changed
    }

    /// Whether words must stand side by side somewhere, which no index knows without looking at each article.
    pub(super) fn has_phrase(&self) -> bool {
        let terms = self
            .branches
            .iter()
            .flat_map(|branch| branch.wanted.iter().chain(&branch.unwanted));
        terms.into_iter().any(|term| term.words.len() > 1)
    }
}

/// As a person would type it.
impl std::fmt::Display for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, branch) in self.branches.iter().enumerate() {
            let wanted = branch.wanted.iter().map(|term| ("", term));
            let unwanted = branch.unwanted.iter().map(|term| ("-", term));
            f.write_str(if n == 0 { "" } else { " or " })?;
            for (n, (sign, term)) in wanted.chain(unwanted).enumerate() {
                f.write_str(if n == 0 { "" } else { " " })?;
                match term.words.as_slice() {
                    [word] => write!(f, "{sign}{word}")?,
                    _ => write!(f, "{sign}{}", term.quoted())?,
                }
            }
        }
        Ok(())
    }
}

impl Term {
    fn says_something(&self) -> bool {
        self.words.iter().any(|word| !is_stop_word(word))
    }

    /// Words are letters and digits, so there is no quote in them.
    fn quoted(&self) -> String {
        format!("\"{}\"", self.words.join(" "))
    }
}

enum Piece {
    Or,
    Term { words: Vec<String>, wanted: bool },
}

/// Cuts a text at blanks and around quotes.
fn pieces(text: &str) -> Vec<Piece> {
    let text: String = text.chars().take(CHARS_MAX).collect();
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        let (sign, from) = match rest.get(start..).unwrap_or_default() {
            negated if negated.starts_with('-') => (false, negated.get(1..).unwrap_or_default()),
            plain => (true, plain),
        };
        let (raw, after, quoted) = match from.strip_prefix('"') {
            Some(phrase) => {
                let (inside, after) = phrase.split_once('"').unwrap_or((phrase, ""));
                (inside, after, true)
            }
            None => {
                let end = from
                    .find(|c: char| c.is_whitespace() || c == '"')
                    .unwrap_or(from.len());
                let (word, after) = from.split_at(end);
                (word, after, false)
            }
        };
        rest = after;
        if !quoted && sign && raw.eq_ignore_ascii_case("or") {
            pieces.push(Piece::Or);
            continue;
        }
        let words = words(raw);
        if !words.is_empty() {
            pieces.push(Piece::Term {
                words,
                wanted: sign,
            });
        }
    }
    pieces
}

/// The words of a text, in lower case, as both databases' tokenisers see them.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let lower = word.chars().flat_map(char::to_lowercase);
            lower
                .filter(|c| c.is_alphanumeric())
                .take(WORD_CHARS_MAX)
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type_is_rendered_for_both_databases() {
        let rows = [
            ("quake", r#""quake""#, r#"("quake")"#),
            (
                "Quake TURKEY",
                r#""quake" "turkey""#,
                r#"("quake" AND "turkey")"#,
            ),
            (
                r#""prime minister" -resigns"#,
                r#""prime minister" -"resigns""#,
                r#"(("prime minister") NOT ("resigns"))"#,
            ),
            (
                "cats or dogs -birds",
                r#""cats" or "dogs" -"birds""#,
                r#"("cats") OR (("dogs") NOT ("birds"))"#,
            ),
            ("covid-19", r#""covid 19""#, r#"("covid 19")"#),
            (
                "a & b | !c:* <-> d",
                r#""b" "c" "d""#,
                r#"("b" AND "c" AND "d")"#,
            ),
            (
                r#"open "quote never ends"#,
                r#""open" "quote never ends""#,
                r#"("open" AND "quote never ends")"#,
            ),
            (
                "NEAR(cat dog) title:x*",
                r#""near cat" "dog" "title x""#,
                r#"("near cat" AND "dog" AND "title x")"#,
            ),
            ("nul\0byte", r#""nul byte""#, r#"("nul byte")"#),
            ("the OR \"or\" quake", r#""quake""#, r#"("quake")"#),
        ];
        for (text, postgres, sqlite) in rows {
            let terms = Terms::parse(text);
            assert_eq!(terms.postgres(), postgres, "{text:?}");
            assert_eq!(terms.sqlite(), sqlite, "{text:?}");
        }
    }

    #[test]
    fn what_wants_nothing_is_empty() {
        for text in [
            "",
            "   ",
            "the",
            "the and of",
            "-quake",
            "- \"\" or",
            "or or",
            "!&|()<->:*\"'",
            "-",
            "\0",
            "\"the of\"",
        ] {
            assert!(Terms::parse(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn much_text_is_cut() {
        let terms = Terms::parse(&"word ".repeat(100_000));
        assert_eq!(terms.single_words().len(), WORDS_MAX);
        let long = Terms::parse(&"x".repeat(100_000));
        assert_eq!(long.single_words(), ["x".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn another_spelling_takes_the_place_of_a_word_and_not_of_a_phrase() {
        let terms = Terms::parse("erthquake \"erthquake zone\"");
        let better =
            terms.with_words(|word| (word == "erthquake").then(|| "earthquake".to_owned()));
        assert_eq!(better.to_string(), "earthquake \"erthquake zone\"");
    }

    proptest! {
        #[test]
        fn no_text_reaches_an_operator(text in ".{0,120}") {
            let terms = Terms::parse(&text);
            for word in terms.branches.iter().flat_map(|b| b.wanted.iter().chain(&b.unwanted)).flat_map(|t| &t.words) {
                prop_assert!(!word.is_empty() && word.chars().all(char::is_alphanumeric), "{word:?}");
            }
            let again = Terms::parse(&terms.to_string());
            prop_assert_eq!(again, terms);
        }
    }
}
