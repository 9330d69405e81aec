//! What models are trained on: [`text`], and tables of numbers ([`csv`]), scaled ([`scale`]) and cut into the windows
//! of a time [`series`].

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

pub mod csv;
pub mod scale;
pub mod series;
pub mod text;

/// What is said of a file that begins with a byte order mark of UTF-16.
const UTF16: &str = "is UTF-16 text, by its byte order mark: save it as UTF-8";

/// Whether `bytes` begin with a byte order mark of UTF-16.
fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])
}

/// The file, open for reading, and its length in bytes, 0 for a pipe. `kind` is what it should be: "text file".
fn open(path: &Path, kind: &str) -> Result<(File, u64)> {
    let metadata = fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if metadata.is_dir() {
        return Err(Error::data(path, format!("is a folder, not a {kind}")));
    }
    Ok((File::open(path).map_err(|e| unreadable(path, &e))?, metadata.len()))
}

/// The error of a file that cannot be opened or read.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::data(path, "no such file"),
        _ => Error::data(path, format!("cannot be read: {error}")),
    }
}
