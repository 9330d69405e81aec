//! What the command prints: the JSON lines, the help, generated text.

use serde_json::Value;

use super::harness::{bptt, command, folder, run};

/// The numbers of the last event, which are those of the last step.
fn check_done(events: &[Value], experiment: &str, steps: u64) {
    let done = events.last().unwrap();
    let losses: Vec<_> = events.iter().filter(|event| event["event"] == "step").collect();
    for (event, step) in losses.iter().zip(1..) {
        assert_eq!(keys(event), ["event", "step", "loss"]);
        assert_eq!(event["step"], step);
        assert!(event["loss"].as_f64().is_some_and(f64::is_finite));
    }
    assert_eq!(losses.len() as u64, steps);
    assert_eq!(done["loss"], losses.last().unwrap()["loss"]);
    assert_eq!((&done["event"], &done["experiment"]), (&"done".into(), &experiment.into()));
    assert_eq!((&done["steps"], &done["device"]), (&steps.into(), &"cpu".into()));
    assert!(done["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(done["accuracy"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)));
}

fn keys(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

const DONE: [&str; 9] =
    ["event", "experiment", "device", "steps", "loss", "accuracy", "decoded", "seconds", "out"];

#[test]
fn json_of_the_sentences() {
    let folder = folder();
    for (experiment, sentence) in [
        ("hihello", "ihello"),
        ("charseq", "if you want you"),
        (
            "longseq",
            "f you want to build a ship, don't drum up people together to collect wood and don't assign them tasks \
             and work, but rather teach them to long for the endless immensity of the sea.",
        ),
    ] {
        let events = bptt(folder.path(), &format!("train {experiment} --steps 3 --json")).events();
        check_done(&events, experiment, 3);
        assert_eq!(events.len(), 4);
        let done = events.last().unwrap();
        assert_eq!(keys(done), DONE);
        assert_eq!(done["out"], format!("runs/{experiment}-1"));
        let decoded = done["decoded"].as_str().unwrap();
        let right = decoded.chars().zip(sentence.chars()).filter(|(a, b)| a == b).count() as f64;
        assert_eq!(decoded.chars().count(), sentence.chars().count());
        assert_eq!(done["accuracy"], right / sentence.chars().count() as f64, "{decoded:?}");
    }
}

#[test]
fn json_of_text() {
    let folder = folder();
    let run = bptt(folder.path(), "train text --steps 20 --hidden 8 --json");
    assert!(run.err.starts_with(
        "no --file was named: the text is the sentence of longseq, 180 characters\n\
         the text has 180 characters, too few for batch 32 and sequence 64: taking batch 1 and"
    ));
    let events = run.events();
    check_done(&events, "text", 20);
    let done = events.last().unwrap();
    assert_eq!(
        keys(done),
        [&DONE[..], &["validation_loss", "bits_per_character", "best_step", "best_validation_loss"]].concat()
    );
    let validations: Vec<_> = events.iter().filter(|event| event["event"] == "validation").collect();
    assert_eq!(validations.len(), 10);
    assert_eq!(keys(validations[0]), ["event", "step", "validation_loss", "bits_per_character"]);
    let (loss, bits) = (&done["validation_loss"], done["bits_per_character"].as_f64().unwrap());
    assert_eq!((loss, &validations[9]["step"]), (&validations[9]["validation_loss"], &20.into()));
    assert!((loss.as_f64().unwrap() / 2f64.ln() - bits).abs() < 1e-12);
}

#[test]
fn the_result_is_of_the_last_steps_forward_pass() {
    let folder = folder();
    for experiment in ["hihello", "text --hidden 8"] {
        let done = |options: &str| {
            bptt(folder.path(), &format!("train {experiment} --json {options}")).events().pop().unwrap()
        };
        // The update of the only step, large or none, comes after.
        let [large, none] = [done("--steps 1 --lr 10"), done("--steps 1 --lr 1e-30")];
        for key in ["loss", "accuracy", "decoded"] {
            assert_eq!(large[key], none[key], "{experiment}: {key}");
        }
        assert_ne!(done("--steps 2 --lr 0.5")["loss"], none["loss"]);
    }
}

#[test]
fn batch_sequence_and_epochs() {
    let folder = folder();
    let done = |options: &str| {
        let run = bptt(folder.path(), &format!("train text --hidden 4 --json {options}"));
        (run.err.clone(), run.events().pop().unwrap())
    };
    // 162 characters are for training, 18 for validation: a pass of batch 2 in sequences of 8 has 10 chunks.
    let (err, event) = done("--batch 2 --sequence 8 --epochs 3");
    let sentence = "no --file was named: the text is the sentence of longseq, 180 characters\n";
    assert_eq!((err.as_str(), &event["steps"]), (sentence, &30.into()));
    // What is named is kept, and the other made to fit.
    let (err, event) = done("--batch 4 --steps 1");
    assert!(err.contains("taking batch 4 and sequence 2"), "{err}");
    assert_eq!(event["decoded"].as_str().unwrap().chars().count(), 2);
    let (err, _) = done("--sequence 5 --steps 1");
    assert!(err.contains("taking batch 2 and sequence 5"), "{err}");
}

#[test]
fn generating() {
    let folder = folder();
    bptt(folder.path(), "train text --steps 30 --hidden 8 --out model").done();
    let text = |options: &str| bptt(folder.path(), &format!("generate model {options}")).done();

    let first = text("--prompt sea");
    assert!(
        first.starts_with("sea") && first.ends_with('\n') && first.chars().count() == 3 + 200 + 1,
        "{first:?}"
    );
    assert_eq!(text("--prompt sea --seed 0"), first);
    assert_ne!(text("--prompt sea --seed 1"), first);
    assert_eq!(text("--prompt sea --length 0"), "sea\n");
    // The most probable character is not chosen at random, nor is the only one.
    let greedy = text("--prompt sea --temperature 0");
    assert_eq!(text("--prompt sea --temperature 0 --seed 7"), greedy);
    assert_eq!(text("--prompt sea --top-k 1 --seed 7"), greedy);
    assert_eq!(text("--prompt sea --top-k 1000"), first);
    // With no prompt it begins with a character that begins words.
    assert!(text("").starts_with(' '));

    let prompt = "long for";
    let json =
        run(command(folder.path(), ["generate", "model", "--prompt", prompt, "--length", "5", "--json"]));
    let [event] = &json.events()[..] else { panic!("{json:?}") };
    assert_eq!(keys(event), ["event", "model", "device", "prompt", "text", "seed"]);
    assert_eq!((&event["event"], &event["prompt"]), (&"done".into(), &prompt.into()));
    let text = event["text"].as_str().unwrap();
    assert!(text.starts_with(prompt) && text.chars().count() == 8 + 5, "{text}");
}

#[test]
fn help_is_readable() {
    let folder = folder();
    let help = |args: &str| {
        let mut command = command(folder.path(), args.split_whitespace());
        command.env("COLUMNS", "80");
        let run = run(command);
        let text = format!("{}{}", run.out, run.err);
        assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\x1b'), "{text}");
        (run.code, text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let codes = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad data or model file, 4 GPU fault, 130 interrupted, 141 nobody \
                 reads the output (train saves and gives 1).";
    for (args, code, says) in [
        ("", Some(2), "Usage: bptt"),
        ("--help", Some(0), "generate Continue a text"),
        ("train --help", Some(0), "hihello"),
        ("train hihello --help", Some(0), "[default: 100]"),
        ("train hihello --help", Some(0), "[default: 5, the number of distinct characters]"),
        ("train charseq --help", Some(0), "[default: 50]"),
        ("train longseq --help", Some(0), "Number of recurrent layers [default: 2]"),
        ("train longseq --help", Some(0), "Learning rate [default: 0.1]"),
        ("train text --help", Some(0), "Learning rate [default: 0.002]"),
        ("train text --help", Some(0), "Size of the recurrent layers [default: 128]"),
        ("train text --help", Some(0), "Streams read side by side"),
        ("train timeseries --help", Some(0), "How many rows a forecast is made from [default: 7]"),
        (
            "train --help",
            Some(0),
            "Learning rate [default: hihello 0.1, charseq 0.1, longseq 0.1, text 0.002",
        ),
        ("generate --help", Some(0), "[default: the newest in runs/]"),
        ("devices --help", Some(0), "BPTT_DEVICE"),
    ] {
        let (found, text) = help(args);
        assert_eq!(found, code, "bptt {args}");
        assert!(text.contains(says) && text.contains(codes), "bptt {args}: {text}");
    }
    assert_eq!(help("--version"), (Some(0), format!("bptt {}", env!("CARGO_PKG_VERSION"))));
}
