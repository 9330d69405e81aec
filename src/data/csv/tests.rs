use std::io::{self, Cursor, Read};
use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// The table in `bytes`, read with a limit of 1000 numbers.
fn whole(bytes: impl AsRef<[u8]>, options: &CsvOptions) -> Result<Table, String> {
    parse(bytes.as_ref(), options, 1000)
}

/// The names and the numbers of [`whole`], without where they stand in the file.
fn with(bytes: impl AsRef<[u8]>, options: &CsvOptions) -> Result<Table, String> {
    whole(bytes, options).map(|table| Table::new(table.names, table.columns))
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Table, String> {
    with(bytes, &CsvOptions::default())
}

fn fails(bytes: impl AsRef<[u8]>) -> String {
    read(bytes).unwrap_err()
}

fn columns(asked: &[&str]) -> CsvOptions {
    CsvOptions { columns: Some(asked.iter().map(|name| name.to_string()).collect()), ..Default::default() }
}

fn delimiter(c: char) -> CsvOptions {
    CsvOptions { delimiter: Some(c), ..Default::default() }
}

fn header(header: bool) -> CsvOptions {
    CsvOptions { header: Some(header), ..Default::default() }
}

fn table(names: &[&str], columns: &[&[f64]]) -> Table {
    let names = names.iter().map(|name| name.to_string()).collect();
    Table::new(names, columns.iter().map(|column| column.to_vec()).collect())
}

/// The table most of these tests have: two columns of two rows.
fn ab() -> Table {
    table(&["a", "b"], &[&[1.0, 3.0], &[2.5, -4.0]])
}

#[test]
fn reads_delimiters_line_ends_quotes_and_spaces() {
    for text in [
        "a,b\n1,2.5\n3,-4\n",
        "a,b\r\n1,2.5\r\n3,-4",
        "a,b\r1,2.5\r3,-4\r",
        "a;b\n1;2.5\n3;-4\n",
        "a|b\n1|2.5\n3|-4\n",
        "a\tb\n1\t2.5\n3\t-4\n",
        " a , b \n 1 , +2.5\n\t3,-4e0  \n",
        "\"a\",\"b\"\n\"1\",\"2.5\"\n\" 3 \",-4\n",
        "\n\n \na,b\n\n1,2.5\n  \n3,-4\n\n",
        "\u{FEFF}a,b\n1,2.5\n3,-4\n",
        "# note\na,b\n# a;note, too\n1,2.5\n#\n3,-4\n# end",
    ] {
        assert_eq!(read(text), Ok(ab()), "{text:?}");
    }
}

#[test]
fn names_come_from_the_header_or_a_comment_before_the_first_row() {
    let numbered = |names: [&str; 2]| Table { names: names.map(String::from).into(), ..ab() };
    for (text, names) in [
        ("1,2.5\n3,-4", ["column 1", "column 2"]),
        ("# a, b\n1,2.5\n3,-4", ["a", "b"]),
        ("# a, \"b\"\n# c,d\n1,2.5\n3,-4", ["c", "d"]),
        ("# a,b\n\n1,2.5\n3,-4", ["column 1", "column 2"]),
        ("# a,b\n# a note\n1,2.5\n3,-4", ["column 1", "column 2"]),
        ("# 7,8\n1,2.5\n3,-4", ["column 1", "column 2"]),
        ("# a,\"b\n1,2.5\n3,-4", ["column 1", "column 2"]),
        ("1,2.5\n# a,b\n3,-4", ["column 1", "column 2"]),
        ("# c,d\na,b\n1,2.5\n3,-4", ["a", "b"]),
        ("#,b\n1,2.5\n3,-4", ["column 1", "b"]),
        (",b\n1,2.5\n3,-4", ["column 1", "b"]),
        ("\"a\nc\",2\n1,2.5\n3,-4", ["a\nc", "2"]),
    ] {
        assert_eq!(read(text), Ok(numbered(names)), "{text:?}");
    }
    let years = "2019,2020\n1,2.5\n3,-4";
    assert_eq!(read(years).unwrap().rows(), 3);
    assert_eq!(with(years, &header(true)), Ok(numbered(["2019", "2020"])));
    assert_eq!(
        with(years, &columns(&["2020"])).unwrap().names,
        ["2020"],
        "asked by a name that is no number"
    );
    assert_eq!(with("a,b\n1,2", &header(false)).unwrap_err(), not_a_number("line 1, column 1", "a"));
    let stock = "# Open,High,Low,Volume,Close\n828.659973,833.450012,828.349976,1247700,831.659973\n";
    assert_eq!(read(stock).unwrap().names, ["Open", "High", "Low", "Volume", "Close"]);
}

#[test]
fn a_header_is_found_by_any_column() {
    let names = |text: &str, options: &CsvOptions| {
        let table = whole(text, options).unwrap();
        (table.names.join(","), table.named_on, table.rows())
    };
    let all = CsvOptions::default();
    let found = |names: &str, line, rows| (names.to_string(), line, rows);
    let years = "Date,2019,2020\nJan 0,100.08,99.5\nJan 1,101,98\n";
    assert_eq!(names(years, &columns(&["2", "3"])), found("2019,2020", Some(1), 2));
    assert_eq!(names(years, &all), found("2019,2020", Some(1), 2));
    let numbers = "3,1,2,Volume,Close\n1,2,3,4,5\n";
    assert_eq!(names(numbers, &columns(&["1", "3"])), found("1,3", Some(1), 1));
    assert_eq!(names("Date,2020\n2024-01-02,1\n", &columns(&["2"])), found("2020", Some(1), 1));
    assert_eq!(names("2019,2020\n1,2\n", &all), found("column 1,column 2", None, 2), "cannot be known");
    assert_eq!(names("AAPL,1\nAAPL,2\n", &all), found("column 2", None, 2), "text above the same text");
    assert_eq!(names("# note\n\n# a,b\n1,2\n", &all), found("a,b", Some(3), 1));
}

#[test]
fn columns_without_numbers_are_left_out() {
    let read = |text: &str| whole(text, &CsvOptions::default());
    let found = read("Date,a,Ticker,b\n2024-01-02,1,X,2.5\n2024-01-03,3,N/A,-4\n").unwrap();
    assert_eq!((found.left_out.join(","), &found.numbers[..]), ("Date,Ticker".into(), &[2, 4][..]));
    assert_eq!([found.column("a"), found.column("2"), found.column("4")], [Some(0), Some(0), Some(1)]);
    assert_eq!([found.column("1"), found.column("3"), found.column("Date")], [None; 3]);
    assert_eq!(Table::new(found.names, found.columns), ab());
    assert_eq!(fails("a,b\n1,x\n2,3\n"), not_a_number("line 2, column 2 (b)", "x"), "a number in some rows");
    assert_eq!(fails("a,b\nx,y\n"), not_a_number("line 2, column 1 (a)", "x"), "no column is left");

    for text in ["a,b,\n1,2.5,\n3,-4,\n", "a,b\n1,2.5\n3,-4\n,\n , \n", "a,b,\n1,2.5,\n3,-4,\n,,\n"] {
        let found = read(text).unwrap();
        assert_eq!((found.left_out.len(), Table::new(found.names, found.columns)), (0, ab()), "{text:?}");
    }
    let empty = "line 3, column 1 (a): the field is empty; give it a number or leave out its row";
    assert_eq!(fails("a,b\n1,2\n,\n3,4\n"), empty, "an empty row within");
    assert_eq!(fails("a,b\n,\n"), "has no rows of numbers");
    assert_eq!(read("a,b,c\n1,2,\n").unwrap().left_out, ["c"]);
}

#[test]
fn a_spreadsheet_says_its_delimiter() {
    for text in
        ["sep=;\na;b\n1;2.5\n3;-4\n", "\u{FEFF}SEP=;\r\na;b\r\n1;2.5\r\n3;-4", "\"sep= \"\na b\n1 2.5\n3 -4"]
    {
        assert_eq!(whole(text, &CsvOptions::default()), Ok(Table { named_on: Some(2), ..ab() }), "{text:?}");
    }
    assert_eq!(read("sep=1\n2\n").unwrap().names, ["sep=1"], "no delimiter");
}

fn not_a_number(place: &str, value: &str) -> String {
    format!("{place}: '{value}' is not a number; correct it or choose the columns of numbers with --columns")
}

#[test]
fn columns_are_taken_by_name_or_number_in_the_order_asked() {
    let text = "Date,a,1,b\n2024-01-02,1,7,2.5\n2024-01-03,3,8,-4\n";
    assert_eq!(with(text, &columns(&["a", "b"])), Ok(ab()));
    assert_eq!(with(text, &columns(&["2", "4"])), Ok(ab()));
    let other = table(&["b", "1"], &[&[2.5, -4.0], &[7.0, 8.0]]);
    assert_eq!(with(text, &columns(&["4", "1"])), Ok(other), "a name goes before a number");
    let found = with("x,1\ny,2\n", &columns(&["2"])).unwrap();
    assert_eq!(found, table(&["column 2"], &[&[1.0, 2.0]]), "text in a column not taken is no header");
    let found = with("# Date,a\nx,1\ny,2\n", &columns(&["a"])).unwrap();
    assert_eq!(found, table(&["a"], &[&[1.0, 2.0]]));
    let found = with("\"x\n#1,\",a\n\"\n\n\",1\ny,2\n", &columns(&["a"])).unwrap();
    assert_eq!(found, table(&["a"], &[&[1.0, 2.0]]), "quoted line ends");
    let invalid = with(b"\xFF,a\n\xFE,1\n", &header(false)).unwrap_err();
    assert_eq!(invalid, "line 1, column 1: '\u{FFFD}' is not UTF-8 text; save the file as UTF-8");
    let found = with(b"x,a\n\xFE,1\n", &columns(&["a"])).unwrap();
    assert_eq!(found, table(&["a"], &[&[1.0]]), "what a column not taken holds does not matter");

    let mut found = ab();
    assert_eq!((found.rows(), found.column("b"), found.column("2")), (2, Some(1), Some(1)));
    assert_eq!((found.column("c"), found.column("0"), found.column("3")), (None, None, None));
    found.reverse();
    assert_eq!(found, table(&["a", "b"], &[&[3.0, 1.0], &[-4.0, 2.5]]));
    assert_eq!(Table::default().rows(), 0);
}

#[test]
fn fields_that_are_no_numbers_are_named_with_their_place() {
    let finite = |value| format!("'{value}' is not a finite number; give it one or leave out its row");
    let missing = |value| format!("'{value}' stands for a missing number; give it one or leave out its row");
    let beyond = |value| {
        format!(
            "'{value}' is beyond 3.4e38, the largest number of 32 bits; write the column in a larger unit"
        )
    };
    let separators = |value| {
        format!(
            "'{value}' is not a number: decimal commas and thousand separators are not read; write numbers like 1234.5"
        )
    };
    let empty = || "the field is empty; give it a number or leave out its row".to_string();
    for (value, says) in [
        ("", empty()),
        ("  ", empty()),
        ("\"\"", empty()),
        ("NaN", finite("NaN")),
        ("-inf", finite("-inf")),
        ("Infinity", finite("Infinity")),
        ("N/A", missing("N/A")),
        ("null", missing("null")),
        ("-", missing("-")),
        ("1e40", beyond("1e40")),
        ("-1e999", beyond("-1e999")),
        ("3.5e38", beyond("3.5e38")),
        ("\"1,234\"", separators("1,234")),
        ("\"1,234,567.5\"", separators("1,234,567.5")),
        ("1'234", separators("1'234")),
        ("1 234", separators("1 234")),
        ("1_000", separators("1_000")),
    ] {
        for text in
            [format!("High,Close\n1,2\n\n3,{value}\n"), format!("High,Close\r\n1,2\r\r\n3,{value}\r\n")]
        {
            assert_eq!(fails(&text), format!("line 4, column 2 (Close): {says}"), "{text:?}");
        }
        // In the first row such a field is no name, which would drop the row without a word.
        assert_eq!(fails(format!("1,{value}\n3,4\n")), format!("line 1, column 2: {says}"));
    }
    for (value, shown) in [
        ("abc", "abc"),
        ("0x10", "0x10"),
        ("1\u{1B}[31m\u{202E}\t9'\\", r"1\u{1b}[31m\u{202e}\t9'\"),
        ("a \"b\"", "a \"b\""),
        (&"é".repeat(40), &"é".repeat(40)),
        (&"é".repeat(1000), &format!("{}...", "é".repeat(40))),
    ] {
        let text = format!("High,Close\n1,2\n3,{value}\n");
        assert_eq!(fails(text), not_a_number("line 3, column 2 (Close)", shown));
    }
    assert_eq!(
        with("Date,Close\n2024-01-02,1\n", &columns(&["Close", "Date"])).unwrap_err(),
        not_a_number("line 2, column 1 (Date)", "2024-01-02"),
        "a column of dates that is asked for"
    );
    assert_eq!(fails("a\x1B[0m,b\n1,2\nx,2\n"), not_a_number(r"line 3, column 1 (a\u{1b}[0m)", "x"));
    assert_eq!(fails("\"a\nb\",c\n1,2\n\"1\n\",x\n"), not_a_number("line 5, column 2 (c)", "x"));
    assert_eq!(read("3.4028235e38,-3.4028235e38,1e-400\n").unwrap().rows(), 1);
    assert_eq!(
        fails("1,5;2,5\n3,5;4,5\n"),
        format!("line 1, column 1: {}", separators("1,5")),
        "decimal commas with ; between the fields"
    );
    assert_eq!(fails("a;b\n1,5;2\n3;4\n"), format!("line 2, column 1 (a): {}", separators("1,5")));
}

#[test]
fn files_that_are_no_tables_are_refused() {
    let quote = |line| format!("line {line}: a quote (\") is opened here and not closed");
    let nul = |line| format!("line {line} holds a NUL byte: the file is no text, or not saved as UTF-8");
    let utf16 = || "is UTF-16 text, by its byte order mark: save it as UTF-8".to_string();
    let long_line =
        |line| format!("line {line} is longer than 1 MiB: the file is no CSV, or has no line ends");
    for (bytes, says) in [
        (&b""[..], "has no rows of numbers".to_string()),
        (b"\xEF\xBB\xBF", "has no rows of numbers".into()),
        (b"\n\r\n# a,b\n \n", "has no rows of numbers".into()),
        (b"\na,b\n# 1,2\n", "has a header, line 2, but no rows of numbers".into()),
        (b"a,b\n1,2\n\n3\n", "line 4 has 1 field, but line 1 has 2; give each row as many".into()),
        (b"1,2\n3,4,\n", "line 2 has 3 fields, but line 1 has 2; give each row as many".into()),
        (b"a,b,c\n1,2\n", "line 2 has 2 fields, but line 1 has 3; give each row as many".into()),
        (b"a,b\n1,2\n\"3,4\n5,6\n", quote(3)),
        (b"a\n1\n\"2\n3\n", quote(3)),
        (b"\"a,b\n1,2\n", quote(1)),
        (b"1,\"2", quote(1)),
        (b"a,b\n\"\n\n1\",\"\n2,3\n", quote(4)),
        (b"a,b\n\"\n\",\"\"\"\n\n", quote(3)),
        (b"\xFF\xFEa\0,\0b\0", utf16()),
        (b"\xFE\xFF\0a\0,\0b", utf16()),
        (b"a\0,\0b\0\n\0", nul(1)),
        (b"a,b\n1,2\n3,\x004\n", nul(3)),
        (b"a,b\n#\0\n3,4\n", nul(2)),
        (
            b"a,b\n1,2\n3,\xFF4\n",
            "line 3, column 2 (b): '\u{FFFD}4' is not UTF-8 text; save the file as UTF-8".into(),
        ),
        (b"a,b\xE9\n1,2\n", "line 1, column 2: 'b\u{FFFD}' is not UTF-8 text; save the file as UTF-8".into()),
        (&b"12,".repeat(1 << 19), long_line(1)),
        (&[&b"a,b\n# "[..], &b" ".repeat(1 << 20), b"\n1,2"].concat(), long_line(2)),
        (
            &[&b"a,b\n1,\"2\n"[..], &b"3,4\n".repeat(1 << 19)].concat(),
            "line 2: a quote (\") is opened here and not closed within 1 MiB".into(),
        ),
        (
            &b"1\n".repeat(1001),
            "line 1001: the table has more than 1000 numbers; take fewer rows or --columns".into(),
        ),
    ] {
        assert_eq!(fails(bytes), says, "{}", show(bytes));
        // As a pipe gives it, in which no line comes whole: the same.
        let trickle = BufReader::with_capacity(1, bytes);
        assert_eq!(parse(trickle, &CsvOptions::default(), 1000).unwrap_err(), says);
    }
    assert_eq!(read(b"1\n".repeat(1000)).unwrap().rows(), 1000);
    assert_eq!(
        with("1,2\n".repeat(1000), &columns(&["2"])).unwrap().rows(),
        1000,
        "what is not taken does not count"
    );
    let wide = |columns: usize| vec!["1".repeat(15); columns].join(",") + " ";
    assert_eq!(with(wide(1 << 16), &columns(&["65536"])).unwrap().rows(), 1, "a line of 1 MiB");
    let says = "line 1 has more than 65536 fields, the most of a row";
    assert_eq!(with("1,".repeat(1 << 16), &columns(&["1"])).unwrap_err(), says);
}

#[test]
fn missing_and_ambiguous_columns_are_named() {
    let says = |text: &str, asked: &[&str]| with(text, &columns(asked)).unwrap_err();
    let ab = "a,b\n1,2\n";
    assert_eq!(says(ab, &["a", "c"]), "has no column 'c'; its columns are 'a', 'b'");
    assert_eq!(says(ab, &["0"]), "has no column '0'; its columns are 'a', 'b'");
    assert_eq!(says(ab, &["3"]), "has no column '3'; its columns are 'a', 'b'");
    assert_eq!(says("1,2\n", &["a"]), "has no column 'a'; its columns are 'column 1', 'column 2'");
    let wide = (1..=22).map(|i| format!("n{i}")).collect::<Vec<_>>();
    let message = says(&wide.join(","), &["c"]);
    assert!(message.ends_with("'n19', 'n20' and 2 more"), "{message}");

    let same = "columns 1 and 3 have the same name 'a'; rename one, or take one of them by its number with --columns";
    let twice = "a,b,a\n1,2,3\n";
    assert_eq!(fails(twice), same);
    assert_eq!(says(twice, &["b", "a"]), same);
    assert_eq!(says(twice, &["3", "1"]), same);
    assert_eq!(says(ab, &["b", "2"]), "column 2 ('b') is taken twice");
    assert_eq!(with(twice, &columns(&["3", "b"])), Ok(table(&["a", "b"], &[&[3.0], &[2.0]])));
    assert_eq!(
        read(",\n1,2\n").unwrap_err(),
        "line 1, column 1: the field is empty; give it a number or leave out its row"
    );
}

#[test]
fn the_delimiter_is_found_or_given() {
    assert_eq!(with("a b\n1 2.5\n3 -4\n", &delimiter(' ')), Ok(ab()));
    assert_eq!(with("a,b\n1,2.5\n3,-4\n", &delimiter(',')), Ok(ab()));
    assert_eq!(read("1\n2\n").unwrap().columns, [[1.0, 2.0]]);
    assert_eq!(with("1\n2\n", &delimiter(';')).unwrap().columns, [[1.0, 2.0]]);
    assert_eq!(
        with("# x\na,b\n1,2\n", &delimiter(';')).unwrap_err(),
        "line 2 is one column with the delimiter ';'; ',' separates it into more"
    );
    assert_eq!(
        with("a\tb\n1\t2\n", &delimiter(',')).unwrap_err(),
        r"line 1 is one column with the delimiter ','; '\t' separates it into more"
    );
    let quoted = "\"a;x\",b\n1,2.5\n3,-4\n";
    assert_eq!(read(quoted).unwrap().names, ["a;x", "b"], "a quoted delimiter is none");
    let words = with("x;y,1\nx;y;z,2\n", &columns(&["2"]));
    assert_eq!(words.unwrap().columns, [[1.0, 2.0]], "a character in words that differ in number is none");
    let text = "\"x\n;;\ny\",a\nz;z,1\n";
    assert_eq!(with(text, &columns(&["a"])).unwrap().columns, [[1.0]]);
    assert_eq!(
        fails("a,b\n1,2\n3\n"),
        "line 3 has 1 field, but line 1 has 2; give each row as many",
        "found in spite of a short row"
    );
}

#[test]
fn options_and_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let says = |path: &Path| read_table(path, &CsvOptions::default()).unwrap_err().to_string();
    assert!(says(folder.path()).ends_with(": is a folder, not a CSV file"));
    assert!(says(&folder.path().join("missing")).ends_with("missing: no such file"));

    let path = folder.path().join("prices of a share.csv");
    std::fs::write(&path, "a,b\n1,2.5\n3,-4\n").unwrap();
    assert_eq!(read_table(&path, &CsvOptions::default()).unwrap(), Table { named_on: Some(1), ..ab() });
    std::fs::write(&path, "a,b\n1,2\n1,x\n").unwrap();
    assert_eq!(says(&path), format!("{}: {}", path.display(), not_a_number("line 3, column 2 (b)", "x")));

    for c in ['é', '"', '#', '\n', '\r', '\0', '5', 'e', '.', '-', '+'] {
        let message = read_table(&path, &delimiter(c)).unwrap_err().to_string();
        let says = "delimiter: must be an ASCII character that stands in no number, such as ',', not ";
        assert_eq!(message, format!("{says}{c:?}"));
    }
    for asked in [&[][..], &[""], &["", " "]] {
        let message = read_table(&path, &columns(asked)).unwrap_err().to_string();
        assert_eq!(message, "columns: at least one column must be asked for, by its name or number");
        assert_eq!(ab().select(&columns(asked).columns.unwrap()).unwrap_err().to_string(), message);
    }
}

#[test]
fn endless_streams_end_in_an_error() {
    let endless =
        |byte| parse(BufReader::new(io::repeat(byte)), &CsvOptions::default(), MAX_VALUES).unwrap_err();
    assert!(endless(0).starts_with("line 1 holds a NUL byte"));
    assert!(endless(b'1').starts_with("line 1 is longer than 1 MiB"));
    assert!(endless(b'"').starts_with("line 1 is longer than 1 MiB"));
    let values = BufReader::new(Cursor::new(b"1\n2\n").chain(io::repeat(b'#')));
    assert!(parse(values, &CsvOptions::default(), 9).unwrap_err().starts_with("line 3 is longer than 1 MiB"));
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_read() {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    let says = |path: &str| read_table(path.as_ref(), &CsvOptions::default()).unwrap_err().to_string();
    assert!(says("/dev/zero").starts_with("/dev/zero: line 1 holds a NUL byte"));
    assert_eq!(says("/dev/null"), "/dev/null: has no rows of numbers");

    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a,b\n1,2.5\n3,-4\n").unwrap();
    drop(writer);
    let path = format!("/dev/fd/{}", reader.as_raw_fd());
    assert_eq!(
        read_table(path.as_ref(), &CsvOptions::default()).unwrap(),
        Table { named_on: Some(1), ..ab() }
    );
}

/// Fails behind its first line.
struct Broken(Cursor<&'static [u8]>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is gone")),
            read => Ok(read),
        }
    }
}

#[test]
fn a_failing_read_is_an_error() {
    let input = BufReader::new(Broken(Cursor::new(b"a,b\n1,2\n")));
    let message = parse(input, &CsvOptions::default(), 9).unwrap_err();
    assert_eq!(message, "cannot be read: the disk is gone");
}

/// How a table is written for the tests below.
#[derive(Clone, Debug)]
struct Style {
    delimiter: u8,
    end: &'static str,
    quoted: bool,
    spaces: usize,
    header: bool,
    comments: bool,
    last_end: bool,
}

prop_compose! {
    fn style()(
        delimiter in prop::sample::select(&DELIMITERS[..]),
        end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
        spaces in 0usize..3,
        [quoted, header, comments, last_end] in any::<[bool; 4]>(),
    ) -> Style {
        Style { delimiter, end, quoted, spaces, header, comments, last_end }
    }
}

prop_compose! {
    fn any_table()(width in 1usize..6)(
        rows in prop::collection::vec(prop::collection::vec(-3.4e38f64..3.4e38, width), 1..40),
        width in Just(width),
        magnitude in -300i32..1,
    ) -> Table {
        let value = |x: f64| x * 10f64.powi(magnitude);
        let column = |c: usize| rows.iter().map(|row| value(row[c])).collect();
        let names = (1..=width).map(|c| format!("name, \"{c}\"")).collect();
        Table::new(names, (0..width).map(column).collect())
    }
}

fn write(table: &Table, style: &Style) -> Vec<u8> {
    let space = " ".repeat(style.spaces);
    let quote = |field: &str| format!("\"{space}{}{space}\"", field.replace('"', "\"\""));
    let field = |x: &f64| if style.quoted { quote(&x.to_string()) } else { format!("{space}{x:e}{space}") };
    let rows = (0..table.rows()).map(|row| table.columns.iter().map(|column| field(&column[row])).collect());
    let header: Vec<Vec<String>> =
        if style.header { vec![table.names.iter().map(|name| quote(name)).collect()] } else { Vec::new() };
    let delimiter = (style.delimiter as char).to_string();
    let mut text = String::new();
    for row in header.into_iter().chain(rows) {
        if style.comments {
            text += &format!("# a comment; {delimiter} \"{}{}", style.end, style.end);
        }
        text += &(row.join(&delimiter) + style.end);
    }
    if !style.last_end {
        text.truncate(text.len() - style.end.len());
    }
    text.into_bytes()
}

proptest! {
    #[test]
    fn what_is_written_is_read(written in any_table(), style in style()) {
        let bytes = write(&written, &style);
        let mut expected = written;
        if !style.header {
            expected.names = (1..=expected.names.len()).map(|c| format!("column {c}")).collect();
        }
        // In one column there is no delimiter to find: that of the names would be taken.
        let options = match (expected.names.len(), style.delimiter) {
            (1, b',') => header(style.header),
            (1, given) => delimiter(given as char),
            _ => CsvOptions::default(),
        };
        prop_assert_eq!(with(&bytes, &options), Ok(expected));
    }

    /// Whatever becomes of a file, reading it ends, without a panic, in a table that keeps its promises or an error.
    #[test]
    fn damaged_files_do_no_harm(
        written in any_table(),
        style in style(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 0..8),
        asked in prop::sample::select(&[None, Some("1"), Some("name, \"1\"")][..]),
        given in prop::sample::select(&[None, Some(','), Some('\t')][..]),
        header in any::<Option<bool>>(),
    ) {
        let mut bytes = write(&written, &style);
        for (place, byte, kind) in damage {
            let place = place.index(bytes.len() + 1);
            let byte = if byte < 128 { b"\",;\n\r#\0\xFF"[byte as usize % 8] } else { byte };
            match kind {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, byte),
                2 if place < bytes.len() => drop(bytes.remove(place)),
                _ if place < bytes.len() => bytes[place] = byte,
                _ => {}
            }
        }
        let options = CsvOptions { delimiter: given, header, columns: asked.map(|name| vec![name.to_string()]) };
        let start = Instant::now();
        match with(&bytes, &options) {
            Ok(table) => {
                prop_assert!(table.rows() > 0 && table.names.len() == table.columns.len());
                for column in &table.columns {
                    prop_assert!(column.len() == table.rows() && column.iter().all(|&x| (x as f32).is_finite()));
                }
            }
            Err(message) => prop_assert!(!message.is_empty() && message.len() < 4000, "{}", message),
        }
        prop_assert!(start.elapsed().as_secs() < 5);
    }
}
