//! JSON of files that somebody else may have written: parsed only where it cannot take much memory.

use serde::de::{DeserializeOwned, Error};

/// The most values of a file; the names, offsets and scales of the widest table are fewer. In memory a value may take seventy
/// times the two bytes that it takes in a file.
const MAX_VALUES: usize = 1 << 18;

/// The value that a text holds.
///
/// # Errors
/// Where it is no JSON, of another form, nested more than 128 deep, or of too many values.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    match values(text) <= MAX_VALUES {
        true => serde_json::from_slice(text),
        false => Err(serde_json::Error::custom(format!("more than {MAX_VALUES} values"))),
    }
}

/// How many values and keys there are, at most, by what stands before each.
fn values(text: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{' | b',' | b':') => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn values_are_counted_outside_texts() {
        for (text, count) in [
            ("", 1),
            ("1", 1),
            ("[1,2]", 3),
            (r#"{"a":[{},"b,[{:"],"c\",[":1}"#, 8),
            (r#""\\",[1]"#, 3),
            (r#"{"open\"#, 2),
        ] {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
        let (most, more) = ("[".to_string() + &"0,".repeat(MAX_VALUES - 2) + "0]", "0,".repeat(MAX_VALUES));
        assert!(parse::<Value>(most.as_bytes()).is_ok());
        assert_eq!(parse::<Value>(more.as_bytes()).unwrap_err().to_string(), "more than 262144 values");
        assert!(parse::<Value>("[".repeat(10_000).as_bytes()).unwrap_err().to_string().contains("recursion"));
    }
}
