//! Runs the command in a folder of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// What a run left.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// What it printed, where it ended well.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// The one sentence in which it failed, with that exit code.
    #[track_caller]
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let sentence = self.err.strip_prefix("error: ").and_then(|err| err.strip_suffix('\n'));
        let sentence = sentence.unwrap_or_else(|| panic!("stderr is not `error: SENTENCE`: {self:?}"));
        assert!(!sentence.contains(['\n', '\x1b']), "more than a sentence: {self:?}");
        sentence
    }

    /// The JSON objects on stdout, where there is nothing else.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let object = |line| serde_json::from_str(line).ok().filter(Value::is_object);
        let parsed: Option<_> = self.out.lines().map(object).collect();
        parsed.unwrap_or_else(|| panic!("stdout has lines that are no JSON objects: {self:?}"))
    }
}

/// An empty folder; removed when dropped.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The command with these arguments, in a folder. Where a test names no device it is the CPU, which needs no driver.
pub fn command(folder: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bptt"));
    // A panic must show itself.
    command
        .args(args)
        .current_dir(folder)
        .env("BPTT_DEVICE", "cpu")
        .env("BPTT_PLANS", folder.join("plans.json"))
        .env("RUST_BACKTRACE", "1");
    command
}

/// Runs `bptt ARGS` in a folder; the arguments are separated by spaces.
pub fn bptt(folder: &Path, args: &str) -> Run {
    run(command(folder, args.split_whitespace()))
}

/// Runs a command to its end, which must come soon.
pub fn run(mut command: Command) -> Run {
    let [out, err] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    command.stdin(Stdio::null()).stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let code = wait(&mut child);
    let read = |file: &Path| String::from_utf8(std::fs::read(file).unwrap()).expect("output is UTF-8");
    Run { code, out: read(out.path()), err: read(err.path()) }
}

/// The exit code of a process that ends soon.
pub fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the command hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Everything below a folder.
pub fn listing(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        }
        found.insert(path.display().to_string());
    }
    found
}
