//! What the command prints: lines for people, or with `--json` one JSON object a line and nothing else on stdout.

use std::io::Write;

use bptt::error::{Error, Result};
use serde_json::Value;

/// Where the lines go, as errors name it.
pub const STDOUT: &str = "standard output";

/// See the module.
#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Output { json, quiet: false }
    }

    /// Nothing for people but errors.
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

    /// What people asked for, as it is, or a part of it.
    pub fn bytes(self, bytes: &[u8]) -> Result<()> {
        if self.json { Ok(()) } else { print(bytes, "") }
    }

    /// A JSON object for machines.
    pub fn event(self, event: &Value) -> Result<()> {
        if self.json { print(event.to_string().as_bytes(), "\n") } else { Ok(()) }
    }

    /// Something the user should know: on stderr, so that it disturbs neither form. Where that is closed it is lost.
    pub fn note(self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    fn complain(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// The error that ends the process. Nothing can be done where it cannot be printed.
    pub fn error(self, message: &str) {
        self.complain(&format!("error: {message}"));
        let _ = self.event(&serde_json::json!({"event": "error", "message": message}));
    }
}

fn print(bytes: &[u8], end: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written =
        stdout.write_all(bytes).and_then(|()| stdout.write_all(end.as_bytes())).and_then(|()| stdout.flush());
    written.map_err(|error| Error::data(STDOUT, format!("cannot be written: {error}")))
}
