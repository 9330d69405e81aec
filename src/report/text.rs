//! Makes text of any origin safe to show: it is escaped, and what could hide or reorder the text beside it is made visible.

use std::fmt::Write;

/// Whether `c` is invisible itself but may change what stands beside it: marks of direction, joins, tags, byte order marks.
/// Zero-width joiners do not count: emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}' | '\u{200C}' | '\u{200E}' | '\u{200F}'
        | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}')
}

/// `text` for an element or a quoted attribute of HTML or XML. Line breaks and tabs stay, other control
/// characters and invisible ones become their code points.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            _ => push_visible(&mut out, c),
        }
    }
    out
}

/// `text` on one line with every character visible, as for the characters along an axis. Spaces within stay.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let within = text.len() - text.trim_start().len()..text.trim_end().len();
    for (at, c) in text.char_indices() {
        match c {
            ' ' | '\u{A0}' if !within.contains(&at) => out.push('·'),
            '\n' => out.push('↵'),
            '\t' => out.push('→'),
            '\0'..='\x1F' => out.extend(char::from_u32(0x2400 + c as u32)),
            _ => push_visible(&mut out, c),
        }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    match c {
        _ if c.is_control() => _ = write!(out, "[{:02X}]", c as u32),
        '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'), // no characters of XML
        _ if is_invisible(c) => _ = write!(out, "[{:04X}]", c as u32),
        _ => out.push(c),
    }
}

/// The width of `text` at font size 1. It is estimated generously, because the reader's font is not known.
pub(super) fn width(text: &str) -> f64 {
    let of = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | '.' | ',' | ':' | '\'' | '|' | ' ' => 0.34,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.9,
        '0'..='9' => 0.64,
        'A'..='Z' => 0.68,
        '\0'..='\u{2FF}' => 0.58,
        '\u{300}'..='\u{36F}' => 0.0,
        '\u{370}'..='\u{10FF}' => 0.65,
        _ => 1.0,
    };
    text.chars().map(of).sum()
}

/// `text` on one line. What does not fit `limit` at that font size is cut off and replaced by an ellipsis.
pub(super) fn fit(text: &str, size: f64, limit: f64) -> String {
    let mut line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).take(1000).collect();
    if line.len() == text.len() && width(&line) * size <= limit {
        return line;
    }
    while !line.is_empty() && (width(&line) + 1.0) * size > limit {
        line.pop();
    }
    line.truncate(line.trim_end().len());
    line.push('…');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_markup_or_hidden() {
        assert_eq!(escape("<a href=\"x\">'&'"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
        assert_eq!(escape("a\nb\tc\0\x1B\r"), "a\nb\tc[00][1B][0D]");
        assert_eq!(escape("\u{202E}x\u{200B}\u{85}\u{FFFF}"), "[202E]x[200B][85]\u{FFFD}");
        assert_eq!(escape("日本 שלום 👩\u{200D}🔬"), "日本 שלום 👩\u{200D}🔬");
        assert_eq!(visible(" "), "·");
        assert_eq!(visible("\n a b\t\0\u{A0}"), "↵·a b→␀·");
    }

    #[test]
    fn cuts_to_fit() {
        assert_eq!(fit("short", 10.0, 100.0), "short");
        assert_eq!(fit("two\nlines", 10.0, 100.0), "two lines");
        assert_eq!(fit("something much longer", 10.0, 80.0), "something mu…");
        assert_eq!(fit("x", 10.0, 0.0), "…");
        assert!(fit(&"x".repeat(1_000_000), 10.0, f64::INFINITY).len() < 1100);
    }

    proptest! {
        #[test]
        fn any_text_is_xml(text in any::<String>()) {
            for shown in [escape(&text), escape(&visible(&text)), escape(&fit(&text, 12.0, 99.0))] {
                let xml = format!("<a b=\"{shown}\">{shown}</a>");
                prop_assert!(roxmltree::Document::parse(&xml).is_ok(), "{}", xml);
            }
        }
    }
}
