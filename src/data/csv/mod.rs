//! Tables of numbers from CSV files. The delimiter is found out, and whether there is a header. A field that is not a
//! number is an error that names its line and column.

use std::io::{BufRead, BufReader};
use std::iter;
use std::path::Path;

use crate::error::{Error, Result};

mod field;
mod records;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use field::cut;
use field::{is_name, is_name_above, not_utf8, number, show};
use records::{Lines, MAX_RECORD, Record, Records};
use rows::Rows;

/// The most numbers that [`read_table`] takes: 2²⁸, which are 2 GiB.
pub const MAX_VALUES: usize = 1 << 28;

/// The delimiters that are tried where none is given. Where two fit equally well, the later one is taken.
const DELIMITERS: [u8; 4] = *b",|;\t";

/// How many rows are looked at to find the delimiter.
const HEAD_ROWS: usize = 20;

/// How [`read_table`] reads a file. Where an option is `None`, it finds out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// The ASCII character between two fields. Found by the first rows: one of `,` `;` `|` and tab.
    pub delimiter: Option<char>,
    /// Whether the first row holds the names of the columns. Found by its fields: it does where a field of a column that is
    /// taken is text, or where text stands above a number or a date.
    pub header: Option<bool>,
    /// The columns to take, in this order, each by its name or its number from 1. By default all that hold numbers.
    pub columns: Option<Vec<String>>,
}

/// Named columns of numbers, all equally long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns' names, one for each.
    pub names: Vec<String>,
    /// The columns.
    pub columns: Vec<Vec<f64>>,
    /// The columns' numbers in the file, from 1, one for each.
    pub numbers: Vec<usize>,
    /// The line of the file on which the names are, where it has names.
    pub named_on: Option<u64>,
    /// The names of the file's columns that were left out because no number is in them.
    pub left_out: Vec<String>,
}

impl Table {
    /// The table of these columns, numbered from 1.
    pub fn new(names: Vec<String>, columns: Vec<Vec<f64>>) -> Table {
        Table { numbers: (1..=names.len()).collect(), names, columns, ..Table::default() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The index of the column of this name. Where no column has it, it may be a number: that of the column in the file, from 1.
    pub fn column(&self, name: &str) -> Option<usize> {
        let number =
            || name.parse().ok().and_then(|number: usize| self.numbers.iter().position(|n| *n == number));
        self.names.iter().position(|other| other == name).or_else(number)
    }

    /// The table of these columns alone, each given by its name or its number, in this order.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such column, one is asked for twice, or none is asked for.
    pub fn select(&self, asked: &[String]) -> Result<Table> {
        check_columns(asked)?;
        let taken = select(&self.names, asked)
            .and_then(|taken| refuse_duplicates(&self.names, &taken).map(|()| taken))
            .map_err(|message| Error::argument("columns", format!("the table {message}")))?;
        Ok(Table {
            names: taken.iter().map(|&index| self.names[index].clone()).collect(),
            columns: taken.iter().map(|&index| self.columns[index].clone()).collect(),
            numbers: taken.iter().map(|&index| self.numbers[index]).collect(),
            ..self.clone()
        })
    }

    /// Reverses the order of the rows.
    pub fn reverse(&mut self) {
        self.columns.iter_mut().for_each(|column| column.reverse());
    }
}

/// Reads the columns of numbers in a CSV file: UTF-8 text, whose fields may be quoted by `"`.
///
/// - Blank lines, and lines that begin with `#`, are passed over.
/// - A first line such as `sep=;`, as spreadsheets write it, says what the delimiter is.
/// - Without a header, the names come from a comment right before the first row, if it has as many fields. Else they are
///   "column 1", "column 2" and so on.
/// - Rows of empty fields at the end of the file do not count, and neither does an empty last field of every row.
///
/// A file is read once from start to end, so that it may be a pipe.
///
/// # Errors
/// [`Error::Argument`] where an option has a value that is not allowed. [`Error::Data`] where
///
/// - the file cannot be read, is not UTF-8 text, or a quote is not closed;
/// - it has no rows, rows of different lengths, or a row of more than 1 MiB or 65536 fields;
/// - it lacks a column that was asked for, or two columns that are taken have the same name;
/// - a field of a column that is taken is not a finite number within the range of `f32`: the error names its line, its
///   column and what stands there;
/// - there are more than [`MAX_VALUES`] numbers in the columns that are taken.
pub fn read_table(path: &Path, options: &CsvOptions) -> Result<Table> {
    if let Some(c) = options.delimiter
        && !may_separate(c)
    {
        let message = format!("must be an ASCII character that stands in no number, such as ',', not {c:?}");
        return Err(Error::argument("delimiter", message));
    }
    options.columns.as_deref().map_or(Ok(()), check_columns)?;
    let (file, _) = crate::files::open(path, "CSV file")?;
    parse(BufReader::new(file), options, MAX_VALUES).map_err(|message| Error::data(path, message))
}

/// Whether this character may separate fields: it stands in no number, and means nothing else in a CSV file.
fn may_separate(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric() && !"\"#+-.\n\r\0".contains(c)
}

/// An error where no column is asked for.
fn check_columns(asked: &[String]) -> Result<()> {
    match asked.iter().all(|name| name.trim().is_empty()) {
        true => {
            Err(Error::argument("columns", "at least one column must be asked for, by its name or number"))
        }
        false => Ok(()),
    }
}

/// The table in `input`, of at most `max_values` numbers, or what is wrong with it.
fn parse(input: impl BufRead, options: &CsvOptions, max_values: usize) -> Result<Table, String> {
    let mut lines = Lines::new(input);
    let mut head = head(&mut lines);
    let said = said_delimiter(&mut head);
    let found = find_delimiter(&head);
    let given = options.delimiter.map(|c| c as u8).or(said);
    let delimiter = given.or(found).unwrap_or(b',');

    let mut records = Records::new(head.into_iter().chain(lines), delimiter);
    let (mut first, mut record) = (Record::default(), Record::default());
    if !records.next(&mut first)? {
        return Err("has no rows of numbers".into());
    }
    let (first_line, width) = (first.line, first.len());
    if let (Some(given), Some(found), 1) = (given, found, width) {
        let [given, found] = [given, found].map(|d| show([d]));
        let message = format!("is one column with the delimiter {given}; {found} separates it into more");
        return Err(format!("line {first_line} {message}"));
    }
    let comment = records.comment.take();
    let mut more = records.next(&mut record)?;

    let (names, header, named_on) = names(&first, more.then_some(&record), comment, delimiter, options)?;
    let taken = match &options.columns {
        Some(asked) => select(&names, asked)?,
        None => (0..width).collect(),
    };
    if header && !more {
        return Err(format!("has a header, line {first_line}, but no rows of numbers"));
    }
    let chosen = options.columns.is_some();
    if chosen {
        refuse_duplicates(&names, &taken)?;
    }
    let mut rows = Rows::new(&names, &taken, chosen, first_line, max_values);
    if !header {
        rows.push(&first)?;
    }
    while more {
        rows.push(&record)?;
        more = records.next(&mut record)?;
    }
    rows.finish(named_on)
}

/// The delimiter that a first line such as `sep=;` names. The line is then made blank.
fn said_delimiter(head: &mut [Result<Vec<u8>, String>]) -> Option<u8> {
    let Some(Ok(line)) = head.first_mut() else { return None };
    let said = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let delimiter = match said {
        [s @ .., delimiter] if s.eq_ignore_ascii_case(b"sep=") && may_separate((*delimiter).into()) => {
            *delimiter
        }
        _ => return None,
    };
    line.clear();
    Some(delimiter)
}

/// The first lines: up to [`HEAD_ROWS`] that are neither blank nor comments, at most about 1 MiB, and no more after an error.
fn head<R: BufRead>(lines: &mut Lines<R>) -> Vec<Result<Vec<u8>, String>> {
    let (mut head, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while rows < HEAD_ROWS && bytes < MAX_RECORD {
        let Some(line) = lines.next() else { break };
        if let Ok(line) = &line {
            rows += usize::from(!line.starts_with(b"#") && !line.trim_ascii().is_empty());
            bytes += line.len() + size_of_val(line);
        }
        head.push(line);
    }
    head
}

/// The delimiter by which the most rows have as many fields as the first row. It must have more than one.
fn find_delimiter(head: &[Result<Vec<u8>, String>]) -> Option<u8> {
    let agreeing_rows = |delimiter: u8| {
        let (mut records, mut record) = (Records::new(head.iter().cloned(), delimiter), Record::default());
        let mut widths = Vec::new();
        while let Ok(true) = records.next(&mut record) {
            widths.push(record.len());
        }
        widths.iter().filter(|&&width| width > 1 && width == widths[0]).count()
    };
    let scored = DELIMITERS.map(|delimiter| (agreeing_rows(delimiter), delimiter));
    scored
        .into_iter()
        .max_by_key(|&(rows, _)| rows)
        .filter(|&(rows, _)| rows > 0)
        .map(|(_, delimiter)| delimiter)
}

/// The names of a file's columns, whether they are its first row, and the line they are on.
fn names(
    first: &Record,
    second: Option<&Record>,
    comment: Option<Vec<u8>>,
    delimiter: u8,
    options: &CsvOptions,
) -> Result<(Vec<String>, bool, Option<u64>), String> {
    let fields: Vec<String> = first.fields().map(text).collect();
    let commented = comment.and_then(|comment| comment_names(&comment, delimiter, fields.len()));
    let commented_on = commented.as_ref().map(|_| first.line - 1);
    let without_header = commented.unwrap_or_else(|| numbered(vec![String::new(); fields.len()]));
    let header = options.header.unwrap_or_else(|| {
        let any = fields.iter().any(|field| is_name(field));
        let Some(second) = second else { return any };
        fields.iter().zip(second.fields()).any(|(name, below)| is_name_above(name, &text(below)))
            || match &options.columns {
                // Without a number in the first row, no data are lost by taking it for a header.
                None => any && first.fields().all(|field| number(field).is_err()),
                Some(asked) => asked.iter().any(|name| match find(&without_header, name) {
                    Some(index) => is_name(&fields[index]),
                    None => fields.contains(name) || any,
                }),
            }
    });
    if !header {
        return Ok((without_header, false, commented_on));
    }
    if let Some(index) = first.fields().position(|field| str::from_utf8(field).is_err()) {
        let (line, what) = (first.line_of(index), not_utf8(first.field(index)));
        return Err(format!("line {line}, column {}: {what}", index + 1));
    }
    Ok((numbered(fields), true, Some(first.line)))
}

/// The names in a comment, if it has `width` fields and at least one of them can be a name.
fn comment_names(comment: &[u8], delimiter: u8, width: usize) -> Option<Vec<String>> {
    let comment = comment[1..].to_vec();
    let mut record = Record::default();
    Records::new(iter::once(Ok(comment)), delimiter).next(&mut record).ok()?;
    let names: Vec<String> = record.fields().map(text).collect();
    (names.len() == width && names.iter().any(|name| is_name(name))).then(|| numbered(names))
}

/// A field as trimmed text.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim().to_string()
}

/// The names, where an empty one becomes "column 1", say: its number.
fn numbered(names: Vec<String>) -> Vec<String> {
    let name = |(i, name): (usize, String)| if name.is_empty() { format!("column {}", i + 1) } else { name };
    names.into_iter().enumerate().map(name).collect()
}

/// The index of a column by its name, else by its number from 1.
fn find(names: &[String], asked: &str) -> Option<usize> {
    let by_number = || asked.parse().ok().filter(|number| (1..=names.len()).contains(number));
    names.iter().position(|name| name == asked).or_else(|| by_number().map(|number: usize| number - 1))
}

/// The indices of the columns that were asked for.
fn select(names: &[String], asked: &[String]) -> Result<Vec<usize>, String> {
    let index = |wanted: &String| {
        let index = find(names, wanted).ok_or_else(|| {
            let shown: Vec<_> = names.iter().take(20).map(show).collect();
            let more = names.len() - shown.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("has no column {}; its columns are {}{more}", show(wanted), shown.join(", "))
        })?;
        if *wanted == names[index] {
            refuse_duplicates(names, &equal_names(names, index))?;
        }
        Ok(index)
    };
    asked.iter().map(index).collect()
}

/// The indices of the columns that have the name of column `index`.
fn equal_names(names: &[String], index: usize) -> Vec<usize> {
    (0..names.len()).filter(|&other| names[other] == names[index]).collect()
}

/// An error where two of the columns `taken` have the same name.
fn refuse_duplicates(names: &[String], taken: &[usize]) -> Result<(), String> {
    let mut sorted = taken.to_vec();
    sorted.sort_by_key(|&index| (&names[index], index));
    let Some(pair) = sorted.windows(2).find(|pair| names[pair[0]] == names[pair[1]]) else { return Ok(()) };
    let (first, second, name) = (pair[0] + 1, pair[1] + 1, show(&names[pair[0]]));
    let remedy = "rename one, or take one of them by its number with --columns";
    Err(if first == second {
        format!("column {first} ({name}) is taken twice")
    } else {
        format!("columns {first} and {second} have the same name {name}; {remedy}")
    })
}

/// Where a field stands: "line 7, column 3 (Close)".
fn place(record: &Record, index: usize, names: &[String]) -> String {
    let (line, column) = (record.line_of(index), format!("column {}", index + 1));
    let name = if names[index] == column { String::new() } else { format!(" ({})", cut(&names[index])) };
    format!("line {line}, {column}{name}")
}
