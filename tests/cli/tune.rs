//! `bptt tune`: what it finds and keeps, which runs take it, and what cannot be tuned.

use super::files::files;
use super::harness::{bptt, folder};

#[test]
fn what_is_found_is_kept_and_followed() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("found")).unwrap();
    let run = bptt(folder.path(), "tune --only hihello --seconds 0.01 --out found/plans.json --json");
    let events = run.events();
    let (done, compared) = events.split_last().unwrap();
    assert!(compared.iter().any(|event| event["site"].as_str().unwrap().starts_with("rnn_forward 6 1 5")));
    assert!(
        compared.iter().all(|event| event["ratio"].as_f64().unwrap() > 0.0 && event["old"] != event["new"])
    );
    let taken = compared.iter().filter(|event| event["taken"] == true).count();
    assert!(done["plans"].as_u64().unwrap() <= taken as u64);
    assert_eq!(folder.path().join("found/plans.json").exists(), done["plans"] != 0);

    // Every command reads the file, so none goes on with a damaged one.
    std::fs::write(folder.path().join("plans.json"), "{").unwrap();
    let says = bptt(folder.path(), "train hihello --device gpu").failed(3).to_string();
    assert!(
        says.contains("plans.json: holds no plans of bptt") && says.contains("run bptt tune again"),
        "{says}"
    );
}

#[test]
fn the_step_of_a_run_is_tuned() {
    let folder = folder();
    bptt(folder.path(), "train text --steps 2 --hidden 8 --cell gru --out run").done();
    let events = bptt(folder.path(), "tune run --seconds 0.01 --json").events();
    assert!(
        events
            .iter()
            .any(|event| event["site"].as_str().is_some_and(|site| site.starts_with("gru_forward 16 1 8")))
    );
    assert!(events.iter().all(|event| event["event"] == "done" || event["case"] == "run"));
}

#[test]
fn what_cannot_be_tuned() {
    let folder = folder();
    let says = bptt(folder.path(), "tune --only nonsense").failed(2).to_string();
    assert_eq!(says, "there is no training step nonsense: see bptt bench train");
    let says = bptt(folder.path(), "tune --out missing/p.json").failed(3).to_string();
    assert_eq!(says, "missing/p.json: cannot be written: there is no folder missing");
    let says = bptt(folder.path(), "tune missing").failed(3).to_string();
    assert_eq!(says, "missing: no such folder; name the folder of a run");
    let out = bptt(folder.path(), "tune --device cpu").done();
    assert_eq!(out, "there is nothing to tune on the CPU: it has one way to run each kernel\n");
    assert_eq!(files(folder.path()).len(), 0);
}
