//! How an article sounds: a number from -1 to 1 and one of three words, by a model with a name and a version.
//!
//! What is measured is the tone of the words, not whether the news is good. `lexicon` is the default and needs nothing;
//! `onnx` (a feature of the build) runs a model that the operator brings. Only headline and description are read: long texts
//! saturate every such measure. A text that can't be scored has no sentiment, and that is all: scoring never loses an article.

mod lexicon;
#[cfg(feature = "onnx")]
mod onnx;
mod plain;
#[cfg(feature = "onnx")]
mod wordpiece;

pub use lexicon::Lexicon;
#[cfg(feature = "onnx")]
pub use onnx::OnnxModel;

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// The word for a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    Positive,
    Neutral,
    Negative,
}

impl Label {
    pub const ALL: [Self; 3] = [Self::Positive, Self::Neutral, Self::Negative];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Neutral => "neutral",
            Self::Negative => "negative",
        }
    }

    /// Neutral is what lies nearer to zero than the threshold.
    fn of(score: f64, threshold: f64) -> Self {
        if score >= threshold {
            Self::Positive
        } else if score <= -threshold {
            Self::Negative
        } else {
            Self::Neutral
        }
    }
}

/// What a model made of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// From -1 to 1, never NaN, four decimals.
    pub value: f64,
    pub label: Label,
}

impl Score {
    /// Whatever a model computes: out of range is cut, NaN is nothing.
    fn new(value: f64, threshold: f64) -> Option<Self> {
        let value = (value.clamp(-1.0, 1.0) * 10_000.0).round() / 10_000.0;
        (!value.is_nan()).then(|| Self {
            // No minus before a zero.
            value: value + 0.0,
            label: Label::of(value, threshold),
        })
    }
}

/// What is read of an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    pub title: &'a str,
    pub description: Option<&'a str>,
    /// Two letters; `None` when nobody knows.
    pub language: Option<&'a str>,
}

/// Which model scored, so that scores can be told apart and renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    pub name: String,
    pub version: String,
}

/// Why a text could not be scored, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScoreError(pub String);

/// Why a model can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("this build runs no ONNX models: build it with --features onnx")]
    NotBuilt,
    #[error("{path}: {cause}")]
    Unusable { path: String, cause: String },
}

/// Whatever scores texts.
pub trait Scorer: Debug + Send + Sync {
    fn model(&self) -> &ModelName;

    /// `None` for a text that the model doesn't claim to understand.
    fn score(&self, text: Text<'_>) -> Result<Option<Score>, ScoreError>;
}

/// The scorer that the settings ask for: the lexicon, or the ONNX model in this file.
pub fn scorer(model: Option<&Path>) -> Result<Arc<dyn Scorer>, ModelError> {
    match model {
        None => Ok(Arc::new(Lexicon::new())),
        #[cfg(feature = "onnx")]
        Some(path) => Ok(Arc::new(OnnxModel::load(path)?)),
        #[cfg(not(feature = "onnx"))]
        Some(_) => Err(ModelError::NotBuilt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_in_range_or_none() {
        let rows = [
            (0.049_9, Some((0.049_9, Label::Neutral))),
            (0.05, Some((0.05, Label::Positive))),
            (-0.05, Some((-0.05, Label::Negative))),
            (7.0, Some((1.0, Label::Positive))),
            (f64::NEG_INFINITY, Some((-1.0, Label::Negative))),
            (-0.000_01, Some((0.0, Label::Neutral))),
            (f64::NAN, None),
        ];
        for (value, expected) in rows {
            let score = Score::new(value, 0.05).map(|score| (score.value, score.label));
            assert_eq!(score, expected, "{value}");
        }
    }
}
