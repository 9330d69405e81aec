//! The labelled vertical lines of a chart, and room for their labels.

use super::scene::Anchor;
use super::text::{self, fit};

/// The most rows of labels.
const ROWS: usize = 3;
/// The height of a row.
pub(super) const MARK_ROW: f64 = 16.0;

/// A vertical line and, where there is room for one, its label in a row above the chart.
pub(super) struct Mark {
    pub x: f64,
    /// On which side of the line, and in which row.
    pub label: Option<(Anchor, usize, String)>,
}

impl Mark {
    /// How far the line goes above the chart.
    pub(super) fn rise(&self) -> f64 {
        self.label.as_ref().map_or(0.0, |(_, row, _)| MARK_ROW * (row + 1) as f64)
    }
}

/// Places labels beside their lines, in rows from below, so that none covers another label or a line. They stand to the right
/// of the lines, or to the left where more of them find room so. Returns the number of rows as well.
pub(super) fn place_marks(marks: &[(f64, &String)], width: f64) -> (Vec<Mark>, usize) {
    let mut sorted = marks.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted.dedup_by(|b, a| (b.0 - a.0).abs() < 0.5 && a.1 == b.1);
    // A label reaches over the lines beside it, whose own labels must be in lower rows: these are placed first.
    let right = place_labels(sorted.iter().rev(), width, Anchor::Start);
    let left = place_labels(sorted.iter(), width, Anchor::End);
    let count = |(placed, _): &(Vec<Mark>, usize)| placed.iter().filter(|mark| mark.label.is_some()).count();
    if count(&left) > count(&right) { left } else { right }
}

fn place_labels<'a>(
    marks: impl Iterator<Item = &'a (f64, &'a String)>,
    width: f64,
    preferred: Anchor,
) -> (Vec<Mark>, usize) {
    let mut taken = [const { Vec::<(f64, f64)>::new() }; ROWS];
    let mut placed = Vec::new();
    for &(x, label) in marks {
        let label = fit(label, 12.0, 0.6 * width);
        let length = 12.0 * text::width(&label) + 5.0;
        let (before, after) = ((Anchor::End, (x - length, x)), (Anchor::Start, (x, x + length)));
        let (anchor, span) = match preferred {
            Anchor::End if x >= length => before,
            Anchor::Start if x + length > width => before,
            _ => after,
        };
        let free = |row: usize, (from, to): (f64, f64)| {
            taken[row].iter().all(|t| t.1 + 4.0 < from || to + 4.0 < t.0)
        };
        let inside = !label.is_empty() && span.0 >= 0.0 && span.1 <= width;
        let row = (0..ROWS)
            .filter(|_| inside)
            .find(|&row| free(row, span) && (0..row).all(|below| free(below, (x, x))));
        if let Some(row) = row {
            taken[row].push(span);
            (0..row).for_each(|below| taken[below].push((x, x)));
        }
        placed.push(Mark { x, label: row.map(|row| (anchor, row, label)) });
    }
    let rows = taken.iter().filter(|row| !row.is_empty()).count();
    (placed, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_marks_touch_neither_each_other_nor_a_line() {
        let labels = vec!["a label of some length".to_owned(); 9];
        let marks: Vec<_> = labels.iter().enumerate().map(|(i, label)| (90.0 * i as f64, label)).collect();
        let (placed, rows) = place_marks(&marks, 800.0);
        assert_eq!((placed.len(), rows), (9, 3));
        let spans: Vec<_> = placed
            .iter()
            .filter_map(|mark| {
                let (anchor, row, label) = mark.label.as_ref()?;
                let length = 12.0 * text::width(label);
                Some((
                    *row,
                    if *anchor == Anchor::Start {
                        (mark.x, mark.x + length)
                    } else {
                        (mark.x - length, mark.x)
                    },
                ))
            })
            .collect();
        for (i, (row, span)) in spans.iter().enumerate() {
            assert!(spans[..i].iter().all(|(r, s)| r != row || s.1 < span.0 || span.1 < s.0));
            assert!(span.0 >= 0.0 && span.1 <= 800.0);
            let through =
                |mark: &&Mark| mark.rise() > MARK_ROW * *row as f64 && span.0 < mark.x && mark.x < span.1;
            assert_eq!(placed.iter().filter(through).count(), 0, "row {row}");
        }
    }
}
