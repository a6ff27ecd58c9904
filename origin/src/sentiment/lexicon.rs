//! VADER: a list of English words with the tone that people gave them, and rules for what stands around them. Made for short
//! informal texts; it knows nothing of what happened ("Peace talks collapse" sounds good to it), and names that are words count.

use super::{ModelName, Score, ScoreError, Scorer, Text, plain};
use std::fmt;
use vader_parity::SentimentIntensityAnalyzer;

/// The thresholds that VADER's authors give.
const THRESHOLD: f64 = 0.05;

/// The default scorer: no model file, some twenty microseconds a text, English only.
pub struct Lexicon {
    model: ModelName,
    analyzer: SentimentIntensityAnalyzer,
}

impl Lexicon {
    pub fn new() -> Self {
        Self {
            model: ModelName {
                name: "vader".to_owned(),
                // The lexicon's; a change in what is read of an article (`plain`) counts as well.
                version: "3.3.2-1".to_owned(),
            },
            analyzer: SentimentIntensityAnalyzer::new(),
        }
    }
}

impl Default for Lexicon {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lexicon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lexicon").field(&self.model).finish()
    }
}

impl Scorer for Lexicon {
    fn model(&self) -> &ModelName {
        &self.model
    }

    fn score(&self, text: Text<'_>) -> Result<Option<Score>, ScoreError> {
        if text.language != Some("en") {
            return Ok(None);
        }
        let scores = self.analyzer.polarity_scores(&plain::of(text));
        Ok(Score::new(scores.compound, THRESHOLD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::Label;

    fn score(title: &str, language: Option<&str>) -> Option<Score> {
        let text = Text {
            title,
            description: None,
            language,
        };
        Lexicon::new().score(text).expect("a score")
    }

    #[test]
    fn english_words_have_a_tone() {
        let rows = [
            (
                "Rescuers celebrate as all miners are found alive and well",
                Label::Positive,
            ),
            (
                "Dozens killed in terrible attack on a market",
                Label::Negative,
            ),
            ("Committee publishes its agenda for Tuesday", Label::Neutral),
        ];
        for (title, label) in rows {
            assert_eq!(
                score(title, Some("en")).map(|score| score.label),
                Some(label),
                "{title}"
            );
        }
    }

    #[test]
    fn figures_are_those_of_the_reference() {
        // As vaderSentiment 3.3.2 for Python gives them.
        let rows = [
            ("Peace talks collapse", 0.0772),
            ("Earthquake of magnitude 7.8 hits Turkey", 0.0),
        ];
        for (title, expected) in rows {
            assert_eq!(
                score(title, Some("en")).map(|score| score.value),
                Some(expected),
                "{title}"
            );
        }
    }

    #[test]
    fn other_languages_have_none() {
        assert_eq!(score("Die Minister starben nicht", Some("de")), None);
        assert_eq!(score("Terrible news", None), None);
    }
}
