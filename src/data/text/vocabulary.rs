//! What tokens stand for: characters or bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A Unicode character of a UTF-8 text.
    Characters,
    /// A byte of any file.
    Bytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Characters => "characters",
            Unit::Bytes => "bytes",
        })
    }
}

/// What each token stands for: the distinct characters of a text, sorted by code point, or the 256 bytes. The token of a
/// character is its index, that of a byte is the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    unit: Unit,
    /// None for bytes.
    chars: Vec<char>,
}

/// A character that a [`Vocabulary`] does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {position}, {character:?}, is not in the vocabulary")]
pub struct UnknownChar {
    /// The character.
    pub character: char,
    /// Its place in the text, counted in characters from 1.
    pub position: usize,
}

impl Vocabulary {
    /// The characters of `text`.
    pub fn from_text(text: &str) -> Self {
        let mut seen = Seen::default();
        text.chars().for_each(|c| _ = seen.insert(c));
        seen.vocabulary()
    }

    /// The 256 bytes.
    pub fn bytes() -> Self {
        Self { unit: Unit::Bytes, chars: Vec::new() }
    }

    /// The characters as [`chars`](Self::chars) gave them, for a model that is loaded.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there is at least one and each is greater than the one before it.
    pub fn from_chars(chars: impl IntoIterator<Item = char>) -> Result<Self> {
        // Checked one by one: a file may claim any number of them, but sorted ones are never more than Unicode has.
        let mut sorted = Vec::new();
        for next in chars {
            if let Some(last) = sorted.last().filter(|last| **last >= next) {
                let message = format!("must be sorted and distinct, but {next:?} comes after {last:?}");
                return Err(Error::argument("vocabulary", message));
            }
            sorted.push(next);
        }
        if sorted.is_empty() {
            return Err(Error::argument("vocabulary", "has no characters"));
        }
        Ok(Self { unit: Unit::Characters, chars: sorted })
    }

    /// What a token is.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The characters, sorted by code point; none where tokens are bytes.
    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// How many tokens there are: the number of classes of a model.
    pub fn len(&self) -> usize {
        match self.unit {
            Unit::Characters => self.chars.len(),
            Unit::Bytes => 256,
        }
    }

    /// Whether there are none, as in the vocabulary of an empty text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token of each character, or each byte, of `text`.
    ///
    /// # Errors
    /// [`UnknownChar`], the first character of `text` that is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, UnknownChar> {
        let token = |(i, character)| match self.chars.binary_search(&character) {
            Ok(token) => Ok(token as i32),
            Err(_) => Err(UnknownChar { character, position: i + 1 }),
        };
        match self.unit {
            Unit::Characters => text.chars().enumerate().map(token).collect(),
            Unit::Bytes => Ok(text.bytes().map(i32::from).collect()),
        }
    }

    /// The text of `tokens`; a number that is no token, or bytes that are not UTF-8, become U+FFFD, the replacement
    /// character.
    pub fn decode(&self, tokens: &[i32]) -> String {
        let character = |&token: &i32| usize::try_from(token).ok().and_then(|i| self.chars.get(i)).copied();
        match self.unit {
            Unit::Characters => {
                tokens.iter().map(|token| character(token).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            // 0xFF is in no UTF-8 text.
            Unit::Bytes => {
                let bytes: Vec<u8> =
                    tokens.iter().map(|&token| u8::try_from(token).unwrap_or(0xFF)).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }
}

/// The characters that were seen so far: a flag for each code point, so that they are sorted without further work.
pub(super) struct Seen(Vec<bool>);

impl Default for Seen {
    fn default() -> Self {
        Seen(vec![false; char::MAX as usize + 1])
    }
}

impl Seen {
    /// Notes that `c` was seen. Returns whether it is the first time.
    pub(super) fn insert(&mut self, c: char) -> bool {
        !std::mem::replace(&mut self.0[c as usize], true)
    }

    pub(super) fn vocabulary(&self) -> Vocabulary {
        let chars = ('\0'..=char::MAX).filter(|&c| self.0[c as usize]).collect();
        Vocabulary { unit: Unit::Characters, chars }
    }
}

/// The token of each code point or byte, as a table: a search in the [`Vocabulary`] would cost more than all the rest of
/// reading.
pub(super) struct Lookup {
    unit: Unit,
    /// By code point, up to the greatest character of the vocabulary; -1 where a character is not in it.
    tokens: Vec<i32>,
}

impl Lookup {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let tokens = match vocabulary.unit {
            Unit::Characters => {
                let mut tokens = vec![-1; vocabulary.chars.last().map_or(0, |&c| c as usize + 1)];
                (0..).zip(&vocabulary.chars).for_each(|(token, &c)| tokens[c as usize] = token);
                tokens
            }
            Unit::Bytes => (0..256).collect(),
        };
        Lookup { unit: vocabulary.unit, tokens }
    }

    /// The token with which `bytes` begin, and how many bytes it takes. `None` where there are none, they are not UTF-8
    /// or the character is not in the vocabulary.
    pub(super) fn first(&self, bytes: &[u8]) -> Option<(i32, usize)> {
        let first = *bytes.first()?;
        let (index, width) = match (self.unit, first) {
            (Unit::Bytes, _) | (_, 0..0x80) => (usize::from(first), 1),
            _ => {
                // The width need not be right for a byte that begins no character: `from_utf8` refuses it.
                let width = if first < 0xE0 { 2 } else { 3 + usize::from(first >= 0xF0) };
                let character = std::str::from_utf8(bytes.get(..width)?).ok()?.chars().next()?;
                (character as usize, width)
            }
        };
        self.tokens.get(index).filter(|&&token| token >= 0).map(|&token| (token, width))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_sorted() {
        let vocabulary = Vocabulary::from_text("hihello");
        assert_eq!(vocabulary.chars(), ['e', 'h', 'i', 'l', 'o']);
        assert_eq!(vocabulary.encode("hello"), Ok(vec![1, 0, 3, 3, 4]));
        assert_eq!(vocabulary.decode(&[1, 2, -1, 5]), "hi\u{FFFD}\u{FFFD}");
        assert!(Vocabulary::from_text("").is_empty());
    }

    #[test]
    fn bytes() {
        let bytes = Vocabulary::bytes();
        assert_eq!((bytes.unit(), bytes.len(), bytes.chars()), (Unit::Bytes, 256, &[][..]));
        assert_eq!(bytes.encode("aß"), Ok(vec![0x61, 0xC3, 0x9F]));
        assert_eq!(bytes.decode(&[0x61, 0xC3, 0x9F]), "aß");
        assert_eq!(bytes.decode(&[0xC3, 0x61, 256, -1]), "\u{FFFD}a\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn units_have_names() {
        for (unit, name) in [(Unit::Characters, "characters"), (Unit::Bytes, "bytes")] {
            assert_eq!(serde_json::to_value(unit).unwrap(), name);
            assert_eq!(unit.to_string(), name);
        }
    }

    #[test]
    fn unknown_characters_are_named() {
        let unknown = Vocabulary::from_text("größe").encode("groß\n").unwrap_err();
        assert_eq!(unknown, UnknownChar { character: 'o', position: 3 });
        assert_eq!(unknown.to_string(), "character 3, 'o', is not in the vocabulary");
    }

    #[test]
    fn a_loaded_one_is_checked() {
        for bad in ["", "aa", "ba", "abdc"] {
            assert!(Vocabulary::from_chars(bad.chars()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in any::<String>()) {
            let vocabulary = Vocabulary::from_text(&text);
            for vocabulary in [&vocabulary, &Vocabulary::bytes()] {
                prop_assert_eq!(vocabulary.decode(&vocabulary.encode(&text).unwrap()), text.as_str());
            }
            let again = Vocabulary::from_chars(vocabulary.chars().iter().copied());
            prop_assert_eq!(again.is_ok(), !vocabulary.is_empty());
        }

        #[test]
        fn looking_up_is_encoding(known in any::<String>(), text in any::<String>()) {
            let vocabulary = Vocabulary::from_text(&known);
            let lookup = Lookup::new(&vocabulary);
            for c in known.chars().chain(text.chars()) {
                let found = lookup.first(format!("{c}x").as_bytes());
                let token = vocabulary.encode(&c.to_string()).ok();
                prop_assert_eq!(found, token.map(|token| (token[0], c.len_utf8())));
            }
        }

        /// With all characters known, `None` is for what is not UTF-8.
        #[test]
        fn looking_up_refuses_what_std_refuses(bytes in prop::collection::vec(any::<u8>(), 0..6)) {
            let lookup = Lookup::new(&Vocabulary { unit: Unit::Characters, chars: ('\0'..=char::MAX).collect() });
            let std = bytes.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
            prop_assert_eq!(lookup.first(&bytes).map(|(_, bytes)| bytes), std.map(char::len_utf8));
        }
    }
}
