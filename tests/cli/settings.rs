//! `config.toml`: written, read again, and refused.

use std::fs;

use bptt::error::Error;
use bptt::train::{Config, ConfigFile, Experiment};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, TestRunner};

use super::files::files;
use super::harness::{bptt, folder};
use super::run_files::{assert_equal, ended};

#[test]
fn the_settings_of_a_run_train_the_same_again() {
    let folder = folder();
    let path = folder.path();
    for (number, args) in
        ["train hihello --steps 5", "train text --epochs 2", "train timeseries --epochs 3 --batch 100"]
            .into_iter()
            .enumerate()
    {
        let [a, b] = ["a", "b"].map(|name| format!("{name}{number}"));
        bptt(path, &format!("{args} --seed 7 --cell gru --out {a}")).done();
        bptt(path, &format!("train --config {a}/config.toml --out {b}")).done();
        assert_equal(&ended(path, &b), &ended(path, &a));
        // What is asked for wins.
        bptt(path, &format!("train --config {a}/config.toml --seed 8 --steps 3 --out other{number}")).done();
        let config = fs::read_to_string(path.join(format!("other{number}/config.toml"))).unwrap();
        assert!(config.contains("seed = 8\nsteps = 3\n") && config.contains("cell = \"gru\""), "{config}");
    }
    let sentence = bptt(path, "train text --config a0/config.toml").failed(2).to_string();
    assert_eq!(sentence, "a0/config.toml is of the experiment hihello, not text");
}

#[test]
fn settings_that_cannot_be() {
    let folder = folder();
    let path = folder.path();
    for (text, says) in [
        ("", "has no key experiment, which must be one of hihello, charseq, longseq, text, timeseries"),
        ("experiment = \"txt\"", "line 1: experiment: unknown variant `txt`"),
        (
            "experiment = \"text\"\n\n[train]\nlr = 0.1\nstepps = 3",
            "line 5: unknown key \"stepps\" in [train]; did you mean steps?",
        ),
        ("experiment = \"text\"\n[modl]\n", "line 2: unknown key \"modl\"; did you mean model?"),
        ("experiment = \"text\"\ntrain = 3", "line 2: train must be a section, [train]"),
        ("experiment = \"text\"\n[data]\nwindow = 3", "line 3: window means nothing to the experiment text"),
        (
            "experiment = \"text\"\n[train]\n\n\nsteps = \"many\"",
            "line 5: steps: invalid type: string \"many\", expected a whole number",
        ),
        (
            "experiment = \"text\"\n[train]\nsteps = -1",
            "line 3: steps: invalid value: integer `-1`, expected a whole number",
        ),
        ("experiment = \"text\"\n[train]\nsteps = 0", "line 3: steps must be at least 1, got 0"),
        ("experiment = \"text\"\n[train]\nlr = nan", "line 3: lr must be above 0 and at most 3e38, got NaN"),
        (
            "experiment = \"text\"\n# ü\ntrain.schedule = \"plato\"",
            "line 3: schedule: unknown variant `plato`",
        ),
        (
            "experiment = \"hihello\"\n[train]\nschedule = \"plateau\"",
            "line 3: schedule plateau needs a validation loss",
        ),
        (
            "experiment = \"text\"\n[model]\nhidden = 1.5",
            "line 3: hidden: invalid type: floating point `1.5`, expected a whole number",
        ),
        ("experiment = \"text\"\n[model\nhidden = 1", "line 2: is no TOML: "),
        ("experiment = \"text\"\nlr == 3", "line 2: is no TOML: "),
        (
            "experiment = \"text\"\nformat = 2\nnew = 3",
            "line 2: format must be 1, got 2, of a newer version of bptt",
        ),
        ("experiment = \"text\"\nformat = 0", "line 2: format must be 1, got 0"),
    ] {
        fs::write(path.join("c.toml"), text).unwrap();
        let sentence = bptt(path, "train --config c.toml").failed(3).to_string();
        assert!(sentence.starts_with(&format!("c.toml: {says}")), "{text}: {sentence}");
    }
    for (bytes, says) in [
        (&b"experiment = \"\xFF\""[..], "is not UTF-8 text, at offset 14"),
        (&b"[".repeat(100_000)[..], "line 1: is no TOML"),
        (&b" ".repeat(2_000_000)[..], "has more than 1048576 bytes"),
    ] {
        fs::write(path.join("c.toml"), bytes).unwrap();
        let sentence = bptt(path, "train --config c.toml").failed(3).to_string();
        assert!(sentence.starts_with(&format!("c.toml: {says}")), "{sentence}");
    }
    assert!(bptt(path, "train --config none.toml").failed(3).contains("none.toml: no such file"));
    assert_eq!(files(path).len(), 1, "something was left");
}

/// Whatever is done to a config.toml: an error that names it, or settings with which a training can be begun.
#[test]
fn mutated_settings() {
    let folder = folder();
    let file = folder.path().join("config.toml");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let mut runner = TestRunner::new(Runner { cases, failure_persistence: None, ..Runner::default() });
    const PIECES: &[&str] = &[
        "\n",
        "\"",
        "[",
        "]",
        "=",
        "nan",
        "-1",
        "0",
        "1e999",
        "ü",
        "[train]",
        "9223372036854775807",
        "#",
        "'''",
        "\u{0}",
    ];
    let change = (any::<prop::sample::Index>(), 0..4usize, prop::sample::select(PIECES), any::<u8>());
    let strategy = (0..Experiment::ALL.len(), prop::collection::vec(change, 1..6));
    runner
        .run(&strategy, |(experiment, changes)| {
            let mut bytes = Config::defaults(Experiment::ALL[experiment]).to_toml().unwrap().into_bytes();
            for (at, kind, piece, byte) in changes {
                let at = at.index(bytes.len() + 1);
                match kind {
                    0 => bytes.truncate(at),
                    1 => bytes = [&bytes[..at], piece.as_bytes(), &bytes[at..]].concat(),
                    2 => bytes = [&bytes[..at], &bytes[(at + 3).min(bytes.len())..]].concat(),
                    _ if at < bytes.len() => bytes[at] = byte,
                    _ => {}
                }
            }
            fs::write(&file, &bytes).unwrap();
            match ConfigFile::read(&file) {
                Err(Error::Data { path, message }) => {
                    prop_assert!(path == file && !message.contains('\n'), "{}", message)
                }
                Err(other) => prop_assert!(false, "{}", other),
                Ok(read) => {
                    let text = read.config.to_toml().unwrap();
                    fs::write(&file, &text).unwrap();
                    prop_assert_eq!(ConfigFile::read(&file).unwrap().config, read.config);
                }
            }
            Ok(())
        })
        .unwrap();
}
