//! Line charts.

use super::axis::{Axis, Extent};
use super::marks::{MARK_ROW, place_marks};
use super::png;
use super::scene::{Anchor, Ink, Scene, Shape, Text};
use super::text::{fit, width};
use super::thin::thin;
use crate::error::Result;

/// A series of a [`Chart`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Its points (x, y), joined in this order. A point that is not finite makes a gap.
    pub points: Vec<(f64, f64)>,
}

/// A line chart: lines over one pair of axes, with a legend where there is more than one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// The heading; none if empty.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures, with its unit.
    pub y_label: String,
    /// The series, the last on top.
    pub lines: Vec<Line>,
    /// Vertical lines at an x with a label, such as where training data end.
    pub marks: Vec<(f64, String)>,
    /// Whether the vertical axis is logarithmic. Then values of zero or less are gaps.
    pub log_y: bool,
}

/// The size of a picture in units, and how many columns of points a unit shows.
#[derive(Debug, Clone, Copy)]
struct Format {
    width: f64,
    height: f64,
    columns: f64,
}

/// For a page at its full width.
const FULL: Format = Format { width: 800.0, height: 400.0, columns: 1.0 };
/// For a telephone.
const COMPACT: Format = Format { width: 340.0, height: 280.0, columns: 1.0 };
/// For a PNG with two pixels a unit. The margin is added later.
const PICTURE: Format = Format { width: 752.0, height: 402.0, columns: 2.0 };

/// At most so many rows of a legend.
const LEGEND_ROWS: usize = 5;
/// The height of a row of the legend.
const ROW: f64 = 18.0;

impl Chart {
    /// An SVG document with a transparent background. A page can set its colours by the CSS custom properties `--ink`,
    /// `--muted`, `--axis`, `--grid` and `--line-1` to `--line-6`. The default colours are for a white background.
    pub fn svg(&self) -> String {
        self.scene(FULL).framed(16.0).svg()
    }

    /// The SVGs for a page, without margins because the page has its own: one for its full width, one for a telephone.
    pub(super) fn page_svgs(&self) -> (String, String) {
        (self.scene(FULL).svg(), self.scene(COMPACT).svg())
    }

    /// A PNG of 1600 x 900 pixels on white, drawn with the fonts Ubuntu Light and Hack, which are part of the program.
    pub fn png(&self) -> Result<Vec<u8>> {
        png::paint(&self.scene(PICTURE).framed(24.0), 2.0)
    }

    fn scene(&self, format: Format) -> Scene {
        let empty = self.points().next().is_none();
        let Format { width, height, .. } = format;
        let mut scene = Scene { width, height, title: self.spoken_title(), shapes: Vec::new() };
        let mut top = heading(&mut scene, &self.title);
        if self.lines.len() > 1 {
            top += self.legend(&mut scene, top);
        }
        let (x_axis, y_axis) = self.axes();
        if !self.y_label.is_empty() || self.log_y {
            top += ROW;
            scene.text(0.0, top - 6.0, Anchor::Start, Ink::Muted, fit(&self.y_caption(), 12.0, width));
        }

        let y_ticks = if empty { Vec::new() } else { y_axis.ticks((height / 50.0) as usize) };
        let left =
            y_ticks.iter().map(|(_, label)| 12.0 * self::width(label) + 8.0).fold(2.0, f64::max).round();
        let (x_ticks, right) = fitting_ticks(&x_axis, left, width, empty);
        let across = |x: f64| left + x * (right - left);

        let marks: Vec<_> =
            self.marks.iter().filter_map(|(x, label)| Some((across(x_axis.place(*x)?), label))).collect();
        let (marks, rows) = place_marks(&marks, width);
        top += (rows as f64 * MARK_ROW + 6.0).round();
        let bottom =
            height - if empty { 8.0 } else { 24.0 } - if self.x_label.is_empty() { 0.0 } else { ROW };
        let down = |y: f64| bottom - y * (bottom - top);

        for (y, label) in y_ticks {
            scene.line((left, down(y)), (right, down(y)), Ink::Grid, 1.0);
            scene.text(left - 8.0, down(y) + 4.0, Anchor::End, Ink::Muted, label);
        }
        scene.line((left, bottom), (right, bottom), Ink::Axis, 1.0);
        for (x, label) in x_ticks {
            scene.line((across(x), bottom), (across(x), bottom + 5.0), Ink::Axis, 1.0);
            scene.text(across(x), bottom + 19.0, Anchor::Middle, Ink::Muted, label);
        }
        if !self.x_label.is_empty() {
            let label = fit(&self.x_label, 12.0, right - left);
            scene.text((left + right) / 2.0, height - 6.0, Anchor::Middle, Ink::Muted, label);
        }
        for mark in marks {
            scene.line((mark.x, bottom), (mark.x, top - mark.rise()), Ink::Mark, 1.0);
            if let Some((anchor, row, label)) = mark.label {
                let (x, y) = (
                    mark.x + if anchor == Anchor::Start { 5.0 } else { -5.0 },
                    top - 6.0 - MARK_ROW * row as f64,
                );
                scene.text(x, y, anchor, Ink::Text, label);
            }
        }
        let columns = (right - left) * format.columns;
        for (i, line) in self.lines.iter().enumerate() {
            let place = |(x, y)| Some((x_axis.place(x)? * columns, y_axis.place(y)?));
            let stretches = thin(&line.points, columns, place);
            let dense = stretches.iter().map(Vec::len).sum::<usize>() as f64 > 1.5 * columns;
            let weight = if dense { 1.0 } else { 1.75 };
            for stretch in stretches {
                let points = stretch.into_iter().map(|(x, y)| (left + x / format.columns, down(y))).collect();
                scene.shapes.push(Shape::Path { points, ink: Ink::Line(i), width: weight });
            }
        }
        if empty {
            scene.text((left + right) / 2.0, (top + bottom) / 2.0, Anchor::Middle, Ink::Muted, "no data");
        }
        scene
    }

    /// The points that have a place in the picture.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let all = self.lines.iter().flat_map(|line| line.points.iter().copied());
        all.filter(|&(x, y)| x.is_finite() && y.is_finite() && !(self.log_y && y <= 0.0))
    }

    fn axes(&self) -> (Axis, Axis) {
        let marks = self.marks.iter().map(|mark| mark.0);
        let x = Axis::exact(Extent::of(self.points().map(|p| p.0).chain(marks)));
        let y = Extent::of(self.points().map(|p| p.1));
        (x, if self.log_y { Axis::logarithmic(y) } else { Axis::roomy(y) })
    }

    fn y_caption(&self) -> String {
        if !self.log_y {
            return self.y_label.clone();
        }
        let left_out = self.lines.iter().any(|line| line.points.iter().any(|p| p.1 <= 0.0));
        let scale = if left_out { "logarithmic, without values ≤ 0" } else { "logarithmic" };
        format!("{} ({scale})", self.y_label).trim_start().into()
    }

    fn spoken_title(&self) -> String {
        let names: Vec<_> = self.lines.iter().take(12).map(|line| line.name.as_str()).collect();
        let title = if self.title.is_empty() { "Line chart" } else { &self.title };
        format!("{title}: {}", names.join(", ")).trim_end_matches(": ").into()
    }

    /// Draws the names of the lines from `top` on. Returns the height that they take.
    fn legend(&self, scene: &mut Scene, top: f64) -> f64 {
        const SAMPLE: f64 = 26.0;
        let more = |count: usize| format!("and {count} more");
        let names: Vec<_> = self
            .lines
            .iter()
            .map(|line| fit(&line.name, 12.0, scene.width - SAMPLE - 8.0))
            .take(100)
            .collect();
        let (mut x, mut row) = (0.0, 0);
        for (i, name) in names.iter().enumerate() {
            let length = SAMPLE + 6.0 + 12.0 * width(name);
            let rest = self.lines.len() - i - 1;
            let kept_free =
                if row + 1 == LEGEND_ROWS && rest > 0 { 12.0 * width(&more(rest)) + 16.0 } else { 0.0 };
            if x > 0.0 && x + length + kept_free > scene.width {
                if row + 1 == LEGEND_ROWS {
                    scene.text(x, top + ROW * row as f64 + 12.0, Anchor::Start, Ink::Muted, more(rest + 1));
                    break;
                }
                (x, row) = (0.0, row + 1);
            }
            let y = top + ROW * row as f64 + 12.0;
            scene.line((x, y - 4.0), (x + SAMPLE, y - 4.0), Ink::Line(i), 2.0);
            scene.text(x + SAMPLE + 6.0, y, Anchor::Start, Ink::Text, name);
            x += length + 16.0;
        }
        ROW * (row + 1) as f64 + 4.0
    }
}

/// Draws the title of a picture. Returns the height that it takes.
pub(super) fn heading(scene: &mut Scene, title: &str) -> f64 {
    if title.is_empty() {
        return 0.0;
    }
    let content = fit(title, 15.0 * 1.05, scene.width);
    let (anchor, ink) = (Anchor::Start, Ink::Text);
    scene.shapes.push(Shape::Text(Text {
        x: 0.0,
        y: 16.0,
        anchor,
        size: 15.0,
        ink,
        bold: true,
        mono: false,
        content,
    }));
    26.0
}

/// The ticks of the horizontal axis: as many as fit without their labels touching. And where the axis must end for the last
/// label to fit.
fn fitting_ticks(axis: &Axis, left: f64, width: f64, empty: bool) -> (Vec<(f64, String)>, f64) {
    let most = if empty { 0 } else { ((width - left) / 72.0) as usize };
    for most in (1..=most).rev() {
        let ticks = axis.ticks(most);
        let half = |label: &str| 6.0 * self::width(label);
        let right = width - ticks.last().map_or(0.0, |(_, label)| half(label)).clamp(4.0, 60.0);
        let apart = |pair: &[(f64, String)]| {
            (pair[1].0 - pair[0].0) * (right - left) > half(&pair[0].1) + half(&pair[1].1) + 12.0
        };
        if ticks.windows(2).all(apart) {
            return (ticks, right.round());
        }
    }
    (Vec::new(), width - 4.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::{Document, Node};

    use super::*;

    fn line(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
        Line { name: name.into(), points: points.into_iter().collect() }
    }

    fn chart(lines: Vec<Line>) -> Chart {
        Chart {
            title: "Loss".into(),
            x_label: "step".into(),
            y_label: "nats".into(),
            lines,
            ..Chart::default()
        }
    }

    /// The number of stretches of a series, from an SVG that must be sound.
    fn stretches(chart: &Chart, index: usize) -> usize {
        let svg = chart.svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg, chart.svg());
        let document = Document::parse(&svg).unwrap();
        let (_, variable) = Ink::Line(index).colour();
        let of_series = |node: &Node| node.attribute("style").is_some_and(|style| style.contains(&variable));
        let in_legend = usize::from(chart.lines.len() > 1);
        document.descendants().filter(of_series).count() - in_legend
    }

    fn decoded(png: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = ::png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width, info.height, bytes)
    }

    #[test]
    fn unusual_data() {
        let nan = f64::NAN;
        for (points, count) in [
            (&[][..], 0),
            (&[(1.0, 2.0)], 1),
            (&[(nan, nan), (1.0, f64::INFINITY)], 0),
            (&[(0.0, 5.0), (1.0, 5.0), (2.0, 5.0)], 1),
            (&[(0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, 1.0)], 2),
            (&[(0.0, 1e-30), (1.0, 3e-30)], 1),
            (&[(0.0, -1e30), (1e30, 1e30)], 1),
            (&[(f64::MIN, f64::MAX), (f64::MAX, f64::MIN)], 1),
        ] {
            assert_eq!(stretches(&chart(vec![line("a", points.to_vec())]), 0), count, "{points:?}");
        }
        assert!(Chart::default().svg().contains("no data"));
        assert!(chart(vec![line("a", [])]).svg().contains("no data"));
    }

    #[test]
    fn zeros_and_negatives_are_gaps_of_a_logarithmic_axis_and_it_says_so() {
        let points = [(0.0, 1.0), (1.0, 0.0), (2.0, 10.0), (3.0, 1e3), (4.0, -1.0)];
        let log = Chart { log_y: true, ..chart(vec![line("a", points)]) };
        assert_eq!(stretches(&log, 0), 2);
        assert!(log.svg().contains("nats (logarithmic, without values ≤ 0)"));
        let none = Chart { log_y: true, ..chart(vec![line("a", [(0.0, 0.0)])]) };
        assert!(none.svg().contains("no data"));
    }

    #[test]
    fn millions_of_points_keep_their_extremes() {
        let wave = |i: u32| (f64::from(i), if i == 7_654_321 { 9.0 } else { f64::from(i % 7) / 7.0 });
        let chart = chart(vec![line("a", (0..10_000_000).map(wave))]);
        let svg = chart.svg();
        assert!(svg.len() < 60_000, "{} bytes", svg.len());
        let document = Document::parse(&svg).unwrap();
        let path = document
            .descendants()
            .find(|node| node.attribute("style").is_some_and(|style| style.contains("--line-1")))
            .unwrap();
        let points = path.attribute("d").unwrap()[1..].split('L').map(|point| point.split_once(' ').unwrap());
        let (x, _) =
            points.min_by(|a, b| a.1.parse::<f64>().unwrap().total_cmp(&b.1.parse().unwrap())).unwrap();
        let x: f64 = x.parse().unwrap();
        assert!((615.0..635.0).contains(&x), "the peak is at {x}");
    }

    #[test]
    fn png_is_a_picture_on_white() {
        let curve = |i: i32| (f64::from(i), 1.0 + f64::from(i).sin());
        let chart =
            Chart { marks: vec![(50.0, "split".into())], ..chart(vec![line("a", (0..100).map(curve))]) };
        let png = chart.png().unwrap();
        let (width, height, pixels) = decoded(&png);
        assert_eq!((width, height), (1600, 900));
        assert!(pixels[..3 * 8] == [255; 24], "the corner is white");
        assert!(pixels.chunks(3).any(|pixel| pixel == [0x0a, 0x66, 0xb8]), "the line has its colour");
        assert!(png == chart.png().unwrap());
    }

    #[test]
    fn long_legends_end_with_how_many_more() {
        let lines = (0..40).map(|i| line(&format!("a series with number {i}"), [(0.0, 1.0)])).collect();
        assert!(chart(lines).svg().contains("more</text>"));
    }

    fn coordinate() -> impl Strategy<Value = f64> {
        prop_oneof![prop::num::f64::ANY, -2.0..2.0, Just(0.0), Just(f64::NAN), Just(1e30), Just(1e-30)]
    }

    proptest! {
        #[test]
        fn any_numbers_make_a_chart(
            points in prop::collection::vec((coordinate(), coordinate()), 0..200),
            marks in prop::collection::vec((coordinate(), any::<String>()), 0..6),
            names in prop::collection::vec(any::<String>(), 0..5),
            log_y in any::<bool>(),
        ) {
            let lines: Vec<_> = names.iter().map(|name| line(name, points.clone())).collect();
            let chart = Chart { marks, log_y, title: names.concat(), lines, ..Chart::default() };
            for svg in [chart.svg(), chart.page_svgs().1] {
                prop_assert!(Document::parse(&svg).is_ok(), "{}", svg);
                prop_assert!(!svg.contains("NaN\"") && !svg.contains("inf "), "{}", svg);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn any_numbers_make_a_png(
            points in prop::collection::vec((coordinate(), coordinate()), 0..60), name in any::<String>(), log_y in any::<bool>(),
        ) {
            let lines = vec![line(&name, points.clone()), line(&name, points)];
            let chart = Chart { lines, log_y, marks: vec![(0.0, name)], ..Chart::default() };
            prop_assert!(chart.png().is_ok());
        }
    }
}
