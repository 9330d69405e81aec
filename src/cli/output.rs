//! What a command prints: lines for people; or, with `--json`, one JSON object a line and nothing else on stdout.

use std::io::{ErrorKind, Write};

use bptt::error::{Error, Result};
use serde_json::Value;

/// The name of standard output in errors.
pub const STDOUT: &str = "standard output";

/// What its error says where it is a pipe, and whoever read from it has ended.
const CLOSED: &str = "cannot be written: its reader has ended";

/// Whether an error is that nobody reads what is printed.
pub fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Data { path, message } if path.as_os_str() == STDOUT && message == CLOSED)
}

/// Prints to standard output, for people or for programs.
#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Output { json, quiet: false }
    }

    /// Where `quiet`, people are told nothing but errors.
    pub fn quiet(self, quiet: bool) -> Self {
        Output { quiet, ..self }
    }

    /// Whether people are told anything.
    pub fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Whether JSON is printed.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// A line for people.
    pub fn line(self, text: impl AsRef<str>) -> Result<()> {
        if self.json || self.quiet { Ok(()) } else { print(text.as_ref().as_bytes(), "\n") }
    }

    /// The very bytes that people asked for, or a part of them.
    pub fn bytes(self, bytes: &[u8]) -> Result<()> {
        if self.json { Ok(()) } else { print(bytes, "") }
    }

    /// A JSON object for programs.
    pub fn event(self, event: &Value) -> Result<()> {
        if self.json { print(event.to_string().as_bytes(), "\n") } else { Ok(()) }
    }

    /// Something that the user should know. It goes to stderr, so that it disturbs neither form; where stderr is closed, it is
    /// lost.
    pub fn note(self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    fn complain(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Prints the error that ends the process. Where that fails, nothing can be done.
    pub fn error(self, message: &str) {
        self.complain(&format!("error: {message}"));
        let _ = self.event(&serde_json::json!({"event": "error", "message": message}));
    }
}

fn print(bytes: &[u8], end: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written =
        stdout.write_all(bytes).and_then(|()| stdout.write_all(end.as_bytes())).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Error::data(STDOUT, CLOSED),
        _ => Error::data(STDOUT, format!("cannot be written: {error}")),
    })
}

/// A whole number with commas between thousands.
pub fn with_commas(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits")).collect();
    groups.join(",")
}
