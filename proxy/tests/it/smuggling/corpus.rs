//! The payloads of `tests/smuggling`, filled in for one request each. The format is told in that folder's README.

use std::path::Path;

/// Everything a payload's request says about itself, before it has a name of its own.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) name: String,
    send: String,
    variant: String,
    expect: Vec<String>,
    gone: Vec<String>,
}

/// Bytes to send, and what one strict reading of them allows.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) id: String,
    pub(super) bytes: Vec<u8>,
    pub(super) due: Vec<Due>,
    pub(super) ending: Ending,
    /// The request behind the payload may be left unanswered.
    pub(super) probe_optional: bool,
    /// Fields that must not reach the origin.
    pub(super) gone: Vec<String>,
}

/// A request that the bytes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Option<Vec<u8>>,
    /// It may also be refused; then what follows it may be missing, too.
    pub(super) optional: bool,
}

impl Due {
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What becomes of the connection behind the last request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    Close,
    Refuse,
    Partial(Due),
    Http2,
}

/// Every payload, in the order of files and families.
pub(super) fn load() -> Vec<Template> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smuggling");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Template> {
    let text = std::fs::read_to_string(path).unwrap();
    let table: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let families = table["family"].as_array().unwrap();
    families.iter().flat_map(family).collect()
}

fn family(family: &toml::Value) -> Vec<Template> {
    let name = family["name"].as_str().unwrap();
    assert!(family["why"].is_str(), "{name} says why");
    let plain = Template {
        name: name.to_owned(),
        send: family["send"].as_str().unwrap().to_owned(),
        variant: String::new(),
        expect: strings(&family["expect"]),
        gone: family.get("gone").map(strings).unwrap_or_default(),
    };
    let Some(variants) = family.get("variants") else {
        return vec![plain];
    };
    let variants = variants.as_array().unwrap().iter().map(strings);
    let filled = variants.map(|row| {
        let [variant, x, own @ ..] = row.as_slice() else {
            panic!("{name}: a variant is a name and a text")
        };
        Template {
            name: format!("{name}/{variant}"),
            variant: x.clone(),
            expect: if own.is_empty() {
                plain.expect.clone()
            } else {
                own.to_vec()
            },
            ..plain.clone()
        }
    });
    filled.collect()
}

fn strings(value: &toml::Value) -> Vec<String> {
    let items = value.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

impl Template {
    /// The payload under a name that no other request has.
    pub(super) fn payload(&self, id: &str) -> Payload {
        let smuggled = format!("GET /{id}/smuggled HTTP/1.1\r\nHost: larder.test\r\n\r\n");
        let fill = |text: &str| {
            text.replace("{x}", &self.variant)
                .replace("{smuggled.len}", &smuggled.len().to_string())
                .replace("{smuggled.hex}", &format!("{:x}", smuggled.len()))
                .replace("{smuggled}", &smuggled)
                .replace("{id}", id)
        };
        let mut expect: Vec<_> = self.expect.iter().map(|text| fill(text)).collect();
        let ending = expect.pop_if(|last| is_ending(last));
        let due: Vec<_> = expect.iter().map(|text| due(text)).collect();
        let probe_optional = due.iter().any(|due| due.optional);
        Payload {
            id: id.to_owned(),
            bytes: latin_1(&fill(&self.send)),
            due,
            ending: ending.map_or(Ending::Open, |text| ending_of(&text)),
            probe_optional,
            gone: self.gone.clone(),
        }
    }
}

impl Payload {
    /// What an origin allows that answers before it has read: the rest of the content has no reader, and the connection may close.
    pub(super) fn may_close_after_content(&mut self) {
        let with_content = |due: &Due| due.body.as_ref().is_some_and(|body| !body.is_empty());
        if let Some(number) = self.due.iter().position(with_content) {
            for later in self.due.iter_mut().skip(number + 1) {
                later.optional = true;
            }
            self.probe_optional = true;
        }
    }
}

fn is_ending(text: &str) -> bool {
    matches!(text, "open" | "close" | "refuse" | "http2") || text.starts_with("partial ")
}

fn ending_of(text: &str) -> Ending {
    match text {
        "close" => Ending::Close,
        "refuse" => Ending::Refuse,
        "http2" => Ending::Http2,
        _ => match text.strip_prefix("partial ") {
            Some(request) => Ending::Partial(due(request)),
            None => Ending::Open,
        },
    }
}

/// `[any ]METHOD target[ = body]`
fn due(text: &str) -> Due {
    let (optional, text) = match text.strip_prefix("any ") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (line, body) = match text.split_once(" = ") {
        Some((line, body)) => (line, Some(latin_1(body))),
        None => (text, None),
    };
    let (method, target) = line.split_once(' ').expect("a method and a target");
    Due {
        method: method.to_owned(),
        target: target.to_owned(),
        body,
        optional,
    }
}

/// Each character is one byte.
fn latin_1(text: &str) -> Vec<u8> {
    let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
    bytes
        .map(|byte| byte.expect("a character up to U+00FF"))
        .collect()
}
