//! What models are trained on: [`text`], and tables of numbers ([`csv`]), scaled ([`scale`]) and cut into the windows
//! of a time [`series`].

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
