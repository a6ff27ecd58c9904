//! A real, if tiny, network: an embedding of two numbers for each word, summed over the words that the mask leaves.

use super::*;
use crate::sentiment::Label;
use tempfile::TempDir;

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\nbad\nnews";
/// For each word of the vocabulary: negative, positive. The padding's would show if the mask were ignored.
const EMBEDDING: [[f32; 2]; 7] = [
    [9.0, 0.0],
    [0.0, 0.0],
    [0.0, 0.0],
    [0.0, 0.0],
    [0.0, 3.0],
    [3.0, 0.0],
    [0.0, 0.0],
];

/// Protocol buffers, as much as the model takes.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0
                .push(u8::try_from(value & 0x7f | 0x80).expect("a byte"));
            value >>= 7;
        }
        self.0.push(u8::try_from(value).expect("a byte"));
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(u64::try_from(value.len()).expect("a length"));
        self.0.extend(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, &value.0)
    }
}

const FLOAT: u64 = 1;
const INT64: u64 = 7;

fn value_info(name: &str, kind: u64, shape: &[u64]) -> Message {
    let shape = shape.iter().fold(Message::default(), |all, dimension| {
        all.message(1, Message::default().number(1, *dimension))
    });
    let tensor = Message::default().number(1, kind).message(2, shape);
    Message::default()
        .text(1, name)
        .message(2, Message::default().message(1, tensor))
}

fn node(op: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs
        .iter()
        .fold(Message::default(), |node, input| node.text(1, input));
    node.text(2, output).text(3, output).text(4, op)
}

fn integer(name: &str, value: u64) -> Message {
    Message::default()
        .text(1, name)
        .number(3, value)
        .number(20, 2)
}

fn integers(name: &str, value: u64) -> Message {
    Message::default()
        .text(1, name)
        .number(8, value)
        .number(20, 7)
}

fn model(inputs: &[&str]) -> Vec<u8> {
    let numbers: Vec<u8> = EMBEDDING
        .iter()
        .flatten()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let embedding = Message::default()
        .number(1, 7)
        .number(1, 2)
        .number(2, FLOAT)
        .text(8, "embedding")
        .bytes(9, &numbers);
    let graph = Message::default()
        .message(
            1,
            node("Gather", &["embedding", "input_ids"], "rows").message(5, integer("axis", 0)),
        )
        .message(
            1,
            node("Cast", &["attention_mask"], "mask").message(5, integer("to", FLOAT)),
        )
        .message(
            1,
            node("Unsqueeze", &["mask"], "weights").message(5, integers("axes", 2)),
        )
        .message(1, node("Mul", &["rows", "weights"], "weighted"))
        .message(
            1,
            node("ReduceSum", &["weighted"], "logits")
                .message(5, integers("axes", 1))
                .message(5, integer("keepdims", 0)),
        )
        .text(2, "tone")
        .message(5, embedding);
    let graph = inputs.iter().fold(graph, |graph, name| {
        graph.message(11, value_info(name, INT64, &[1, 128]))
    });
    let graph = graph.message(12, value_info("logits", FLOAT, &[1, 2]));
    let opset = Message::default().text(1, "").number(2, 11);
    Message::default()
        .number(1, 6)
        .message(7, graph)
        .message(8, opset)
        .0
}

fn files(model: &[u8], vocabulary: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("tiny.onnx"), model).expect("the model");
    std::fs::write(folder.path().join("vocab.txt"), vocabulary).expect("the vocabulary");
    folder
}

fn load(folder: &TempDir) -> Result<OnnxModel, ModelError> {
    OnnxModel::load(&folder.path().join("tiny.onnx"))
}

#[test]
fn a_network_scores_texts() {
    let model =
        load(&files(&model(&["input_ids", "attention_mask"]), VOCABULARY)).expect("a model");
    assert_eq!(model.model().name, "onnx:tiny");
    assert_eq!(model.model().version.len(), 12);
    let score = |title| {
        let text = Text {
            title,
            description: None,
            language: None,
        };
        model.score(text).expect("a score").expect("a score")
    };
    // Three to nothing: tanh(3 / 2).
    assert_eq!(score("Good news").value, 0.9051);
    assert_eq!(score("Bad news").value, -0.9051);
    assert_eq!(score("Good good news").label, Label::Positive);
    assert_eq!(score("Bad").label, Label::Negative);
    assert_eq!(
        (score("Good, bad").value, score("News").label),
        (0.0, Label::Neutral)
    );
}

#[test]
fn what_is_no_model_is_told_at_start() {
    let whole = model(&["input_ids", "attention_mask"]);
    let rows = [
        (Vec::new(), VOCABULARY, "graph"),
        (whole[..whole.len() / 2].to_vec(), VOCABULARY, ""),
        (b"no model at all".to_vec(), VOCABULARY, ""),
        (whole.clone(), "good\nbad", "[UNK]"),
        (
            model(&["input_ids", "attention_mask", "pixels"]),
            VOCABULARY,
            "pixels",
        ),
    ];
    for (model, vocabulary, hint) in rows {
        let error = load(&files(&model, vocabulary))
            .map(drop)
            .expect_err("no model");
        assert!(error.to_string().contains(hint), "{error}");
    }
    let missing = OnnxModel::load(Path::new("/nowhere/model.onnx")).map(drop);
    assert!(
        missing
            .expect_err("no file")
            .to_string()
            .contains("/nowhere/model.onnx")
    );
}
