//! Bad input: one sentence, the right exit code, nothing left behind, little memory.

use std::fs;
use std::path::Path;

use super::harness::{Run, bptt, command, folder, listing, run};

/// Arguments, exit code, what the sentence says.
type Row<'a> = (&'a str, i32, &'a str);

/// Runs each row, for people and with --json.
fn check(folder: &Path, rows: &[Row]) {
    let before = listing(folder);
    for (args, code, says) in rows {
        let plain = bounded(folder, args);
        let sentence = plain.failed(*code).to_string();
        assert!(sentence.contains(says), "bptt {args}: {sentence:?} does not say {says:?}");
        assert_eq!(plain.out, "", "bptt {args}");

        let json = bounded(folder, &format!("{args} --json"));
        assert_eq!(json.failed(*code), sentence, "bptt {args}");
        let error = serde_json::json!({"event": "error", "message": sentence});
        assert_eq!(json.events(), [error], "bptt {args}");
        assert_eq!(listing(folder), before, "bptt {args} left something behind");
    }
}

/// Runs the command with 4 GiB of memory, where the system can limit it.
fn bounded(folder: &Path, args: &str) -> Run {
    if !cfg!(target_os = "linux") {
        return bptt(folder, args);
    }
    let inner = command(folder, args.split_whitespace());
    let mut outer = std::process::Command::new("sh");
    outer
        .args(["-c", "ulimit -v 4194304 && exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    outer.current_dir(folder).env("BPTT_DEVICE", "cpu").env("RUST_BACKTRACE", "1");
    run(outer)
}

#[test]
fn numbers() {
    let whole = "must be a whole number of at least 1";
    let mut rows: Vec<Row> = vec![
        ("train hihello --hidden 1000000", 2, "hidden must be from 1 to 65536, got 1000000"),
        ("train hihello --hidden 7", 2, "hidden must be the number of distinct characters, 5, got 7"),
        ("train text --hidden 1000000", 2, "hidden must be from 1 to 65536, got 1000000"),
        ("train text --hidden 65536", 2, "make 34363539481 parameters, the most is 268435456"),
        ("train text --layers 1000000000", 2, "layers must be from 1 to 1024, got 1000000000"),
        ("train text --embedding 1000000000", 2, "embedding must be from 1 to 65536"),
        ("train text --hidden 18446744073709551615", 2, "too large"),
        ("train text --steps 1 --epochs 1", 2, "cannot be used with"),
        ("train text --batch 100", 2, "the default text has 180 characters"),
        ("train text --batch 10", 2, "too few for batch 10; name a longer one with --file"),
        ("train text --sequence 18", 2, "too few for sequence 18"),
        ("train text --sequence 9223372036854775807", 2, "too few for sequence 9223372036854775807"),
        ("train text --batch 4 --sequence 4", 2, "too few for batch 4 and sequence 4"),
        ("train text --clip nan", 2, "must be a number from 0 to 3e38"),
        ("train text --clip -1", 2, "must be a number from 0 to 3e38"),
        ("train text --seed -1", 2, "must be a whole number, 0 or more"),
        ("train text --batch -1", 2, "must be a whole number, 0 or more"),
        ("train text --batch 0", 2, "batch must be at least 1, got 0"),
        ("train text --dropout 1.5", 2, "must be a number from 0 to 1"),
        ("train timeseries --split 1", 2, "must be a number above 0 and below 1"),
        (
            "train hihello --schedule plateau",
            2,
            "schedule plateau needs a validation loss, which only text has",
        ),
        ("train hihello --csv x", 2, "--csv is no option of hihello"),
        ("train text --linear", 2, "--linear is no option of text"),
        ("train timeseries --newest-first=maybe", 2, "invalid value 'maybe'"),
        ("generate --top-p 0", 2, "must be a number above 0 and at most 1"),
        ("generate --repetition 0.5", 2, "must be a number of at least 1"),
        ("generate --temperature -1", 2, "must be a number from 0 to 3e38"),
        ("generate --temperature nan", 2, "must be a number from 0 to 3e38"),
        ("generate --top-k -1", 2, "must be a whole number, 0 or more"),
        ("generate --length 1.5", 2, "must be a whole number, 0 or more"),
        ("generate --seed 99999999999999999999", 2, "too large"),
    ];
    let mut more = Vec::new();
    for option in ["hidden", "layers", "sequence", "embedding", "steps", "epochs"] {
        for (value, says) in [("0", whole), ("-1", whole), ("1e3", whole), ("abc", whole)] {
            more.push((format!("train text --{option} {value}"), says));
        }
        more.push((format!("train text --{option} 99999999999999999999"), "too large"));
    }
    for value in ["nan", "inf", "-1", "0", "abc", "1e400", "1e39"] {
        more.push((format!("train longseq --lr {value}"), "must be a number above 0 and at most 3e38"));
    }
    rows.extend(more.iter().map(|(args, says)| (args.as_str(), 2, *says)));
    check(folder().path(), &rows);
}

#[test]
fn usage() {
    let rows = [
        ("nonsense", 2, "unrecognized subcommand 'nonsense'; see bptt"),
        ("train tex", 2, "a similar value exists: 'text'"),
        (
            "train",
            2,
            "name an experiment (hihello, charseq, longseq, text, timeseries), a --config or a run to --resume",
        ),
        ("train text --hiden 3", 2, "a similar argument exists: '--hidden'; see bptt"),
        ("train text extra", 2, "unexpected argument 'extra' found"),
        ("train text --file", 2, "a value is required for '--file <FILE>'"),
        ("train charseq --device nonsense", 2, "no device 'nonsense': "),
    ];
    check(folder().path(), &rows);
}

#[test]
fn texts() {
    let folder = folder();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    file("empty", b"");
    file("mark", b"\xEF\xBB\xBF");
    file("one", b"a");
    file("nineteen", b"abcdefghijklmnopqrs");
    file("latin1", b"This text was saved as gr\xFC\xDFe in Latin 1");
    file("utf16", b"\xFF\xFEt\0e\0x\0t\0");
    fs::create_dir(folder.path().join("folder")).unwrap();
    let mut rows = vec![
        ("train text --file missing", 3, "missing: no such file"),
        ("train text --file empty", 3, "empty: is empty"),
        ("train text --file mark", 3, "mark: is empty"),
        ("train text --file one", 3, "one: has 1 character; training and validation need at least 20"),
        (
            "train text --file nineteen",
            3,
            "nineteen: has 19 characters; training and validation need at least 20",
        ),
        ("train text --file latin1", 3, "latin1: is not UTF-8 text: byte 0xFC at offset 25"),
        ("train text --file utf16", 3, "utf16: is UTF-16 text"),
        ("train text --file folder", 3, "folder: is a folder"),
    ];
    if cfg!(target_os = "linux") {
        rows.push(("train text --file /dev/null", 3, "/dev/null: is empty"));
        rows.push(("train text --file /dev/zero", 3, "/dev/zero: has more than 1073741824 bytes"));
    }
    check(folder.path(), &rows);
}

#[test]
fn a_step_that_would_take_all_memory() {
    let folder = folder();
    // Sparse: takes no space. A million states of each of 1000 layers.
    fs::File::create(folder.path().join("zeros")).unwrap().set_len(12 << 20).unwrap();
    let args = "train text --file zeros --batch 1000 --sequence 1000 --layers 1000 --hidden 100";
    check(folder.path(), &[(args, 2, "a step of batch 1000 and sequence 1000 takes")]);
}

#[test]
fn places_for_the_model() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    fs::create_dir(folder.path().join("taken")).unwrap();
    fs::write(folder.path().join("taken/config.toml"), "a = 1").unwrap();
    let mut rows = vec![
        (
            "train hihello --out taken",
            2,
            "taken exists already; name another --out, go on with it with --resume taken, or overwrite it with --force",
        ),
        ("train text --out taken", 2, "taken exists already"),
        ("train hihello --out file", 2, "file exists already"),
        ("train hihello --out file --force", 3, "file: is not a folder"),
        (
            "train hihello --out taken --force",
            3,
            "taken: is no run of bptt, which --force does not overwrite",
        ),
        ("train hihello --out file/model", 3, "file/model: cannot be made: "),
        ("train hihello --out file/model --force", 3, "file/model: cannot be made: "),
    ];
    if cfg!(target_os = "linux") {
        rows.push(("train hihello --out /proc/model", 3, "/proc/model: cannot be made: "));
        rows.push(("train hihello --out /dev/full/model", 3, "/dev/full/model: cannot be made: "));
    }
    check(folder.path(), &rows);
    assert_eq!(fs::read_to_string(file).unwrap(), "text");
}

#[test]
fn no_model() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::create_dir(folder.path().join("begun")).unwrap();
    fs::write(folder.path().join("begun/config.toml"), "experiment = \"text\"").unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    let rows = [
        ("generate", 3, "runs: holds no model of text; train one with `bptt train text --file FILE`"),
        ("generate missing", 3, "missing: no such folder; a model is a folder with config.json"),
        ("generate file", 3, "file: is no folder; a model is a folder with config.json"),
        ("generate empty", 3, "empty/config.json: no such file"),
        (
            "generate begun",
            3,
            "begun: is a run that has saved nothing yet: its model comes with its first checkpoint",
        ),
        ("train --config begun", 3, "begun: is a folder: name the file in it, begun/config.toml"),
    ];
    check(folder.path(), &rows);
}

#[test]
fn prompts() {
    let folder = folder();
    bptt(folder.path(), "train hihello --steps 1 --out model").done();
    let rows = [
        (
            "generate model --prompt hexe",
            2,
            "the model has never seen 'x', character 3 of the prompt; it knows \"ehilo\"",
        ),
        ("generate model --prompt -hi", 2, "the model has never seen '-', character 1"),
    ];
    check(folder.path(), &rows);
    let empty = run(command(folder.path(), ["generate", "model", "--prompt", ""]));
    assert!(empty.failed(2).contains("the prompt is empty"));
}

#[cfg(unix)]
#[test]
fn arguments_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let bad = OsStr::from_bytes(b"\xFF\xFE");
    let with = |args: &[&str]| run(command(folder.path(), args.iter().map(OsStr::new).chain([bad])));
    let settings = with(&["train", "text", "--file"]);
    assert!(settings.failed(2).contains("a run keeps its settings as text: rename the file"), "{settings:?}");
    assert!(with(&["generate", "--prompt"]).failed(2).contains("invalid UTF-8"));
    assert!(with(&["generate"]).failed(3).contains("no such folder"));
    // A path need not be text.
    let out = with(&["train", "hihello", "--steps", "1", "--json", "--out"]);
    assert_eq!(out.events().last().unwrap()["event"], "done");
}

#[test]
fn training_that_diverges() {
    let folder = folder();
    for (args, says) in [
        // The first update makes the weights so large that the second step's logits are infinite.
        (
            "train text --lr 2e38 --out new/folders/model",
            "the parameter embedding.weight is not finite (step 2; try a smaller --lr)",
        ),
        ("train hihello --lr 2e38 --linear", "is not finite (step 2; try a smaller --lr)"),
        // Too soon for the loss to tell.
        (
            "train hihello --lr 2e38 --linear --steps 1",
            "is not finite (it was not saved; try a smaller --lr)",
        ),
    ] {
        let run = bptt(folder.path(), &format!("{args} --json"));
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.err.lines().last().unwrap().starts_with("error: "), "{run:?}");
        let events = run.events();
        let message = events.last().unwrap()["message"].as_str().unwrap();
        assert!(events.last().unwrap()["event"] == "error" && message.contains(says), "{message}");
        let losses: Vec<_> =
            events.iter().filter(|event| event["event"] == "step").map(|event| &event["loss"]).collect();
        assert!(losses[0].is_number() && losses[1..].iter().all(|loss| loss.is_null()), "{losses:?}");
        assert!(losses.len() == if args.ends_with('1') { 1 } else { 2 }, "{losses:?}");
        assert!(listing(folder.path()).is_empty(), "{args} left something behind");
    }
}
