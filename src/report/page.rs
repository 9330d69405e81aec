//! The page of a training run: one HTML file with everything in it.

use std::fmt::Write;

use super::text::escape;
use super::{Chart, HeatMap};

/// What a [`page`](html) shows, from top to bottom; parts that are empty are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The heading of the page.
    pub title: String,
    /// What a reader must know before the numbers, such as that the data are synthetic; shown prominently.
    pub notes: Vec<String>,
    /// The results by name, shown large.
    pub results: Vec<(String, String)>,
    /// The circumstances by name, such as the device and the number of steps.
    pub facts: Vec<(String, String)>,
    /// Pictures, tables and texts.
    pub sections: Vec<Section>,
    /// The settings of the run: groups with a heading, each of names and values.
    pub settings: Vec<(String, Vec<(String, String)>)>,
}

/// A part of a [`Report`] with its own heading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// How to read what follows, in a sentence or two.
    pub intro: String,
    /// What is shown, in this order.
    pub blocks: Vec<Block>,
}

/// One thing in a [`Section`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Block {
    /// A line chart.
    Chart(Chart),
    /// A heat map, scrolled sideways where it is wider than the screen.
    HeatMap(HeatMap),
    /// Generated texts, shown as they are, with their blanks and line ends.
    Samples(Vec<String>),
    /// A table. Columns of numbers are aligned to the right.
    Table {
        /// The headings of the columns.
        head: Vec<String>,
        /// The cells row by row; the first one names its row.
        rows: Vec<Vec<String>>,
    },
    /// Paragraphs, set apart by blank lines.
    Text(String),
}

const CSS: &str = concat!(include_str!("colours.css"), include_str!("page.css"));

/// The page as one HTML document, which is also well-formed XML. Style and pictures are inside, there is no script, and a
/// content security policy keeps the browser from asking any host for anything. All text is escaped.
pub fn html(report: &Report) -> String {
    let title = escape(if report.title.is_empty() { "Report" } else { &report.title });
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{title}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n"
    );
    if !report.notes.is_empty() {
        out.push_str("<ul class=\"notes\">\n");
        for note in &report.notes {
            _ = writeln!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</header>\n");
    definitions(&mut out, "results", &report.results);
    definitions(&mut out, "facts", &report.facts);
    for section in &report.sections {
        open_section(&mut out, &section.heading);
        if !section.intro.is_empty() {
            _ = writeln!(out, "<p class=\"intro\">{}</p>", escape(&section.intro));
        }
        section.blocks.iter().for_each(|block| write_block(&mut out, block));
        out.push_str("</section>\n");
    }
    if !report.settings.is_empty() {
        settings(&mut out, &report.settings);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn open_section(out: &mut String, heading: &str) {
    _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(heading));
}

fn definitions(out: &mut String, class: &str, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        return;
    }
    _ = writeln!(out, "<dl class=\"{class}\">");
    for (name, value) in pairs {
        _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
}

fn settings(out: &mut String, groups: &[(String, Vec<(String, String)>)]) {
    open_section(out, "Settings");
    out.push_str("<div class=\"settings\">\n");
    for (heading, pairs) in groups {
        _ = writeln!(out, "<div>\n<h3>{}</h3>\n<table>\n<tbody>", escape(heading));
        for (name, value) in pairs {
            _ = writeln!(out, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        out.push_str("</tbody>\n</table>\n</div>\n");
    }
    out.push_str("</div>\n</section>\n");
}

fn write_block(out: &mut String, block: &Block) {
    match block {
        Block::Chart(chart) => {
            let (full, compact) = chart.page_svgs();
            _ = writeln!(
                out,
                "<figure>\n<div class=\"full\">{full}</div>\n<div class=\"compact\">{compact}</div>\n</figure>"
            );
        }
        Block::HeatMap(map) => {
            let (svg, width) = map.page_svg();
            open_scroll(out, if map.title.is_empty() { "Heat map" } else { &map.title });
            _ = writeln!(out, "<figure style=\"min-width:{width}px\">{svg}</figure>\n</div>");
        }
        Block::Samples(samples) => {
            for sample in samples {
                // HTML drops a line break right after the tag: so the text gets one to drop.
                _ = writeln!(out, "<pre>\n{}</pre>", escape(sample));
            }
        }
        Block::Table { head, rows } => table(out, head, rows),
        Block::Text(text) => {
            for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
                _ = writeln!(out, "<p>{}</p>", escape(paragraph.trim()));
            }
        }
    }
}

/// Opens a box that scrolls by itself, also by keyboard.
fn open_scroll(out: &mut String, label: &str) {
    _ = writeln!(
        out,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">",
        escape(label)
    );
}

fn table(out: &mut String, head: &[String], rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).chain([head.len()]).max().unwrap_or(0);
    let numeric: Vec<bool> = (0..columns).map(|column| is_numeric(rows, column)).collect();
    let class = |column: usize| if numeric[column] { " class=\"number\"" } else { "" };
    let cell = |row: &[String], column: usize| row.get(column).map_or(String::new(), |text| escape(text));
    open_scroll(out, "Table");
    out.push_str("<table>\n<thead>\n<tr>");
    for column in 0..columns {
        _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(column), cell(head, column));
    }
    out.push_str("</tr>\n</thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for column in 0..columns {
            let (tag, scope) = if column == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            _ = write!(out, "<{tag}{scope}{}>{}</{tag}>", class(column), cell(row, column));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

/// Whether a column holds nothing but numbers, with or without units.
fn is_numeric(rows: &[Vec<String>], column: usize) -> bool {
    let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
    let is_number = |cell: &String| {
        cell.split_whitespace().next().is_some_and(|word| {
            let word = word.replace('−', "-").replace(['%', ',', '×', '+', '±', '_'], "");
            word.parse::<f64>().is_ok()
        })
    };
    cells.peek().is_some() && cells.all(is_number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::{Document, ParsingOptions};

    use super::*;
    use crate::report::Line;

    fn parse(page: &str) -> Document<'_> {
        Document::parse_with_options(page, ParsingOptions { allow_dtd: true, ..Default::default() }).unwrap()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        vec![(text.into(), text.into())]
    }

    /// A report with `text` wherever a text can be.
    fn report_of(text: &str) -> Report {
        let (title, x_label, y_label): (String, String, String) = (text.into(), text.into(), text.into());
        let lines = vec![Line { name: text.into(), points: vec![(0.0, 1.0), (1.0, 2.0)] }; 2];
        let marks = vec![(0.5, text.into())];
        let (head, rows) = (vec![text.into()], vec![vec![text.into(), text.into()], vec![]]);
        let chart = Chart { title, x_label, y_label, lines, marks, log_y: false };
        let labels = Some(vec![text.into(), text.into()]);
        let map = HeatMap {
            title: text.into(),
            x_label: text.into(),
            y_label: text.into(),
            rows: vec![vec![0.5, -0.5]; 2],
            columns: labels.clone(),
            row_labels: labels,
            signed: true,
        };
        let blocks = vec![
            Block::Chart(chart),
            Block::HeatMap(map),
            Block::Samples(vec![text.into()]),
            Block::Table { head, rows },
            Block::Text(text.into()),
        ];
        Report {
            title: text.into(),
            notes: vec![text.into()],
            results: pairs(text),
            facts: pairs(text),
            sections: vec![Section { heading: text.into(), intro: text.into(), blocks }],
            settings: vec![(text.into(), pairs(text))],
        }
    }

    #[test]
    fn an_empty_report_is_a_page() {
        let page = html(&Report::default());
        assert_eq!(parse(&page).descendants().filter(|node| node.has_tag_name("h1")).count(), 1);
        assert_eq!(page, html(&Report::default()));
    }

    #[test]
    fn text_stays_text() {
        let hostile =
            "</title></style><script>alert(1)</script>\" onload='x' <!-- ]]> &amp; \u{202E}\u{0}\u{FFFF}";
        let page = html(&report_of(hostile));
        let calm = html(&report_of("calm"));
        let tags = |page: &str| -> Vec<String> {
            let names = |node: roxmltree::Node| {
                let attributes: Vec<_> = node.attributes().map(|a| a.name().to_owned()).collect();
                format!("{} {attributes:?}", node.tag_name().name())
            };
            // How many paths and texts a picture has depends on what fits.
            let drawn = |node: &roxmltree::Node| node.is_element() && node.tag_name().namespace().is_none();
            parse(page).descendants().filter(drawn).map(names).collect()
        };
        assert_eq!(tags(&page), tags(&calm));
        assert!(!page.contains("<script") && !page.contains('\u{202E}') && !page.contains('\0'));
        let sample = parse(&page)
            .descendants()
            .find(|node| node.has_tag_name("pre"))
            .unwrap()
            .text()
            .unwrap()
            .to_owned();
        assert!(
            sample.contains("<script>alert(1)</script>") && sample.contains("&amp; [202E][00]"),
            "{sample}"
        );
    }

    #[test]
    fn line_breaks_of_a_sample_stay() {
        let blocks = vec![Block::Samples(vec!["\n\nRomeo:\n\tO".into()])];
        let page =
            html(&Report { sections: vec![Section { blocks, ..Section::default() }], ..Report::default() });
        assert!(page.contains("<pre>\n\n\nRomeo:\n\tO</pre>"));
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = |cells: &[&str]| cells.iter().map(|&cell| vec![cell.to_owned()]).collect::<Vec<_>>();
        assert!(is_numeric(&rows(&["1", "−2.5", "+3 %", "1e-3", "", "12,000 ms"]), 0));
        assert!(
            !is_numeric(&rows(&["1", "one"]), 0)
                && !is_numeric(&rows(&[""]), 0)
                && !is_numeric(&rows(&["1"]), 1)
        );
    }

    proptest! {
        #[test]
        fn any_text_makes_a_well_formed_page(text in any::<String>()) {
            let report = report_of(&text);
            let page = html(&report);
            parse(&page);
            prop_assert_eq!(page, html(&report));
        }
    }
}
