//! A neural network that the operator brings: a BERT-like classifier as an ONNX file, `vocab.txt` beside it.
//!
//! It reads `input_ids` and, if it has them, `attention_mask` and `token_type_ids` (64-bit integers, one row), and gives the logits
//! of two classes (negative, positive) or three (negative, neutral, positive). What language it is for is the operator's business;
//! it is asked about every text.

use super::wordpiece::WordPiece;
use super::{ModelError, ModelName, Score, ScoreError, Scorer, Text, plain};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue,
    TVec, Tensor, TractResult, TypedRunnableModel, onnx,
};

/// Every text is brought to this length: headline and description hardly ever have more tokens.
const TOKENS: usize = 128;
/// Nearer to zero is neutral: neither side has a lead worth the name.
const THRESHOLD: f64 = 0.25;
/// Larger files are no model for headlines.
const MODEL_BYTES_MAX: u64 = 1 << 30;

/// What an input of the network is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    Types,
}

/// A loaded model.
pub struct OnnxModel {
    model: ModelName,
    words: WordPiece,
    inputs: Vec<Input>,
    network: Arc<TypedRunnableModel>,
}

impl OnnxModel {
    /// Loads the model at this path and tries it once, so that one that can't work is found at start.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::read(path).map_err(|cause| ModelError::Unusable {
            path: path.display().to_string(),
            cause,
        })
    }

    fn read(path: &Path) -> Result<Self, String> {
        let length = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if length.len() > MODEL_BYTES_MAX {
            return Err(format!("is larger than {MODEL_BYTES_MAX} bytes"));
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let vocabulary = std::fs::read_to_string(path.with_file_name("vocab.txt"))
            .map_err(|error| format!("vocab.txt beside it: {error}"))?;
        let words = WordPiece::parse(&vocabulary).map_err(|fault| format!("vocab.txt {fault}"))?;
        let (network, inputs) = network(&bytes)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let digest = Sha256::digest(&bytes);
        let version: String = digest
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let model = Self {
            model: ModelName {
                name: format!("onnx:{stem}"),
                version,
            },
            words,
            inputs,
            network,
        };
        model.logits("a test").map_err(|error| error.to_string())?;
        Ok(model)
    }

    /// What the network says of a text, for each class.
    fn logits(&self, text: &str) -> Result<Vec<f32>, ScoreError> {
        let mut ids = self.words.encode(text, TOKENS);
        let mut mask = vec![1_i64; ids.len()];
        ids.resize(TOKENS, 0);
        mask.resize(TOKENS, 0);
        let tensor = |input: &Input| {
            let row = match input {
                Input::Ids => ids.as_slice(),
                Input::Mask => mask.as_slice(),
                Input::Types => &[0; TOKENS],
            };
            Tensor::from_shape(&[1, TOKENS], row).map(IntoTValue::into_tvalue)
        };
        let run = || -> TractResult<Vec<f32>> {
            let inputs: TractResult<TVec<_>> = self.inputs.iter().map(tensor).collect();
            let outputs = self.network.run(inputs?)?;
            let Some(first) = outputs.first() else {
                return Ok(Vec::new());
            };
            let numbers = first.cast_to::<f32>()?;
            Ok(numbers
                .to_plain_array_view::<f32>()?
                .iter()
                .copied()
                .collect())
        };
        let logits = run().map_err(|error| ScoreError(format!("{error:#}")))?;
        match logits.len() {
            2 | 3 => Ok(logits),
            other => Err(ScoreError(format!(
                "it gives {other} numbers, not those of two or three classes"
            ))),
        }
    }
}

fn network(bytes: &[u8]) -> Result<(Arc<TypedRunnableModel>, Vec<Input>), String> {
    let failed = |error: tract_onnx::prelude::TractError| format!("{error:#}");
    let mut model: InferenceModel = onnx().model_for_read(&mut &*bytes).map_err(failed)?;
    let outlets = model.input_outlets().map_err(failed)?.to_vec();
    let mut inputs = Vec::new();
    for (place, outlet) in outlets.iter().enumerate() {
        let name = model.node(outlet.node).name.clone();
        inputs.push(match name.as_str() {
            "input_ids" => Input::Ids,
            "attention_mask" => Input::Mask,
            "token_type_ids" => Input::Types,
            other => {
                return Err(format!(
                    "it wants an input {other:?}, which nobody here knows"
                ));
            }
        });
        let fact = InferenceFact::dt_shape(i64::datum_type(), [1, TOKENS]);
        model = model.with_input_fact(place, fact).map_err(failed)?;
    }
    if !inputs.contains(&Input::Ids) {
        return Err("it has no input input_ids".to_owned());
    }
    let network = model.into_optimized().map_err(failed)?;
    Ok((network.into_runnable().map_err(failed)?, inputs))
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnnxModel").field(&self.model).finish()
    }
}

impl Scorer for OnnxModel {
    fn model(&self) -> &ModelName {
        &self.model
    }

    fn score(&self, text: Text<'_>) -> Result<Option<Score>, ScoreError> {
        let logits = self.logits(&plain::of(text))?;
        Ok(Score::new(lead(&logits), THRESHOLD))
    }
}

/// By how much the positive class is more probable than the negative one.
fn lead(logits: &[f32]) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - highest).exp())
        .collect();
    let all: f64 = weights.iter().sum();
    match (weights.first(), weights.last()) {
        (Some(negative), Some(positive)) => (positive - negative) / all,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests;
