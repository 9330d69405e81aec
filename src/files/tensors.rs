//! Safetensors files, read piece by piece. Even a hostile file cannot make this take more memory than its header and the
//! values that are asked for need, nor read anything outside the file.
//!
//! The header is parsed by the crate `safetensors`. What that crate lets pass is refused before: a key that is there twice;
//! names, dimensions and tensors without end; sizes whose sum overflows. Sums of numbers from a file are made in 128 bits,
//! because release builds do not check for overflow.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::Result;

/// The longest header: one that holds the vocabulary of all of Unicode is shorter.
const MAX_HEADER: u64 = 64 << 20;
/// The most tensors: a checkpoint of the deepest model has fewer.
const MAX_TENSORS: usize = 1 << 15;
/// The most keys beside the tensors.
const MAX_KEYS: usize = 1 << 10;
/// The longest name of a tensor, in bytes.
const MAX_NAME: usize = 1 << 10;
/// The most dimensions.
const MAX_RANK: usize = 8;

/// Bytes that are read at once: whole values of any kind.
const PIECE: usize = 1 << 16;

/// The length of a header's length.
const PREFIX: u64 = 8;

/// A safetensors file whose header is as it must be.
pub(crate) struct TensorFile<R = File> {
    reader: R,
    metadata: Metadata,
    /// Where the tensors begin.
    start: u64,
    length: u64,
}

impl TensorFile {
    /// Opens a file and reads its header. The outer error is one of the file system; the inner one says why this is no whole
    /// safetensors file.
    pub fn open(path: &Path) -> Result<Result<TensorFile, String>> {
        let (file, length) = super::open(path, "safetensors file")?;
        Ok(TensorFile::new(file, length))
    }
}

impl<R: Read + Seek> TensorFile<R> {
    /// Reads the header of a file of so many bytes, or says what is wrong with it.
    pub fn new(mut reader: R, length: u64) -> Result<Self, String> {
        let mut prefix = [0; PREFIX as usize];
        reader.read_exact(&mut prefix).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof if length == 0 => "it is empty".to_string(),
            ErrorKind::UnexpectedEof => format!("it has {length} bytes, too few for a header"),
            _ => format!("its header cannot be read: {error}"),
        })?;
        let header = u64::from_le_bytes(prefix);
        if header > MAX_HEADER {
            return Err("it does not begin with the length of a header".into());
        }
        let most = length.saturating_sub(PREFIX);
        if header > most {
            return Err(format!("its header should have {header} bytes, the most here is {most}"));
        }
        let (start, mut text) = (PREFIX + header, vec![0; header as usize]);
        reader.read_exact(&mut text).map_err(|error| format!("its header cannot be read: {error}"))?;
        let Scan(bytes) = serde_json::from_slice(&text).map_err(|error| format!("its header: {error}"))?;
        if bytes != u128::from(length - start) {
            let found = length - start;
            return Err(format!("its tensors take {bytes} bytes, {found} come behind its header"));
        }
        let metadata = serde_json::from_slice(&text).map_err(|error| format!("its header: {error}"))?;
        Ok(TensorFile { reader, metadata, start, length })
    }

    /// Its bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The texts beside the tensors.
    pub fn texts(&self) -> Option<&HashMap<String, String>> {
        self.metadata.metadata().as_ref()
    }

    /// A text beside the tensors.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.texts()?.get(key).map(String::as_str)
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// What is said of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// Gives the bytes of a tensor one piece after the other, each of whole values, or says why they cannot be read.
    pub fn pieces(&mut self, name: &str, mut take: impl FnMut(&[u8])) -> Result<(), String> {
        let (from, to) = self.metadata.info(name).expect("only tensors of the file are read").data_offsets;
        let failed = |error: std::io::Error| format!("{name:?} cannot be read: {error}");
        self.reader.seek(SeekFrom::Start(self.start + from as u64)).map_err(failed)?;
        let mut buffer = vec![0; PIECE.min(to - from)];
        let mut left = to - from;
        while left > 0 {
            let piece = &mut buffer[..PIECE.min(left)];
            self.reader.read_exact(piece).map_err(failed)?;
            take(piece);
            left -= piece.len();
        }
        Ok(())
    }

    /// Reads a tensor of floats into as many, or says why it cannot be read.
    pub fn floats_into(&mut self, name: &str, to: &mut [f32]) -> Result<(), String> {
        let dtype = self.metadata.info(name).expect("only tensors of the file are read").dtype;
        let mut to = to.iter_mut();
        self.pieces(name, |piece| match dtype {
            Dtype::F32 => decode(piece, &mut to, f32::from_le_bytes),
            Dtype::F64 => decode(piece, &mut to, |bytes| f64::from_le_bytes(bytes) as f32),
            Dtype::F16 => decode(piece, &mut to, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => decode(piece, &mut to, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            other => unreachable!("{other:?} is no float: see is_float"),
        })
    }

    /// The values of a tensor of floats.
    pub fn floats(&mut self, name: &str) -> Result<Vec<f32>, String> {
        let mut values = self.room(name)?;
        self.floats_into(name, &mut values)?;
        Ok(values)
    }

    /// The values of a tensor of I64.
    pub fn integers(&mut self, name: &str) -> Result<Vec<i64>, String> {
        let mut values = self.room(name)?;
        let mut to = values.iter_mut();
        self.pieces(name, |piece| decode(piece, &mut to, i64::from_le_bytes))?;
        Ok(values)
    }

    /// Zeros for the values of a tensor; the file may be longer than there is memory.
    fn room<T: Clone + Default>(&self, name: &str) -> Result<Vec<T>, String> {
        let info = self.metadata.info(name).expect("only tensors of the file are read");
        let count = info.shape.iter().product();
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| format!("there is no memory for {name:?}"))?;
        values.resize(count, T::default());
        Ok(values)
    }
}

/// Whether [`TensorFile::floats`] reads it.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16)
}

/// Decodes values of N bytes each; `to` goes on where the last piece ended.
fn decode<'a, T: 'a, const N: usize>(
    piece: &[u8],
    to: &mut impl Iterator<Item = &'a mut T>,
    value: impl Fn([u8; N]) -> T,
) {
    let (values, _) = piece.as_chunks();
    values.iter().zip(to).for_each(|(bytes, to)| *to = value(*bytes));
}

/// A header that is not hostile: the bytes that its tensors take.
struct Scan(u128);

impl<'de> Deserialize<'de> for Scan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scan, D::Error> {
        deserializer.deserialize_map(ScanHeader)
    }
}

struct ScanHeader;

impl<'de> Visitor<'de> for ScanHeader {
    type Value = Scan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scan, A::Error> {
        let (mut names, mut bytes, mut tensors) = (HashSet::new(), 0u128, 0);
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > MAX_NAME {
                return Err(A::Error::custom(format!("a name of more than {MAX_NAME} bytes")));
            }
            if name == "__metadata__" {
                map.next_value::<Option<Texts>>()?;
            } else {
                tensors += 1;
                if tensors > MAX_TENSORS {
                    return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                }
                let entry: Entry = map.next_value()?;
                let size = entry.shape.0.checked_mul(entry.dtype.bitsize() as u128);
                let size = size.map(|bits| bits.div_ceil(8)).filter(|size| *size < 1 << 64);
                bytes +=
                    size.ok_or_else(|| A::Error::custom(format!("{name:?} is too large for any file")))?;
            }
            // What a key that is there twice holds depends on who reads it.
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!("{twice:?} is there twice")));
            }
        }
        Ok(Scan(bytes))
    }
}

/// What a header says of a tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Count,
    // Twice is an error here too.
    #[serde(rename = "data_offsets")]
    _data_offsets: [u64; 2],
}

/// The number of elements of a shape.
struct Count(u128);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        deserializer.deserialize_seq(CountDims)
    }
}

struct CountDims;

impl<'de> Visitor<'de> for CountDims {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        let (mut count, mut rank) = (1u128, 0);
        while let Some(size) = seq.next_element::<u64>()? {
            rank += 1;
            if rank > MAX_RANK {
                return Err(A::Error::custom(format!("a tensor of more than {MAX_RANK} dimensions")));
            }
            // What is too many stays too many, unless it becomes none.
            count = count.saturating_mul(size.into());
        }
        Ok(Count(count))
    }
}

/// Keys and texts beside the tensors.
struct Texts;

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_map(Texts)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
            if keys.len() == MAX_KEYS {
                return Err(A::Error::custom(format!("more than {MAX_KEYS} keys of metadata")));
            }
            if let Some(twice) = keys.replace(key) {
                return Err(A::Error::custom(format!("{twice:?} is there twice")));
            }
        }
        Ok(Texts)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A file of this header, and so many bytes behind it.
    fn file(header: &str, behind: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; behind]].concat()
    }

    fn read(bytes: &[u8]) -> Result<TensorFile<Cursor<&[u8]>>, String> {
        TensorFile::new(Cursor::new(bytes), bytes.len() as u64)
    }

    #[track_caller]
    fn refused(header: &str, behind: usize, says: &str) {
        let start = header.get(..100).unwrap_or(header);
        let error = read(&file(header, behind)).err().unwrap_or_else(|| panic!("{start}.. was read"));
        assert!(error.contains(says), "{start}..: {error:?} does not say {says:?}");
    }

    /// An entry of a header.
    fn entry(dtype: &str, shape: &str, from: u64, to: u64) -> String {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    }

    #[test]
    fn what_the_crate_lets_pass_is_refused() {
        let (a, half) = (entry("F32", "[1]", 0, 4), 1u64 << 63);
        refused(&format!(r#"{{"a":{a},"a":{a}}}"#), 4, r#""a" is there twice"#);
        refused(&format!(r#"{{"a":{a},"\u0061":{a}}}"#), 4, r#""a" is there twice"#);
        refused(r#"{"__metadata__":{"k":"1","k":"2"}}"#, 0, r#""k" is there twice"#);
        refused(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, r#""__metadata__" is there twice"#);
        let twice = a.replace("[1]", r#"[1],"shape":[1]"#);
        refused(&format!(r#"{{"a":{twice}}}"#), 4, "duplicate field `shape`");
        // Sums near 2^64, over which the crate panics where overflow is checked.
        let two = format!(
            r#"{{"a":{},"b":{}}}"#,
            entry("U8", &format!("[{half}]"), 0, half),
            entry("U8", &format!("[{}]", half - 1), half, u64::MAX)
        );
        refused(&two, 0, "its tensors take 18446744073709551615 bytes, 0 come behind its header");
        for shape in ["[18446744073709551615,2]", "[4294967296,4294967296,4294967296,4294967296,4294967296]"]
        {
            refused(&format!(r#"{{"a":{}}}"#, entry("F32", shape, 0, 4)), 4, "is too large for any file");
        }
        refused(&format!(r#"{{"a":{}}}"#, entry("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4)), 4, "8 dimensions");
        refused(&format!(r#"{{"{}":{a}}}"#, "n".repeat(MAX_NAME + 1)), 4, "a name of more than 1024 bytes");
        let many = |count: usize, of: &str| (0..count).map(|k| format!(r#""{k}":{of}"#)).collect::<Vec<_>>();
        let none = many(MAX_TENSORS + 1, &entry("F32", "[0]", 0, 0)).join(",");
        refused(&format!("{{{none}}}"), 0, "more than 32768 tensors");
        let keys = many(MAX_KEYS + 1, r#""""#).join(",");
        refused(&format!(r#"{{"__metadata__":{{{keys}}}}}"#), 0, "more than 1024 keys");
    }

    #[test]
    fn what_is_no_whole_file_is_refused() {
        let a = entry("F32", "[2]", 0, 8);
        for (header, behind, says) in [
            (format!(r#"{{"a":{a}}}"#), 7, "take 8 bytes, 7 come"),
            (format!(r#"{{"a":{a}}}"#), 9, "take 8 bytes, 9 come"),
            (format!(r#"{{"a":{a},"b":{}}}"#, entry("F32", "[2]", 4, 12)), 16, "invalid offset"),
            (format!(r#"{{"a":{}}}"#, entry("F32", "[2]", 1, 9)), 8, "invalid offset"),
            (format!(r#"{{"a":{}}}"#, entry("F32", "[2]", 0, 7)), 8, "invalid shape, data type, or offset"),
            (format!(r#"{{"a":{}}}"#, entry("F33", "[2]", 0, 8)), 8, "unknown variant `F33`"),
            (format!(r#"{{"a":{}}}"#, entry("F32", "[-2]", 0, 8)), 8, "invalid value: integer `-2`"),
            (format!(r#"{{"a":{}}}"#, entry("F32", "[2.0]", 0, 8)), 8, "invalid type: floating point"),
            ("{".repeat(100_000), 0, "its header: "),
            (r#"{"a":"#.repeat(100_000), 0, "its header: "),
            (r#"{"__metadata__":["#.to_string() + &"[".repeat(100_000), 0, "its header: "),
            ("[]".into(), 0, "expected an object"),
            (String::new(), 0, "EOF"),
            ("\u{0}".into(), 0, "its header: "),
        ] {
            refused(&header, behind, says);
        }
        for bytes in [&b""[..], b"1234567", &[0xFF; 100], &9u64.to_le_bytes()] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        // A length that would take all memory is not believed.
        for (length, says) in [
            (1 << 40, "it does not begin with the length of a header"),
            (1 << 20, "its header should have 1048576 bytes, the most here is 2"),
        ] {
            let error = read(&[&u64::to_le_bytes(length)[..], b"{}"].concat()).err().unwrap();
            assert_eq!(error, says);
        }
    }

    /// Values of all kinds, in tensors that begin at odd bytes and are longer than a piece.
    #[test]
    fn values_are_read_at_any_offset() {
        let long = PIECE / 4 + 3;
        let (end, last) = (1 + 4 * long as u64, 1 + 4 * long as u64 + 2);
        let header = format!(
            r#"{{"u":{},"f":{},"h":{},"d":{},"i":{}}}"#,
            entry("U8", "[1]", 0, 1),
            entry("F32", &format!("[{long}]"), 1, end),
            entry("F16", "[1]", end, last),
            entry("F64", "[]", last, last + 8),
            entry("I64", "[2]", last + 8, last + 24)
        );
        let mut bytes = file(&header, 1);
        bytes.extend((0..long).flat_map(|k| (k as f32).to_le_bytes()));
        bytes.extend(half::f16::from_f32(-0.5).to_le_bytes());
        bytes.extend(1e300f64.to_le_bytes());
        bytes.extend([i64::MIN, 7].iter().flat_map(|x| x.to_le_bytes()));
        let mut file = read(&bytes).unwrap();
        assert_eq!(file.names(), ["d", "f", "h", "i", "u"]);
        assert_eq!(file.floats("f").unwrap(), (0..long).map(|k| k as f32).collect::<Vec<_>>());
        assert_eq!(file.floats("h").unwrap(), [-0.5]);
        assert_eq!(file.floats("d").unwrap(), [f32::INFINITY]);
        assert_eq!(file.integers("i").unwrap(), [i64::MIN, 7]);
        let mut count = 0;
        file.pieces("u", |piece| count += piece.len()).unwrap();
        assert_eq!(count, 1);
    }
}
