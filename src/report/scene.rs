//! A laid-out picture: lines, texts and images at their places, and its SVG.

use std::fmt::Write;

use super::png;
use super::text::escape;

/// What a stroke or a text is for. Its colour follows from that and from the colours of the page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ink {
    Text,
    Muted,
    Axis,
    Grid,
    Mark,
    /// A data series by its index.
    Line(usize),
}

/// The colours of the series on white, which can be told apart with any kind of colour blindness. A page may set others, by
/// `--line-1` and so on.
const LINES: [&str; 6] = ["#0a66b8", "#c2500b", "#00805f", "#a23f83", "#7d6608", "#4f5d73"];

impl Ink {
    /// The colour on white as "#rrggbb", and the CSS custom property by which a page may set another.
    pub(super) fn colour(self) -> (&'static str, String) {
        match self {
            Ink::Text => ("#1c2127", "--ink".into()),
            Ink::Muted => ("#5b636e", "--muted".into()),
            Ink::Axis => ("#8b939d", "--axis".into()),
            Ink::Grid => ("#e4e7eb", "--grid".into()),
            Ink::Mark => ("#5b636e", "--muted".into()),
            Ink::Line(i) => (LINES[i % LINES.len()], format!("--line-{}", i % LINES.len() + 1)),
        }
    }

    /// The lengths of dashes and gaps in turn; none for a solid line. Series differ by them as well as by colour.
    pub(super) fn dash(self) -> &'static [f64] {
        match self {
            Ink::Mark => &[3.0, 3.0],
            Ink::Line(i) => [&[][..], &[7.0, 3.0], &[2.0, 2.0], &[9.0, 2.5, 2.0, 2.5]][i % 4],
            _ => &[],
        }
    }
}

/// Which part of a text is at its x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text; `y` is that of its baseline.
#[derive(Debug)]
pub(super) struct Text {
    pub x: f64,
    pub y: f64,
    pub anchor: Anchor,
    pub size: f64,
    pub ink: Ink,
    pub bold: bool,
    pub mono: bool,
    pub content: String,
}

/// A grid of coloured cells, row by row. Colours are red, green, blue and opacity.
#[derive(Debug)]
pub(super) struct Image {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub columns: usize,
    pub rows: usize,
    pub cells: Vec<[u8; 4]>,
}

#[derive(Debug)]
pub(super) enum Shape {
    /// A line through the points; a single point is a dot.
    Path {
        points: Vec<(f64, f64)>,
        ink: Ink,
        width: f64,
    },
    Text(Text),
    Image(Image),
}

/// A picture of `width` x `height` units. A unit is a CSS pixel where the picture is shown at its natural size.
#[derive(Debug)]
pub(super) struct Scene {
    pub width: f64,
    pub height: f64,
    /// The name of the picture, for readers who do not see it.
    pub title: String,
    pub shapes: Vec<Shape>,
}

impl Scene {
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        self.shapes.push(Shape::Path { points: vec![from, to], ink, width });
    }

    /// A text of the usual size.
    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, content: impl Into<String>) {
        let content = content.into();
        self.shapes.push(Shape::Text(Text {
            x,
            y,
            anchor,
            size: 12.0,
            ink,
            bold: false,
            mono: false,
            content,
        }));
    }

    /// The same picture with a margin around it.
    pub(super) fn framed(mut self, margin: f64) -> Scene {
        (self.width, self.height) = (self.width + 2.0 * margin, self.height + 2.0 * margin);
        for shape in &mut self.shapes {
            match shape {
                Shape::Path { points, .. } => {
                    points.iter_mut().for_each(|p| *p = (p.0 + margin, p.1 + margin))
                }
                Shape::Text(text) => (text.x, text.y) = (text.x + margin, text.y + margin),
                Shape::Image(image) => (image.x, image.y) = (image.x + margin, image.y + margin),
            }
        }
        self
    }

    /// The SVG document of [`Scene::svg`] for use without a page: with a background, and with the page's colours for light and dark
    /// inside.
    pub(super) fn document(&self) -> String {
        let style = include_str!("colours.css");
        let whole = self.svg().replacen(
            "<svg ",
            &format!(
                "<svg width=\"{}\" height=\"{}\" style=\"background:var(--ground,#ffffff)\" ",
                number(self.width),
                number(self.height)
            ),
            1,
        );
        whole.replacen("</title>", &format!("</title><style>{style}</style>"), 1)
    }

    /// An SVG document with a transparent background. Each shape has its colour twice: as an attribute, for programs that know no
    /// custom properties, and as a style, which a page can set.
    pub(super) fn svg(&self) -> String {
        let (width, height, title) = (number(self.width), number(self.height), escape(&self.title));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\"><title>{title}</title>"
        );
        for shape in &self.shapes {
            match shape {
                Shape::Path { points, ink, width } => svg_path(&mut out, points, *ink, *width),
                Shape::Text(text) => svg_text(&mut out, text),
                Shape::Image(image) => svg_image(&mut out, image),
            }
        }
        out + "</svg>"
    }
}

fn svg_path(out: &mut String, points: &[(f64, f64)], ink: Ink, width: f64) {
    let (colour, variable) = ink.colour();
    let (width, cap) = match points {
        [_] => (2.5 * width, " stroke-linecap=\"round\""),
        _ => (width, ""),
    };
    out.push_str("<path d=\"");
    for (i, &(x, y)) in points.iter().enumerate() {
        out.push(if i == 0 { 'M' } else { 'L' });
        _ = write!(out, "{} {}", number(x), number(y));
    }
    if points.len() == 1 {
        out.push_str("h0");
    }
    _ = write!(out, "\" fill=\"none\" stroke=\"{colour}\" style=\"stroke:var({variable},{colour})\"");
    _ = write!(out, " stroke-width=\"{}\" stroke-linejoin=\"round\"{cap}", number(width));
    if points.len() > 1 && !ink.dash().is_empty() {
        let lengths: Vec<_> = ink.dash().iter().map(|&length| number(length)).collect();
        _ = write!(out, " stroke-dasharray=\"{}\"", lengths.join(" "));
    }
    out.push_str("/>");
}

fn svg_text(out: &mut String, text: &Text) {
    let (colour, variable) = text.ink.colour();
    _ = write!(out, "<text x=\"{}\" y=\"{}\"", number(text.x), number(text.y));
    match text.anchor {
        Anchor::Start => {}
        Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
        Anchor::End => out.push_str(" text-anchor=\"end\""),
    }
    if text.size != 12.0 {
        _ = write!(out, " font-size=\"{}\"", number(text.size));
    }
    if text.bold {
        out.push_str(" font-weight=\"600\"");
    }
    if text.mono {
        out.push_str(" font-family=\"ui-monospace, monospace\"");
    }
    let content = escape(&text.content);
    _ = write!(out, " fill=\"{colour}\" style=\"fill:var({variable},{colour})\">{content}</text>");
}

fn svg_image(out: &mut String, image: &Image) {
    let png = png::encode_rgba(image.columns, image.rows, &image.cells);
    _ = write!(
        out,
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
        number(image.x),
        number(image.y),
        number(image.width),
        number(image.height),
        base64(&png)
    );
}

/// A coordinate, rounded to a tenth of a unit.
fn number(v: f64) -> String {
    let tenths = format!("{v:.1}");
    match tenths.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.into(),
        None => tenths,
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(*chunk.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * i) & 63];
            out.push(if i <= chunk.len() { digit.into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xBF]), "+/+/");
    }

    #[test]
    fn coordinates_are_short() {
        for (v, text) in [(0.0, "0"), (-0.01, "0"), (12.04, "12"), (12.06, "12.1"), (-3.25, "-3.2")] {
            assert_eq!(number(v), text);
        }
    }
}
