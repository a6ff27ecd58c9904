//! What of an article is worth scoring: its own words, without those that a publisher puts under every article.

use super::Text;

/// More of a description is not scored.
const CHARS_MAX: usize = 1_000;

/// Beginnings of what is not about the story. From such a place on, up to the end of the sentence, text is left out.
const BOILERPLATE: &[&str] = &[
    "unlocked and free to read",
    "free to read in the interest of",
    "sign up for",
    "sign up to",
    "subscribe to",
    "click here",
    "read more",
    "continue reading",
    "all rights reserved",
    "get our",
    "follow us on",
    "support our journalism",
    "this article was originally published",
    "the post ",
    "image source",
    "image caption",
    "related:",
    "advertisement",
];

/// Headline and description as sentences.
pub(super) fn of(text: Text<'_>) -> String {
    let mut plain = text.title.trim().to_owned();
    let description: String = text
        .description
        .unwrap_or_default()
        .chars()
        .take(CHARS_MAX)
        .collect();
    for sentence in sentences(&description) {
        if !is_boilerplate(sentence) && !text.title.contains(sentence) {
            let ends = plain.ends_with(['.', '!', '?', '…']);
            plain.push_str(if ends { " " } else { ". " });
            plain.push_str(sentence);
        }
    }
    plain
}

/// Good enough to find boilerplate by: a stop and a blank end a sentence.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(". ")
        .flat_map(|part| part.split_inclusive("! "))
        .flat_map(|part| part.split_inclusive("? "))
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
}

fn is_boilerplate(sentence: &str) -> bool {
    let lower = sentence.to_lowercase();
    BOILERPLATE.iter().any(|words| lower.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(title: &str, description: &str) -> String {
        of(Text {
            title,
            description: Some(description),
            language: Some("en"),
        })
    }

    #[test]
    fn a_publishers_own_words_are_left_out() {
        let rows = [
            (
                "Vaccine trial begins",
                "This story is unlocked and free to read in the interest of community health and safety. Doctors enrolled 300 people.",
                "Vaccine trial begins. Doctors enrolled 300 people.",
            ),
            (
                "Talks stall",
                "Sign up for our great free newsletter! Ministers left early.",
                "Talks stall. Ministers left early.",
            ),
            ("Why now?", "Nobody knows.", "Why now? Nobody knows."),
            ("Talks stall.", "Talks stall.", "Talks stall."),
            ("Talks stall", "", "Talks stall"),
        ];
        for (title, description, expected) in rows {
            assert_eq!(plain(title, description), expected);
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_description_is_read() {
        let text = plain("A title", &"word ".repeat(100_000));
        assert!(text.len() < 1_100, "{}", text.len());
    }
}
