//! What models are trained on.
//!
//! - [`text`]: text as tokens (characters or bytes), cut into batches of sequences.
//! - [`csv`]: tables of numbers from CSV files.
//! - [`scale`]: the columns of a table, scaled to a range that a network learns well from.
//! - [`series`]: a table cut into the windows of a time series, each with the number that is to be forecast.

pub mod csv;
pub mod scale;
pub mod series;
pub mod text;

/// The message for a file that begins with a byte order mark of UTF-16.
const UTF16: &str = "is UTF-16 text, by its byte order mark: save it as UTF-8";

/// Whether `bytes` begin with a byte order mark of UTF-16.
fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])
}
