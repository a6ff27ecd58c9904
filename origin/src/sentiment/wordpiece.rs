//! From a text to the numbers that BERT-like models read: the uncased tokenizer with a vocabulary file, one token a line.

use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longer words are unknown ones.
const WORD_CHARS_MAX: usize = 100;

/// The vocabulary of a model.
#[derive(Debug)]
pub(super) struct WordPiece {
    ids: HashMap<String, i64>,
    unknown: i64,
    begin: i64,
    end: i64,
}

impl WordPiece {
    /// Reads a `vocab.txt`. The three special tokens must be in it.
    pub(super) fn parse(vocabulary: &str) -> Result<Self, String> {
        let ids: HashMap<String, i64> = vocabulary
            .lines()
            .map(|line| line.trim_end_matches('\r').to_owned())
            .zip(0..)
            .collect();
        let special = |token: &str| {
            ids.get(token)
                .copied()
                .ok_or_else(|| format!("has no {token}: is it the vocabulary of an uncased BERT?"))
        };
        let (unknown, begin, end) = (special("[UNK]")?, special("[CLS]")?, special("[SEP]")?);
        Ok(Self {
            ids,
            unknown,
            begin,
            end,
        })
    }

    /// At most so many tokens, with those for beginning and end.
    pub(super) fn encode(&self, text: &str, tokens_max: usize) -> Vec<i64> {
        let mut tokens = vec![self.begin];
        for word in words(text) {
            tokens.extend(self.pieces(&word));
        }
        tokens.truncate(tokens_max.saturating_sub(1));
        tokens.push(self.end);
        tokens
    }

    /// The longest known beginning, then the longest known continuation, and so on; a rest that is in no way known makes the
    /// whole word unknown.
    fn pieces(&self, word: &str) -> Vec<i64> {
        let chars: Vec<char> = word.chars().collect();
        if chars.len() > WORD_CHARS_MAX {
            return vec![self.unknown];
        }
        let (mut pieces, mut start) = (Vec::new(), 0);
        while start < chars.len() {
            let known = (start + 1..=chars.len()).rev().find_map(|end| {
                let piece: String = chars.get(start..end)?.iter().collect();
                let piece = if start == 0 {
                    piece
                } else {
                    format!("##{piece}")
                };
                Some((*self.ids.get(&piece)?, end))
            });
            match known {
                Some((id, end)) => {
                    pieces.push(id);
                    start = end;
                }
                None => return vec![self.unknown],
            }
        }
        pieces
    }
}

/// Lower case without accents; every punctuation mark and every Chinese character is a word of its own.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let lower = text.chars().flat_map(char::to_lowercase);
    for c in lower.nfd().filter(|c| !is_combining_mark(*c)) {
        let alone = !c.is_alphanumeric() || matches!(c, '\u{3400}'..='\u{9fff}');
        if (alone || c.is_whitespace()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if alone && !c.is_whitespace() && !c.is_control() {
            words.push(c.to_string());
        } else if !alone {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wordpiece() -> WordPiece {
        WordPiece::parse("[PAD]\n[UNK]\n[CLS]\n[SEP]\nquake\n##s\nun\n##safe\n!\ncafe\n国")
            .expect("a vocabulary")
    }

    #[test]
    fn words_are_cut_into_the_longest_known_pieces() {
        let rows: [(&str, &[i64]); 6] = [
            ("Quakes!", &[2, 4, 5, 8, 3]),
            ("unsafe CAFÉ", &[2, 6, 7, 9, 3]),
            ("quakex", &[2, 1, 3]),
            ("", &[2, 3]),
            ("国国", &[2, 10, 10, 3]),
            ("\0\u{7}quake\n", &[2, 4, 3]),
        ];
        for (text, expected) in rows {
            assert_eq!(wordpiece().encode(text, 32), expected, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_and_still_end() {
        let tokens = wordpiece().encode(&"quake ".repeat(1_000), 16);
        assert_eq!((tokens.len(), tokens.last()), (16, Some(&3)));
        assert_eq!(wordpiece().encode(&"x".repeat(10_000), 16), [2, 1, 3]);
    }

    #[test]
    fn a_file_that_is_no_vocabulary_is_refused() {
        assert!(WordPiece::parse("a\nb\n").is_err());
    }
}
