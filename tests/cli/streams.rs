//! Ctrl-C, and output that nobody reads.

use std::fs::{File, read_dir};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::harness::{bptt, command, folder, run, wait};

/// A command whose output is read while it runs.
fn start(folder: &Path, args: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = command(folder, args.split_whitespace());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn interrupt(child: &Child) {
    // The shell's own kill: there may be no program of that name.
    let line = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

/// What is left of its output, its exit code and its complaints.
fn end(mut child: Child, mut out: impl Read) -> (String, Option<i32>, String) {
    let (mut rest, mut err) = (String::new(), String::new());
    out.read_to_string(&mut rest).unwrap();
    let code = wait(&mut child);
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (rest, code, err)
}

#[test]
fn ctrl_c_saves_a_text_model() {
    let folder = folder();
    let (child, mut out) = start(folder.path(), "train text --steps 100000000 --hidden 8 --json --out model");
    while !out.by_ref().lines().next().unwrap().unwrap().contains("\"step\":10,") {}
    interrupt(&child);
    let (rest, code, err) = end(child, out);
    assert_eq!(code, Some(130), "{err}");
    let last: serde_json::Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(last, serde_json::json!({"event": "error", "message": "interrupted"}));
    let [.., saved, error] = &err.lines().collect::<Vec<_>>()[..] else { panic!("{err}") };
    assert!(
        saved.starts_with("interrupted after step ")
            && saved.ends_with("; the model so far is in model; go on with: bptt train --resume model"),
        "{err}"
    );
    assert_eq!(*error, "error: interrupted");
    bptt(folder.path(), "generate model").done();
}

#[test]
fn ctrl_c_saves_a_sentence() {
    let folder = folder();
    let (child, mut out) = start(folder.path(), "train hihello --steps 100000000 --json");
    out.read_line(&mut String::new()).unwrap();
    interrupt(&child);
    let (_, code, err) = end(child, out);
    assert_eq!(code, Some(130), "{err}");
    assert!(err.ends_with("; go on with: bptt train --resume runs/hihello-1\nerror: interrupted\n"), "{err}");
    bptt(folder.path(), "generate").done();
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let folder = folder();
    // A step of seconds at least.
    let text = "a text that is long enough to be read side by side. ".repeat(20_000);
    std::fs::write(folder.path().join("text"), text).unwrap();
    let args = "train text --file text --batch 1000 --sequence 100 --hidden 1000 --layers 2 --out model";
    let (mut child, mut out) = start(folder.path(), args);
    out.read_line(&mut String::new()).unwrap();
    interrupt(&child);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None, "the first lets the step end");
    interrupt(&child);
    assert_eq!(wait(&mut child), Some(130));
}

#[test]
fn generated_text_comes_as_it_is_made() {
    let folder = folder();
    bptt(folder.path(), "train hihello --steps 1 --out model").done();
    let (child, mut out) = start(folder.path(), "generate model --prompt hi --length 1000000000");
    let mut first = [0; 50];
    out.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"hi"));
    interrupt(&child);
    let (rest, code, err) = end(child, out);
    assert_eq!((code, err.as_str(), rest.ends_with('\n')), (Some(130), "error: interrupted\n", true));
}

/// Runs a command whose output is read to its first bytes and no further; gives its exit code and its complaints.
fn left(folder: &Path, args: &str) -> (Option<i32>, String) {
    let (child, mut out) = start(folder, args);
    out.read_exact(&mut [0; 5]).unwrap();
    drop(out);
    let (_, code, err) = end(child, std::io::empty());
    (code, err)
}

#[test]
fn a_training_whose_reader_leaves_is_saved() {
    let folder = folder();
    let path = folder.path();
    for (name, args) in [
        ("lines", "train text --hidden 8 --steps 100000000 --validate-every 5"),
        ("json", "train text --hidden 8 --steps 100000000 --json"),
        ("quiet", "train hihello --steps 100000000 --json"),
    ] {
        let (code, err) = left(path, &format!("{args} --checkpoint-every 100000000 --out {name}"));
        assert_eq!(code, Some(1), "{err}");
        let begin =
            "error: standard output: cannot be written: its reader has ended; interrupted after step ";
        let last = err.lines().last().unwrap();
        let step = last.strip_prefix(begin).and_then(|rest| rest.split(';').next()).expect(last);
        let end = format!("the model so far is in {name}; go on with: bptt train --resume {name}");
        assert!(last.ends_with(&end), "{err}");
        // The checkpoint is of that step.
        let more = step.parse::<u64>().unwrap() + 2;
        let out = bptt(path, &format!("train --resume {name} --steps {more}")).done();
        assert!(out.contains(&format!(", from step {step} on")), "{step}: {out}");
    }
}

#[test]
fn what_only_prints_ends_quietly_where_nobody_reads() {
    let folder = folder();
    bptt(folder.path(), "train hihello --steps 1 --out trained").done();
    let (code, err) = left(folder.path(), "generate trained --length 1000000000");
    assert_eq!((code, err.as_str()), (Some(141), ""));
    // Nobody reads from the beginning on.
    for args in
        ["devices", "devices --json", "explain hihello", "plot trained", "bench dispatch --seconds 0.01"]
    {
        let (child, out) = start(folder.path(), args);
        drop(out);
        let (_, code, err) = end(child, std::io::empty());
        assert_eq!((code, err.as_str()), (Some(141), ""), "{args}");
    }
}

#[test]
fn a_benchmark_ends_with_the_measurement_that_is_made() {
    let folder = folder();
    let (child, mut out) =
        start(folder.path(), "bench dispatch --only read_back --seconds 10000 --device cpu");
    // The case begins after the head of the table.
    out.read_line(&mut String::new()).unwrap();
    out.read_line(&mut String::new()).unwrap();
    interrupt(&child);
    let (rest, code, err) = end(child, out);
    assert_eq!((code, err.as_str(), rest.as_str()), (Some(130), "error: interrupted\n", ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full() {
    let folder = folder();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let train = || command(folder.path(), ["train", "text", "--steps", "2", "--hidden", "8"]);
    let (mut to_stdout, mut to_stderr, mut wrong) = (train(), train(), command(folder.path(), ["nonsense"]));

    let out = to_stdout.stdout(full()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(err.contains("error: standard output: cannot be written: No space left on device"), "{err}");
    assert_eq!(read_dir(folder.path()).unwrap().count(), 0);
    // What cannot be said is not worth failing for.
    assert_eq!(to_stderr.stderr(full()).output().unwrap().status.code(), Some(0));
    assert_eq!(wrong.stderr(full()).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_text_from_a_pipe() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let to = pipe.clone();
    let writer =
        std::thread::spawn(move || std::fs::write(to, "what is said again and again ".repeat(10)).unwrap());
    let run =
        run(command(folder.path(), ["train", "text", "--steps", "2", "--file", "pipe", "--out", "model"]));
    writer.join().unwrap();
    run.done();
}
