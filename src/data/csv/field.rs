//! One field: the number it holds, or what is wrong with it.

/// What tables often have in place of a missing value, besides an empty field and NaN.
const MISSING: [&str; 5] = ["na", "n/a", "null", "none", "-"];

/// The number in a field, or why there is none.
pub(super) fn number(field: &[u8]) -> Result<f64, String> {
    let Ok(text) = str::from_utf8(field) else { return Err(not_utf8(field)) };
    let text = text.trim();
    let what = match text.parse::<f64>() {
        Ok(value) if (value as f32).is_finite() => return Ok(value),
        Ok(_) if text.contains(|c: char| c.is_ascii_digit()) => {
            "is beyond 3.4e38, the largest number of 32 bits; write the column in a larger unit"
        }
        _ if text.is_empty() => {
            return Err("the field is empty; give it a number or leave out its row".into());
        }
        Ok(_) => "is not a finite number; give it one or leave out its row",
        Err(_) if is_missing(text) => "stands for a missing number; give it one or leave out its row",
        Err(_) if without_separators(text).parse::<f64>().is_ok() => {
            "is not a number: decimal commas and thousand separators are not read; write numbers like 1234.5"
        }
        Err(_) => "is not a number; correct it or choose the columns of numbers with --columns",
    };
    Err(format!("{} {what}", show(text)))
}

/// What is said of a field that is not UTF-8.
pub(super) fn not_utf8(field: &[u8]) -> String {
    format!("{} is not UTF-8 text; save the file as UTF-8", show(field))
}

/// Whether a field of the first row is a name: text that has a letter, and neither a number nor a missing one.
pub(super) fn is_name(text: &str) -> bool {
    text.contains(char::is_alphabetic) && text.parse::<f64>().is_err() && !is_missing(text)
}

/// Whether a field of the first row is the name of the column, judged by the field below it: a number, or text with digits
/// such as a date.
pub(super) fn is_name_above(text: &str, below: &str) -> bool {
    let digits = |text: &str| text.contains(|c: char| c.is_ascii_digit());
    is_name(text) && (number(below.as_bytes()).is_ok() || !digits(text) && digits(below))
}

/// Whether a field is text, and not a badly written number. A column of such fields is left out of the table.
pub(super) fn is_text(field: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(field) else { return false };
    let text = text.trim();
    let bad_number = text.parse::<f64>().is_ok() || without_separators(text).parse::<f64>().is_ok();
    is_missing(text) || !bad_number
}

fn is_missing(text: &str) -> bool {
    MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(text))
}

fn without_separators(text: &str) -> String {
    text.replace([',', '\'', '\u{2019}', '_', ' ', '\u{A0}', '\u{202F}'], "")
}

/// A field in quotes for a message: see [`cut`].
pub(super) fn show(field: impl AsRef<[u8]>) -> String {
    format!("'{}'", cut(String::from_utf8_lossy(field.as_ref()).trim_matches(' ')))
}

/// At most 40 characters of a text for a message. Characters that could control a terminal are escaped.
pub(crate) fn cut(text: &str) -> String {
    let mut cut = String::new();
    for c in text.chars().take(40) {
        match c {
            '\'' | '"' | '\\' => cut.push(c),
            _ => cut.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(40).is_some() { cut + "..." } else { cut }
}
