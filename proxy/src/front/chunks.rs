//! Where chunked content ends, read as strictly as RFC 9112 §7.1 allows. Pure; total over any bytes, however they are cut.
//!
//! Refused although many take it: bare LF, blanks round the size, control characters in extensions, data that doesn't end in
//! CR LF, trailers that are no field lines. Decoding is not done here.

use crate::wire::{is_token, is_value};

/// Hexadecimal digits of a chunk's size: below what any reader's integer overflows at.
const SIZE_DIGITS_MAX: usize = 15;
/// Bytes of one chunk's extensions.
const EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of all trailers.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Follows chunked content byte by byte.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of the current line, or of all trailers.
    count: usize,
    size: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// Not chunked content: what two readers could understand differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Chunks {
    /// The end has been seen.
    pub(super) fn ended(&self) -> bool {
        self.state == State::End
    }

    /// Takes the next bytes; tells how many of them belong to the content. Fewer than all only at its end.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::End => break,
                State::Data => at += self.data(bytes.len() - at),
                _ => {
                    self.state = self.next(byte).ok_or(Broken)?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn data(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.size).map_or(available, |size| size.min(available));
        self.size -= taken as u64;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        taken
    }

    /// `None`: no strict reader goes on.
    fn next(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::Size, _) => self.size_line(byte),
            (State::Extension, b'\r') => Some(State::SizeLf),
            (State::Extension, _) => {
                self.count += 1;
                (is_value(byte) && self.count <= EXTENSION_BYTES_MAX).then_some(State::Extension)
            }
            (State::SizeLf, b'\n') => {
                self.count = 0;
                Some(if self.size == 0 {
                    State::TrailerStart
                } else {
                    State::Data
                })
            }
            (State::DataCr, b'\r') => Some(State::DataLf),
            (State::DataLf, b'\n') => Some(State::Size),
            (State::EndLf, b'\n') => Some(State::End),
            (
                State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf,
                _,
            ) => {
                self.count += 1;
                if self.count > TRAILER_BYTES_MAX {
                    None
                } else {
                    trailer(self.state, byte)
                }
            }
            _ => None,
        }
    }

    fn size_line(&mut self, byte: u8) -> Option<State> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.size = if self.count == 0 { 0 } else { self.size << 4 } | u64::from(digit);
            self.count += 1;
            return (self.count <= SIZE_DIGITS_MAX).then_some(State::Size);
        }
        let next = match byte {
            b'\r' => State::SizeLf,
            b';' => State::Extension,
            _ => return None,
        };
        let any = std::mem::take(&mut self.count) > 0;
        any.then_some(next)
    }
}

fn trailer(state: State, byte: u8) -> Option<State> {
    match (state, byte) {
        (State::TrailerStart, b'\r') => Some(State::EndLf),
        (State::TrailerName, b':') => Some(State::TrailerValue),
        (State::TrailerStart | State::TrailerName, _) => {
            is_token(byte).then_some(State::TrailerName)
        }
        (State::TrailerValue, b'\r') => Some(State::TrailerLf),
        (State::TrailerValue, _) => is_value(byte).then_some(State::TrailerValue),
        (State::TrailerLf, b'\n') => Some(State::TrailerStart),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the content ends, whole and byte by byte.
    fn end(text: &str) -> Result<Option<usize>, Broken> {
        let mut whole = Chunks::default();
        let taken = whole.take(text.as_bytes());
        let mut dripped = Chunks::default();
        let mut count = 0;
        let mut drip = || -> Result<Option<usize>, Broken> {
            for byte in text.as_bytes() {
                count += dripped.take(&[*byte])?;
            }
            Ok(dripped.ended().then_some(count))
        };
        let by_drip = drip();
        let at_once = taken.map(|taken| whole.ended().then_some(taken));
        assert_eq!(at_once, by_drip, "{text:?}");
        at_once
    }

    #[test]
    fn content_ends_behind_its_trailers() {
        for whole in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b;c=\"d e\"\r\nhello\r\n000\r\nX-A: b\r\nY:\r\n\r\n",
            "A\r\n0123456789\r\n0;z\r\n\r\n",
        ] {
            assert_eq!(end(whole), Ok(Some(whole.len())), "{whole:?}");
            assert_eq!(end(&format!("{whole}GET / ")), Ok(Some(whole.len())));
            let cut = &whole[..whole.len() - 1];
            assert_eq!(end(cut), Ok(None), "{cut:?} is not all");
        }
    }

    #[test]
    fn what_readers_could_differ_on_is_broken() {
        for odd in [
            "\r\n",
            ";a\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t;a\r\n",
            "5\n",
            "5\rh",
            "5;\n",
            "5;a\nb",
            "5;a\0b",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rb",
            "0\n",
            "0\r\n\n",
            "0\r\n\rX",
            "0\r\n X: y",
            "0\r\nGET / HTTP/1.1\r\n",
            "0\r\nX : y",
            "0\r\nX: y\n",
            "0\r\nX: y\rZ",
            "0\r\nX: \0",
            "0\r\n: y",
        ] {
            assert_eq!(end(odd), Err(Broken), "{odd:?}");
        }
    }

    #[test]
    fn sizes_extensions_and_trailers_are_bounded() {
        let digits = |count: usize| "f".repeat(count);
        assert_eq!(end(&digits(SIZE_DIGITS_MAX)), Ok(None));
        assert_eq!(end(&digits(SIZE_DIGITS_MAX + 1)), Err(Broken));
        assert_eq!(end(&"0".repeat(SIZE_DIGITS_MAX + 1)), Err(Broken));
        let extension = |count: usize| format!("0;{}", "a".repeat(count));
        assert_eq!(end(&extension(EXTENSION_BYTES_MAX)), Ok(None));
        assert_eq!(end(&extension(EXTENSION_BYTES_MAX + 1)), Err(Broken));
        let trailer = |count: usize| format!("0\r\nX:{}", "a".repeat(count - 2));
        assert_eq!(end(&trailer(TRAILER_BYTES_MAX)), Ok(None));
        assert_eq!(end(&trailer(TRAILER_BYTES_MAX + 1)), Err(Broken));
    }
}
