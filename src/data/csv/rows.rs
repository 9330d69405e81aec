//! The rows of a table, added one after the other.

use super::field::{is_text, number};
use super::records::Record;
use super::{Table, place, refuse_duplicates};

/// The columns taken so far from a file's rows, and what is wrong with those that hold no numbers.
pub(super) struct Rows<'a> {
    /// The names of all of the file's columns.
    names: &'a [String],
    columns: Vec<Column>,
    /// Whether the user chose the columns: then each of them must hold numbers.
    chosen: bool,
    /// The line of the first row, which says how many fields a row has.
    first_line: u64,
    max_values: usize,
    count: usize,
    /// Where the last rows have only empty fields: the error to report if another row follows.
    blank: Option<String>,
}

struct Column {
    /// Its index in the file.
    index: usize,
    values: Vec<f64>,
    /// Where no field so far was a number: what is wrong with the first.
    text: Option<String>,
    /// Whether all fields so far were empty.
    empty: bool,
}

impl<'a> Rows<'a> {
    pub fn new(
        names: &'a [String],
        taken: &[usize],
        chosen: bool,
        first_line: u64,
        max_values: usize,
    ) -> Self {
        let column = |&index: &usize| Column { index, values: Vec::new(), text: None, empty: true };
        let columns = taken.iter().map(column).collect();
        Self { names, columns, chosen, first_line, max_values, count: 0, blank: None }
    }

    pub fn push(&mut self, record: &Record) -> Result<(), String> {
        let blank = record.len() > 1 && record.fields().all(|field| field.trim_ascii().is_empty());
        if let (Some(message), false) = (&self.blank, blank) {
            return Err(message.clone());
        }
        if record.len() != self.names.len() {
            let (line, len, first_line, width) =
                (record.line, record.len(), self.first_line, self.names.len());
            let fields = if len == 1 { "field" } else { "fields" };
            let message = format!("line {line} has {len} {fields}, but line {first_line} has {width}");
            return Err(format!("{message}; give each row as many"));
        }
        let at = |index, what| format!("{}: {what}", place(record, index, self.names));
        if blank {
            let index = self.columns[0].index;
            self.blank =
                self.blank.take().or_else(|| number(record.field(index)).err().map(|e| at(index, e)));
            return Ok(());
        }
        self.count += 1;
        let kept = self.columns.iter().filter(|column| column.text.is_none()).count();
        if self.count.saturating_mul(kept) > self.max_values {
            let message = format!("the table has more than {} numbers", self.max_values);
            return Err(format!("line {}: {message}; take fewer rows or --columns", record.line));
        }
        for column in &mut self.columns {
            let field = record.field(column.index);
            match number(field) {
                Ok(value) => match column.text.take() {
                    Some(message) => return Err(message),
                    None => column.values.push(value),
                },
                Err(what) if self.chosen || !column.values.is_empty() || !is_text(field) => {
                    return Err(at(column.index, what));
                }
                Err(what) => {
                    column.empty &= field.trim_ascii().is_empty();
                    column.text.get_or_insert_with(|| at(column.index, what));
                }
            }
        }
        Ok(())
    }

    /// The table of the columns that hold numbers, whose names are on line `named_on`.
    pub fn finish(mut self, named_on: Option<u64>) -> Result<Table, String> {
        if self.count == 0 {
            return Err("has no rows of numbers".into());
        }
        let last = self.names.len() - 1;
        let mut table = Table { named_on, ..Table::default() };
        let mut taken = Vec::new();
        for Column { index, values, text, empty } in &mut self.columns {
            let name = &self.names[*index];
            match text {
                None => {
                    taken.push(*index);
                    table.names.push(name.clone());
                    table.numbers.push(*index + 1);
                    table.columns.push(std::mem::take(values));
                }
                // Every row ends in a delimiter, which makes an empty last column without a name.
                Some(_) if *empty && *index == last && *name == format!("column {}", last + 1) => {}
                Some(_) => table.left_out.push(name.clone()),
            }
        }
        if let (true, Some(message)) = (taken.is_empty(), self.columns.swap_remove(0).text) {
            return Err(message);
        }
        refuse_duplicates(self.names, &taken)?;
        Ok(table)
    }
}
