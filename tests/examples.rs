//! Every example runs, on the CPU and on a GPU, and what it prints is right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bptt::data::text::LONGSEQ;

/// The example's program, which a plain `cargo test` builds beside this one.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let program = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let advice = "a plain `cargo test` builds the examples, `cargo test --test examples` does not: run `cargo build \
                  --examples` with the same profile first";
    assert!(program.is_file(), "{} is missing; {advice}", program.display());
    // Cargo lists beside the program what it was made of. An old program would prove nothing about it.
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified());
    let list = std::fs::read_to_string(program.with_extension("d")).unwrap();
    let sources = list.split_once(": ").expect("PROGRAM: SOURCES").1.trim_end().replace("\\ ", "\0");
    for source in sources.split(' ').map(|source| PathBuf::from(source.replace('\0', " "))) {
        let newer = changed(&source).map_or(true, |source| source > changed(&program).unwrap());
        assert!(!newer, "{} is newer than {}; {advice}", source.display(), program.display());
    }
    program
}

/// Runs an example on the CPU and on a GPU: what it prints on each.
fn run(name: &str) -> [String; 2] {
    run_with(name, "").map(|(success, out)| {
        assert!(success, "{out}");
        out
    })
}

/// Runs an example with options on the CPU and on a GPU: on each, whether it succeeds, and what it prints.
fn run_with(name: &str, options: &str) -> [(bool, String); 2] {
    ["cpu", "gpu"].map(|device| {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(program(name))
            .args(options.split_whitespace())
            .current_dir(&folder)
            .env("BPTT_DEVICE", device)
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).expect("output is UTF-8");
        let err = String::from_utf8_lossy(&output.stderr);
        let first = out.lines().next().map(|line| line == "device: cpu");
        assert_eq!(
            first,
            Some(device == "cpu"),
            "{name} {options} on {device}: {}\n{out}{err}\n(no GPU: scripts/test installs a software one)",
            output.status
        );
        (output.status.success(), format!("{name} {options} on {device}: {}\n{out}{err}", output.status))
    })
}

/// The number behind `label` in the output.
#[track_caller]
fn number(out: &str, label: &str) -> f64 {
    let behind = out.split_once(label).unwrap_or_else(|| panic!("no '{label}' in:\n{out}")).1;
    let word = behind.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches(',').parse().unwrap_or_else(|error| panic!("{label}{word}: {error}"))
}

/// The mean loss of a model that knows how often each character follows each other one, and sees only one.
fn loss_without_memory(text: &str) -> f64 {
    let characters: Vec<char> = text.chars().collect();
    let (mut pairs, mut firsts) = (BTreeMap::new(), BTreeMap::new());
    for pair in characters.windows(2) {
        *pairs.entry((pair[0], pair[1])).or_insert(0.0) += 1.0;
        *firsts.entry(pair[0]).or_insert(0.0) += 1.0;
    }
    let count = (characters.len() - 1) as f64;
    pairs.iter().map(|((first, _), n): (&(char, char), &f64)| -n * (n / firsts[first]).ln()).sum::<f64>()
        / count
}

#[test]
fn hihello_learns_the_word() {
    for out in run("hihello") {
        // ln 2 is what a network without memory loses at least on each of the four characters after an h or an l.
        assert!(number(&out, "final loss ") < 4.0 / 6.0 * f64::ln(2.0) / 2.0, "{out}");
        assert!(out.contains("learnt exactly: true"), "{out}");
    }
}

#[test]
fn char_model_remembers_more_than_a_character() {
    let bound = loss_without_memory(LONGSEQ);
    assert!((0.5..2.0).contains(&bound), "{bound}");
    for out in run("char_model") {
        assert!(number(&out, "final loss ") < bound, "{bound}: {out}");
        // The prompt, and 120 characters that the model has written: most are those of the text.
        let sample = out.split_once("sample: \"").expect("a sample").1;
        let right = sample.chars().zip(LONGSEQ.chars()).take_while(|(a, b)| a == b).count();
        assert!(right >= 8, "{sample}");
    }
}

#[test]
fn char_model_reads_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, "abcäß\n".repeat(100)).unwrap();
    let output =
        Command::new(program("char_model")).arg(&path).arg("1").env("BPTT_DEVICE", "cpu").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.contains("600 characters, 6 distinct"), "{out}");
}

#[test]
fn time_series_is_not_far_from_the_naive_forecast() {
    for out in run("time_series") {
        let [lstm, naive, mean] =
            ["LSTM ", "naive ", "mean "].map(|label| number(&out, &format!("\n  {label}")));
        // The series is a random walk: none does better than the naive forecast but by luck.
        assert!(lstm < 1.5 * naive && lstm < mean, "{out}");
        let says = format!("the LSTM beats the naive forecast: {}", lstm < naive);
        assert!(out.contains(&says), "{out}");
    }
}

#[test]
fn time_series_reads_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    let rows: String = (0..100).map(|i| format!("{},{}\n", i % 10, i % 7)).collect();
    std::fs::write(&path, format!("a,b\n{rows}")).unwrap();
    let output = Command::new(program("time_series")).arg(&path).env("BPTT_DEVICE", "cpu").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.contains("100 rows of a, b; forecast: b"), "{out}");
    // What repeats can be learnt, and the naive forecast never learns.
    assert!(out.contains("the LSTM beats the naive forecast: true"), "{out}");
}

#[test]
fn from_pytorch_gives_pytorchs_outputs() {
    for out in run("from_pytorch") {
        assert_eq!(out.matches("\nloaded ").count(), 10, "{out}");
        // The limit of outputs in tests/pytorch.rs.
        assert!(number(&out, "relative error ") <= 2e-5, "{out}");
    }
}

#[test]
fn custom_op_is_right_and_trains() {
    for out in run("custom_op") {
        assert!(number(&out, "gradient against finite differences: ") <= 1.0, "{out}");
        assert!(number(&out, "device against the twins: ") <= 1.0, "{out}");
        // A tenth of the loss of a network that has forgotten the number.
        assert!(number(&out, "final loss ") < 1.0 / 30.0, "{out}");
    }
}

/// The rungs in the output of the ladder, and whether each is right.
fn rungs(out: &str) -> Vec<(&str, bool)> {
    let named = |line: &str| line.starts_with(|first: char| first.is_ascii_digit());
    let rung = |line| {
        let words: Vec<&str> = str::split_whitespace(line).collect();
        let verdict = *words.last().expect("a rung has a verdict");
        assert!(["right", "WRONG"].contains(&verdict), "{line}");
        (words[0], verdict == "right")
    };
    out.lines().filter(|line| named(line)).map(rung).collect()
}

#[test]
fn every_rung_of_the_ladder_is_right() {
    // Less than a tile; ends within tiles, and parts of several strips; several units and steps a thread.
    for (options, count) in [
        ("matmul --size 4,4,4", 7),
        ("matmul --size 68,132,100", 7),
        ("lstm --size 1,1,1,1", 6),
        ("lstm --size 5,3,9,70", 6),
    ] {
        for (success, out) in run_with("ladder", &format!("{options} --seconds 0")) {
            assert!(success, "{out}");
            let rungs = rungs(&out);
            assert!(rungs.len() == count && rungs.iter().all(|(_, right)| *right), "{out}");
        }
    }
}

#[test]
fn a_wrong_rung_of_the_ladder_is_found() {
    for (options, count) in [("matmul --size 20,68,36", 7), ("lstm --size 3,2,5,7", 6)] {
        for (success, out) in run_with("ladder", &format!("{options} --seconds 0 --sabotage all")) {
            assert!(!success, "{out}");
            let rungs = rungs(&out);
            assert!(rungs.len() == count && rungs.iter().all(|(_, right)| !right), "{out}");
        }
    }
    for (success, out) in run_with("ladder", "lstm --size 3,2,5,7 --seconds 0 --sabotage 4_step") {
        assert!(!success, "{out}");
        let wrong: Vec<_> = rungs(&out).into_iter().filter(|(_, right)| !right).collect();
        assert_eq!(wrong, [("4_step", false)], "{out}");
    }
}

#[test]
fn the_ladder_says_which_sizes_it_takes() {
    let refused = [
        ("matmul --size 4,4", "multiples of 4"),
        ("matmul --size 4,4,6", "multiples of 4"),
        ("lstm --size 4,4,4,1025", "H to 1024"),
        ("lstm --seconds=-1", "takes 0 to 3600"),
        ("--sabotage 9_none", "the rungs are 1_naive"),
    ];
    for (options, why) in refused {
        let output =
            Command::new(program("ladder")).args(options.split(' ')).args(["--device", "cpu"]).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why), "{options}: {said}");
    }
}
