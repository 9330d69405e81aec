//! Heat maps: tables of numbers shown as colours.

use super::axis::{Axis, Extent};
use super::chart::heading;
use super::png;
use super::scene::{Anchor, Image, Ink, Scene, Shape, Text};
use super::text::{fit, visible, width};
use crate::error::Result;

/// Numbers as colours, row by row, such as the activations of each hidden unit along a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeatMap {
    /// The heading; none if empty.
    pub title: String,
    /// What the columns are.
    pub x_label: String,
    /// What the rows are.
    pub y_label: String,
    /// The numbers of each row, the first row on top. A number that is not finite is shown in grey.
    pub rows: Vec<Vec<f32>>,
    /// A label for each column, such as the characters of a text. Blanks and control characters are shown as visible signs.
    pub columns: Option<Vec<String>>,
    /// A label for each row.
    pub row_labels: Option<Vec<String>>,
    /// Whether the colours are for -1 to 1, with two colours on the sides of 0; numbers beyond get the colours of the ends. Else
    /// they are for 0 to the greatest number.
    pub signed: bool,
}

const ABOVE: [u8; 3] = [0xd4, 0x5d, 0x0a];
const BELOW: [u8; 3] = [0x1f, 0x78, 0xd1];
/// The colour of what is not a finite number.
const NONE: [u8; 4] = [0x88, 0x88, 0x88, 0x90];

/// The most cells of an image: across, and down. Where a map has more, a cell shows the number farthest from zero of several.
const MOST: (usize, usize) = (3000, 1000);

/// The width of a picture, and its height if it is given.
#[derive(Clone, Copy)]
struct Format {
    width: f64,
    height: Option<f64>,
}

impl HeatMap {
    /// An SVG document with a transparent background. Where the columns are labelled with single characters, it is wide enough
    /// to show all of them. Its colours are set as those of [`Chart::svg`](super::Chart::svg).
    pub fn svg(&self) -> String {
        self.scene(Format { width: 800.0, height: None }).framed(16.0).svg()
    }

    /// The SVG for a page, without margins because the page has its own; and its natural width in CSS pixels.
    pub(super) fn page_svg(&self) -> (String, f64) {
        let scene = self.scene(Format { width: 800.0, height: None });
        (scene.svg(), scene.width)
    }

    /// A PNG of 1600 x 900 pixels on white.
    pub fn png(&self) -> Result<Vec<u8>> {
        png::paint(&self.scene(Format { width: 752.0, height: Some(402.0) }).framed(24.0), 2.0)
    }

    fn scene(&self, format: Format) -> Scene {
        let rows = self.rows.len();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let title = if self.title.is_empty() { "Heat map" } else { &self.title };
        let mut scene = Scene { width: format.width, height: 0.0, title: title.into(), shapes: Vec::new() };
        let most = self.rows.iter().flatten().filter(|v| v.is_finite()).fold(0f32, |most, &v| most.max(v));

        let row_labels = self.row_labels.as_deref().map(|labels| spelled(labels, rows, 180.0));
        let row_width = match &row_labels {
            Some(labels) => {
                labels.iter().map(|label| 11.0 * MONO * label.chars().count() as f64).fold(0.0, f64::max)
            }
            None => 12.0 * width(&rows.saturating_sub(1).to_string()),
        };
        let left = (row_width + 8.0).round();
        let labels = self.columns.as_deref().map(|labels| spelled(labels, columns, 80.0));
        let label_width = labels
            .iter()
            .flatten()
            .map(|label| 11.0 * MONO * label.chars().count() as f64)
            .fold(0.0, f64::max);
        let room = label_width + if label_width < 10.0 { 1.0 } else { 6.0 }; // single letters may stand close together, words may not
        let mut cell_width = ((format.width - left - 8.0) / columns.max(1) as f64).min(room.max(48.0));
        if format.height.is_none() && label_width < 16.0 && columns <= 1000 && labels.is_some() {
            cell_width = cell_width.max(label_width + 2.0);
            scene.width = scene.width.max((left + cell_width * columns as f64 + 8.0).ceil());
        }

        // A wide map may be scrolled: what is read first stands at its left end.
        let mut top = heading(&mut scene, &self.title);
        if rows * columns > 0 {
            self.scale(&mut scene, top, most);
            top += 24.0;
        }
        if !self.y_label.is_empty() {
            top += 22.0;
            scene.text(0.0, top - 8.0, Anchor::Start, Ink::Muted, fit(&self.y_label, 12.0, format.width));
        }
        let below = 26.0 + if self.x_label.is_empty() { 0.0 } else { 18.0 };
        let tall = match format.height {
            Some(height) => height - top - below,
            None => (rows as f64 * 20.0).min((rows as f64 * 4.0).clamp(280.0, 640.0)).max(60.0),
        };
        let wide = cell_width * columns as f64;
        let cell_height = (tall / rows.max(1) as f64).min(48.0);
        let bottom = top + if rows * columns == 0 { tall } else { cell_height * rows as f64 };
        scene.height = format.height.unwrap_or((bottom + below).ceil());

        if rows * columns == 0 {
            scene.text(format.width / 2.0, (top + bottom) / 2.0, Anchor::Middle, Ink::Muted, "no data");
        } else {
            let (across, down) = (columns.min(MOST.0), rows.min(MOST.1));
            let cells = self.cells(across, down, columns, most);
            let (x, y, width, height) = (left, top, wide, bottom - top);
            scene.shapes.push(Shape::Image(Image {
                x,
                y,
                width,
                height,
                columns: across,
                rows: down,
                cells,
            }));
            for (row, label) in ticks(row_labels, rows, cell_height, 13.0, tall / 40.0) {
                let y = top + (row as f64 + 0.5) * cell_height + 4.0;
                small(&mut scene, left - 6.0, y, Anchor::End, label);
            }
            for (column, label) in ticks(labels, columns, cell_width, room, wide / 80.0) {
                small(
                    &mut scene,
                    left + (column as f64 + 0.5) * cell_width,
                    bottom + 15.0,
                    Anchor::Middle,
                    label,
                );
            }
        }
        if !self.x_label.is_empty() {
            scene.text(
                left,
                bottom + 36.0,
                Anchor::Start,
                Ink::Muted,
                fit(&self.x_label, 12.0, format.width - left),
            );
        }
        scene
    }

    /// Draws what the colours mean: a strip of them between the numbers at its ends.
    fn scale(&self, scene: &mut Scene, top: f64, most: f32) {
        const STEPS: usize = 60;
        let (from, to) = if self.signed { ("−1", "1".to_owned()) } else { ("0", short(most)) };
        let start = (12.0 * width(from) + 6.0).round();
        scene.text(0.0, top + 13.0, Anchor::Start, Ink::Muted, from);
        let value = |i: usize| {
            let t = i as f32 / (STEPS - 1) as f32;
            if self.signed { 2.0 * t - 1.0 } else { t * most.max(f32::MIN_POSITIVE) }
        };
        let cells = (0..STEPS).map(|i| self.colour(value(i), most)).collect();
        let (x, y, width, height) = (start, top + 3.0, 120.0, 12.0);
        scene.shapes.push(Shape::Image(Image { x, y, width, height, columns: STEPS, rows: 1, cells }));
        let mut end = start + width + 6.0;
        scene.text(end, top + 13.0, Anchor::Start, Ink::Muted, to.clone());
        if self.rows.iter().flatten().any(|v| !v.is_finite()) {
            end += (12.0 * self::width(&to) + 18.0).round();
            let (x, width, cells) = (end, 12.0, vec![NONE]);
            scene.shapes.push(Shape::Image(Image { x, y, width, height, columns: 1, rows: 1, cells }));
            scene.text(end + 18.0, top + 13.0, Anchor::Start, Ink::Muted, "not a number");
        }
    }

    /// The colour of a number: the nearer to zero, the more transparent. So a map fits a light background and a dark one.
    fn colour(&self, v: f32, most: f32) -> [u8; 4] {
        if !v.is_finite() {
            return NONE;
        }
        let t = match self.signed {
            true => v.clamp(-1.0, 1.0),
            false if most > 0.0 => (v / most).clamp(0.0, 1.0),
            false => 0.0,
        };
        let [r, g, b] = if t < 0.0 { BELOW } else { ABOVE };
        [r, g, b, (t.abs() * 255.0).round() as u8]
    }

    /// The colours of `across` x `down` cells. Each is that of the number farthest from zero among those that the cell stands
    /// for.
    fn cells(&self, across: usize, down: usize, columns: usize, most: f32) -> Vec<[u8; 4]> {
        let farthest = |row: usize, column: usize| {
            let rows = &self.rows[row * self.rows.len() / down..(row + 1) * self.rows.len() / down];
            let (from, to) = (column * columns / across, (column + 1) * columns / across);
            let inside = rows.iter().flat_map(|row| &row[from.min(row.len())..to.min(row.len())]);
            inside.copied().reduce(|a, b| if b.abs() > a.abs() || a.is_nan() { b } else { a })
        };
        let cell = |i: usize| farthest(i / across, i % across).map_or([0; 4], |v| self.colour(v, most));
        (0..across * down).map(cell).collect()
    }
}

/// The width of a letter in a monospaced font of size 1.
const MONO: f64 = 0.62;

/// The labels of the first `count` rows or columns as they are shown.
fn spelled(labels: &[String], count: usize, limit: f64) -> Vec<String> {
    labels.iter().take(count).map(|label| fit(&visible(label), 11.0 * MONO / 0.58, limit)).collect()
}

fn small(scene: &mut Scene, x: f64, y: f64, anchor: Anchor, content: String) {
    let ink = Ink::Muted;
    scene.shapes.push(Shape::Text(Text { x, y, anchor, size: 11.0, ink, bold: false, mono: true, content }));
}

/// Positions and labels along one side with cells of `cell` units: as many of `labels` as have `room` units each. Without
/// labels, about `most` round positions.
fn ticks(labels: Option<Vec<String>>, count: usize, cell: f64, room: f64, most: f64) -> Vec<(usize, String)> {
    match labels {
        Some(labels) => {
            labels.into_iter().enumerate().step_by((room / cell - 1e-9).ceil().max(1.0) as usize).collect()
        }
        None => {
            let last = (count - 1) as f64;
            let axis = Axis::exact(Extent::of([0.0, last].into_iter()));
            let ticks = axis.ticks((most as usize).max(1)).into_iter();
            if count == 1 {
                vec![(0, "0".into())]
            } else {
                ticks.map(|(at, label)| ((at * last).round() as usize, label)).collect()
            }
        }
    }
}

/// A number with about three digits.
fn short(v: f32) -> String {
    if v != 0.0 && !(1e-3..1e5).contains(&v) {
        format!("{v:.2e}").replace('-', "−")
    } else {
        format!("{}", (v * 1e3).round() / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::Document;

    use super::*;

    fn labels(text: &str) -> Option<Vec<String>> {
        Some(text.chars().map(String::from).collect())
    }

    fn svg(map: &HeatMap) -> String {
        let svg = map.svg();
        assert_eq!(svg, map.svg());
        assert!(Document::parse(&svg).is_ok() && !svg.contains("NaN\"") && !svg.contains("inf\""), "{svg}");
        svg
    }

    #[test]
    fn every_character_is_labelled_visibly() {
        let text = "To be,\n<or> not\0 ".repeat(9);
        let rows = vec![vec![0.1; text.len()]; 3];
        let map = HeatMap { rows, columns: labels(&text), ..HeatMap::default() };
        let svg = svg(&map);
        let document = Document::parse(&svg).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        let shown: String =
            texts.filter_map(|node| node.text()).filter(|text| text.chars().count() == 1).collect();
        assert!(shown.contains(&"To·be,↵<or>·not␀·".repeat(9)), "{shown}");
    }

    #[test]
    fn unusual_data() {
        for rows in [vec![], vec![vec![]; 3]] {
            assert!(svg(&HeatMap { rows, ..HeatMap::default() }).contains("no data"));
        }
        for rows in [
            vec![vec![0.0]],
            vec![vec![-1.0, -2.0]],
            vec![vec![1e30, 1e-30], vec![], vec![0.5]],
            vec![vec![f32::NAN, f32::INFINITY]],
        ] {
            for signed in [false, true] {
                svg(&HeatMap {
                    rows: rows.clone(),
                    signed,
                    columns: labels("a"),
                    row_labels: labels("abcdef"),
                    ..HeatMap::default()
                });
            }
        }
        let large = HeatMap { rows: vec![vec![0.25; 20_000]; 500], ..HeatMap::default() };
        assert!(svg(&large).len() < 200_000);
    }

    #[test]
    fn colours_are_of_the_number_farthest_from_zero() {
        let signed = HeatMap { signed: true, ..HeatMap::default() };
        assert_eq!(signed.colour(0.0, 0.0)[3], 0);
        assert_eq!(signed.colour(-3.0, 0.0), [BELOW[0], BELOW[1], BELOW[2], 255]);
        assert_eq!(HeatMap::default().colour(1.0, 2.0), [ABOVE[0], ABOVE[1], ABOVE[2], 128]);
        assert_eq!(HeatMap::default().colour(f32::NAN, 2.0), NONE);
        let rows = vec![vec![0.1, -0.9, 0.2, f32::NAN], vec![0.3, 0.4, f32::NAN, f32::NAN], vec![]];
        let map = HeatMap { rows, signed: true, ..HeatMap::default() };
        assert_eq!(map.cells(2, 1, 4, 1.0), [map.colour(-0.9, 1.0), map.colour(0.2, 1.0)]);
        assert_eq!(map.cells(4, 3, 4, 1.0)[8..], [[0; 4]; 4], "no number where a row is short");
    }

    proptest! {
        #[test]
        fn any_numbers_make_a_heat_map(
            rows in prop::collection::vec(prop::collection::vec(prop::num::f32::ANY, 0..20), 0..20),
            columns in prop::option::of(prop::collection::vec(any::<String>(), 0..30)),
            row_labels in prop::option::of(prop::collection::vec(any::<String>(), 0..30)),
            signed in any::<bool>(),
        ) {
            svg(&HeatMap { title: "a".into(), rows, columns, row_labels, signed, ..HeatMap::default() });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn any_numbers_make_a_png(
            rows in prop::collection::vec(prop::collection::vec(prop::num::f32::ANY, 0..20), 0..20), label in any::<String>(),
        ) {
            let map = HeatMap { rows, columns: labels(&label), row_labels: Some(vec![label; 9]), ..HeatMap::default() };
            prop_assert!(map.png().unwrap().starts_with(b"\x89PNG"));
        }
    }
}
