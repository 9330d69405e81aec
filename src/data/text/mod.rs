//! Text as tokens, which are characters or bytes.
//!
//! A [`Text`] is read once, which gives its [`Vocabulary`], and its contents stay in the file. Its tokens then come in
//! batches: as [`Streams`] for truncated backpropagation through a long text, or as [`Windows`] over a short one.
//!
//! A token is the index of its character in the vocabulary. It is an `i32`, like the labels on a device.
//! The target of a token is always the token after it.

mod reader;
mod scan;
mod source;
mod split;
mod streams;
mod vocabulary;
mod windows;

pub use source::MAX_BYTES;
pub use split::{HELD_OUT, fit, split};
pub use streams::{Chunk, Streams};
pub use vocabulary::{Unit, UnknownChar, Vocabulary};
pub use windows::Windows;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use scan::{SIZES, Scan, Sizes, hash, scan};
use source::Source;
use vocabulary::Lookup;

/// The text of the experiment `hihello`.
pub const HIHELLO: &str = "hihello";

/// The text of the experiment `charseq`.
pub const CHARSEQ: &str = " if you want you";

/// The text of the experiment `longseq`: 180 characters, 25 of them distinct.
pub const LONGSEQ: &str = "if you want to build a ship, don't drum up people together to collect wood and don't assign \
                           them tasks and work, but rather teach them to long for the endless immensity of the sea.";

/// A text that was read once from end to end. Its vocabulary, length and hash are kept, but not its contents: so a text may
/// be larger than memory. Line ends stay as they are. Where tokens are characters, a byte order mark at the start is left out.
#[derive(Clone)]
pub struct Text(Arc<Contents>);

struct Contents {
    source: Source,
    vocabulary: Vocabulary,
    lookup: Lookup,
    scan: Scan,
    sizes: Sizes,
}

impl Text {
    /// The text of a file, with the vocabulary that it makes. A pipe or a device, which can be read only once, is held in
    /// memory.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) where the file is missing, unreadable, a folder or empty, a pipe or a
    /// device gives more than [`MAX_BYTES`], or characters are wanted and it is not UTF-8; the last names the offset of
    /// the first bad byte, counted from 0.
    pub fn open(path: &Path, unit: Unit) -> Result<Text> {
        Text::read_file(path, unit, None, SIZES)
    }

    /// The text of a file for a model that exists, with the model's vocabulary.
    ///
    /// # Errors
    /// As [`Text::open`], and where a character is not in the vocabulary, which names the first by line and column.
    pub fn open_with(path: &Path, vocabulary: &Vocabulary) -> Result<Text> {
        Text::read_file(path, vocabulary.unit(), Some(vocabulary), SIZES)
    }

    /// A text that is held in memory; it may be empty.
    pub fn from_text(text: &str, unit: Unit) -> Text {
        Text::read(Source::from_text(text), unit, None, SIZES)
            .expect("a str is UTF-8, and its memory can be read")
    }

    /// What its tokens stand for.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.0.vocabulary
    }

    /// How many tokens it has.
    pub fn len(&self) -> usize {
        self.0.scan.tokens
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes it has, without a byte order mark that was left out.
    pub fn bytes(&self) -> u64 {
        self.0.scan.bytes
    }

    /// The hash of those bytes: XXH3 with 64 bits, as `xxhsum -H3` computes it.
    pub fn hash(&self) -> u64 {
        self.0.scan.hash
    }

    fn read_file(path: &Path, unit: Unit, known: Option<&Vocabulary>, sizes: Sizes) -> Result<Text> {
        let text = Text::read(Source::open(path)?, unit, known, sizes)?;
        if text.is_empty() {
            return Err(text.0.source.error("is empty"));
        }
        Ok(text)
    }

    fn read(source: Source, unit: Unit, known: Option<&Vocabulary>, sizes: Sizes) -> Result<Text> {
        let (scan, vocabulary) = scan(&source, unit, known, &sizes)?;
        let lookup = Lookup::new(&vocabulary);
        Ok(Text(Arc::new(Contents { source, vocabulary, lookup, scan, sizes })))
    }

    /// The offset in the file at which a token begins.
    fn offset_of(&self, token: usize) -> Result<u64> {
        self.0.scan.offset_of(token, &self.0.source, &self.0.sizes)
    }

    /// An error unless the contents are those that were read first. Where only the time of modification differs, the file is
    /// read again to find out.
    fn check_unchanged(&self) -> Result<()> {
        let Contents { source, scan, sizes, .. } = &*self.0;
        source.check_unchanged(|| Ok(hash(source, scan.start, sizes)? == (scan.hash, scan.bytes)))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text of {} {}", self.len(), self.vocabulary().unit())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::error::Error;

    /// A file with these bytes.
    pub(super) fn file(bytes: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// The least of everything: each character is a block, a buffer and a mark of its own.
    pub(super) const SMALL: Sizes = Sizes { block: 4, buffer: 4, mark: 1, marks: 2 };

    /// The message of an error about `path`, without the path.
    pub(super) fn message_about(path: &Path, error: Error) -> String {
        match error {
            Error::Data { path: named, message } if named == path => message,
            other => panic!("{other:?} is not an error about {}", path.display()),
        }
    }

    /// The text of all tokens, two or more.
    fn contents(text: &Text) -> String {
        let mut streams = text.streams(0..text.len(), 1, text.len() - 1).unwrap();
        let chunk = streams.next_chunk().unwrap();
        text.vocabulary().decode(&[&chunk.inputs[..1], chunk.targets].concat())
    }

    #[test]
    fn texts_of_the_experiments() {
        let sizes = [LONGSEQ, CHARSEQ, HIHELLO].map(|text| {
            let text = Text::from_text(text, Unit::Characters);
            (text.len(), text.vocabulary().len())
        });
        assert_eq!(sizes, [(180, 25), (16, 10), (7, 5)]);
    }

    #[test]
    fn reads_utf8() {
        for (bytes, holds) in [
            (&b"ab"[..], "ab"),
            ("grün\r\n\u{1F600}\0".as_bytes(), "grün\r\n\u{1F600}\0"),
            (b"\xEF\xBB\xBFab", "ab"),             // a byte order mark is no text
            ("a\u{FEFF}".as_bytes(), "a\u{FEFF}"), // only the first is a mark
            ("\u{FEFF}\u{FEFF}a".as_bytes(), "\u{FEFF}a"),
            ("\u{FFFF}\u{10FFFF}\u{7FF}\u{800}".as_bytes(), "\u{FFFF}\u{10FFFF}\u{7FF}\u{800}"),
        ] {
            let file = file(bytes);
            let in_memory = Text::from_text(std::str::from_utf8(bytes).unwrap(), Unit::Characters);
            for sizes in [SIZES, SMALL] {
                let text = Text::read_file(file.path(), Unit::Characters, None, sizes).unwrap();
                assert_eq!(contents(&text), holds);
                assert_eq!((text.len(), text.bytes()), (holds.chars().count(), holds.len() as u64));
                assert_eq!(text.vocabulary(), &Vocabulary::from_text(holds));
                assert_eq!(text.hash(), in_memory.hash());
            }
        }
    }

    #[test]
    fn bytes_are_taken_as_they_are() {
        let bytes = b"\xEF\xBB\xBFa\xFF\xFE\0";
        let text = Text::open(file(bytes).path(), Unit::Bytes).unwrap();
        let mut streams = text.streams(0..7, 1, 6).unwrap();
        let chunk = streams.next_chunk().unwrap();
        assert_eq!(chunk.inputs, [0xEF, 0xBB, 0xBF, 0x61, 0xFF, 0xFE]);
        assert_eq!(chunk.targets, [0xBB, 0xBF, 0x61, 0xFF, 0xFE, 0]);
        assert_eq!((text.len(), text.bytes(), text.vocabulary()), (7, 7, &Vocabulary::bytes()));
    }

    #[test]
    fn refuses_what_is_no_text() {
        let utf16 = "is UTF-16 text, by its byte order mark: save it as UTF-8, or read it as bytes with --tokens bytes";
        let not_utf8 = |byte, offset| {
            format!(
                "is not UTF-8 text: byte {byte} at offset {offset}; save it as UTF-8, or read it as bytes with \
                 --tokens bytes"
            )
        };
        for (bytes, says) in [
            (&b""[..], "is empty".into()),
            (b"\xEF\xBB\xBF", "is empty".into()),
            (b"ab\xFFc", not_utf8("0xFF", 2)),
            (b"\xEF\xBB\xBFab\x80", not_utf8("0x80", 5)),
            (b"abcdefghijcaf\xC3", not_utf8("0xC3", 13)),
            (b"abc\xED\xA0\x80", not_utf8("0xED", 3)), // a surrogate
            (b"abcdefg\xC0\x80", not_utf8("0xC0", 7)), // two bytes for one
            (b"\xFF\xFEa\0", utf16.into()),
            (b"\xFE\xFF\0a", utf16.into()),
        ] {
            let file = file(bytes);
            for sizes in [SIZES, SMALL] {
                let error = Text::read_file(file.path(), Unit::Characters, None, sizes).unwrap_err();
                assert_eq!(message_about(file.path(), error), says);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        for unit in [Unit::Characters, Unit::Bytes] {
            for (path, says) in [
                (folder.path(), "is a folder, not a text file"),
                (&folder.path().join("missing"), "no such file"),
                (file(b"").path(), "is empty"),
            ] {
                assert_eq!(message_about(path, Text::open(path, unit).unwrap_err()), says);
            }
        }
    }

    #[test]
    fn a_models_vocabulary_is_kept() {
        let vocabulary = Vocabulary::from_text("abc ß\n😀");
        let known = file("😀a\nß".as_bytes());
        let text = Text::open_with(known.path(), &vocabulary).unwrap();
        assert_eq!((text.vocabulary(), contents(&text).as_str()), (&vocabulary, "😀a\nß"));

        let unknown = file("\u{FEFF}a b\n\nßß😀 Ωa\nx".as_bytes());
        for sizes in [SIZES, SMALL] {
            let error =
                Text::read_file(unknown.path(), Unit::Characters, Some(&vocabulary), sizes).unwrap_err();
            let says = "line 3, column 5: the character 'Ω' is not in the model's vocabulary: leave it out, or train a model on a \
                        text that has it";
            assert_eq!(message_about(unknown.path(), error), says);
            // It reads characters: that there are bytes too is no help.
            for (bytes, says) in [
                (&b"ab\xFFc"[..], "is not UTF-8 text: byte 0xFF at offset 2; save it as UTF-8"),
                (b"\xFF\xFEa\0", "is UTF-16 text, by its byte order mark: save it as UTF-8"),
            ] {
                let file = file(bytes);
                let error =
                    Text::read_file(file.path(), Unit::Characters, Some(&vocabulary), sizes).unwrap_err();
                assert_eq!(message_about(file.path(), error), says);
            }
        }
        assert_eq!(Text::open_with(unknown.path(), &Vocabulary::bytes()).unwrap().len(), 22);
    }

    #[test]
    fn one_changed_byte_changes_the_hash() {
        let hash = |bytes: &[u8], unit| Text::open(file(bytes).path(), unit).unwrap().hash();
        let long = [b'a'; 300_000]; // more than one block
        let mut changed = long;
        changed[200_000] = b'b';
        for unit in [Unit::Characters, Unit::Bytes] {
            assert_ne!(hash(&long, unit), hash(&changed, unit));
            assert_ne!(hash(&long, unit), hash(&long[1..], unit));
        }
        assert_eq!(hash(&long, Unit::Characters), hash(&long, Unit::Bytes));
        // What xxhsum -H3 says.
        assert_eq!(Text::from_text("hihello", Unit::Bytes).hash(), 0xBECB_7CA0_3072_169E);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_read_into_memory() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        let written = "grün 😀".repeat(100_000);
        let text = std::thread::scope(|scope| {
            let written = &written;
            scope.spawn(move || writer.write_all(written.as_bytes()).unwrap());
            let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
            Text::open(path.as_ref(), Unit::Characters).unwrap()
        });
        assert_eq!(contents(&text), written);
        assert_eq!(text.hash(), Text::from_text(&written, Unit::Characters).hash());
        // A file whose length is said to be 0.
        assert!(Text::open("/proc/version".as_ref(), Unit::Bytes).unwrap().len() > 10);
        let null = Text::open("/dev/null".as_ref(), Unit::Bytes).unwrap_err();
        assert_eq!(null.to_string(), "/dev/null: is empty");
    }
}
