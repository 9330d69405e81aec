//! `bptt check`: the table, exit codes, the report.

use std::path::Path;

use bptt::verify::suite::{Item, named};
use serde_json::Value;

use super::harness::{Run, bptt, folder};

fn names() -> Vec<&'static str> {
    Item::all().map(Item::name).collect()
}

fn report(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The lines of the table with a verdict: name, ways, cases, error, verdict.
fn table(run: &Run) -> Vec<Vec<&str>> {
    let rows = run.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() == 5 && ["pass", "FAIL"].contains(&row[4])).collect()
}

#[test]
fn a_right_device_passes() {
    let folder = folder();
    let cpu = bptt(folder.path(), "check --json cpu.json");
    let gpu =
        bptt(folder.path(), "check --json gpu.json --device gpu --only lstm,matmul,tanh,softmax,repeat");
    let all = Item::all().count();
    let some =
        ["lstm", "matmul", "tanh", "softmax", "repeat"].map(|asked| named(asked, &names()).unwrap().len());
    for (run, file, count) in [(&cpu, "cpu.json", all), (&gpu, "gpu.json", some.iter().sum())] {
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
        let rows = table(run);
        assert!(rows.len() == count && rows.iter().all(|row| row[4] == "pass"), "{run:?}");
        assert!(run.out.contains(&format!("all {count} checks pass on ")), "{run:?}");
        assert!(
            !run.out.contains('\x1b') && run.out.lines().all(|line| line.chars().count() <= 120),
            "{run:?}"
        );
        let report = report(&folder.path().join(file));
        assert_eq!((&report["verdict"], &report["checking"]), (&"pass".into(), &Value::Null));
        assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
        let device = &report["device"];
        assert!(device["name"].is_string() && device["limits"]["threads"].is_u64(), "{device}");
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(findings.len(), count);
        for trial in findings.iter().flat_map(|finding| finding["trials"].as_array().unwrap()) {
            assert!(trial["cases"].as_u64().unwrap() >= 1, "{trial}");
            assert!(trial["worst"].as_f64().unwrap() <= 1.0 && trial["failure"].is_null(), "{trial}");
        }
        for (name, precisions) in
            [("matmul", &["f32", "f16", "bf16"][..]), ("repeatability", &["f32", "f16", "bf16"])]
        {
            let finding = findings.iter().find(|finding| finding["name"] == name).unwrap();
            let trials = finding["trials"].as_array().unwrap();
            for precision in precisions {
                assert!(trials.iter().any(|trial| trial["precision"] == *precision), "{name} in {precision}");
            }
        }
    }
    let gpu = &report(&folder.path().join("gpu.json"))["device"];
    assert!(gpu["adapter"]["features"]["immediates"].is_boolean() && gpu["driver"] != "", "{gpu}");
    assert!(["native", "packed"].contains(&gpu["f16"].as_str().unwrap()), "{gpu}");
}

#[test]
fn a_sabotaged_kernel_is_named() {
    let folder = folder();
    for (args, failed, all) in [
        ("--sabotage lstm_project --only lstm", vec!["lstm_project_forward", "lstm_project_backward"], 4),
        ("--sabotage softmax --only soft --device gpu", vec!["softmax"], 2),
    ] {
        let run = bptt(folder.path(), &format!("check {args} --json report.json"));
        assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{run:?}");
        let rows = table(&run);
        assert_eq!(rows.len(), all, "{run:?}");
        let named: Vec<_> = rows.iter().filter(|row| row[4] == "FAIL").map(|row| row[0]).collect();
        assert_eq!(named, failed);
        assert!(run.out.contains(&format!("made wrong on purpose: {}", failed.join(", "))), "{run:?}");
        // What failed, and by how much.
        assert!(run.out.contains("of the limit) with ") && run.out.contains("cases fail; seed "), "{run:?}");
        assert!(run.out.contains(&format!("{} of {all} checks FAIL on ", failed.len())), "{run:?}");
        assert!(run.out.ends_with("What was made wrong on purpose was found.\n"), "{run:?}");
        let report = report(&folder.path().join("report.json"));
        assert_eq!((&report["verdict"], &report["sabotaged"]), (&"fail".into(), &failed.clone().into()));
        for finding in report["findings"].as_array().unwrap() {
            for trial in finding["trials"].as_array().unwrap() {
                let failure = &trial["failure"];
                assert_eq!(failure.is_null(), !failed.contains(&finding["name"].as_str().unwrap()));
                if !failure.is_null() {
                    assert!(failure["seed"].is_u64() && failure["size"].is_string(), "{failure}");
                    assert!(failure["message"].as_str().unwrap().contains("expected"), "{failure}");
                }
            }
        }
    }
    let run = bptt(folder.path(), "check --sabotage lstm --only adam,softmax");
    assert_eq!(run.failed(2), "--sabotage lstm makes nothing wrong that --only adam,softmax checks");
}

#[test]
fn bad_options() {
    let folder = folder();
    let fails = |args: &str, code| bptt(folder.path(), &format!("check {args}")).failed(code).to_string();
    assert_eq!(fails("--sabotage matmull", 2), "no name begins with 'matmull'; did you mean matmul?");
    // What is no kernel cannot be sabotaged.
    assert!(fails("--sabotage learning", 2).contains("no name begins with 'learning'"));
    assert!(fails("--only fill,nonsense", 2).contains("no name begins with 'nonsense'"));
    assert!(fails("--device nonsense", 2).contains("no device 'nonsense'"));
    assert!(
        fails("--json nowhere/report.json --only fill", 3)
            .contains("nowhere/report.json: cannot be written: there is no folder nowhere")
    );
    assert!(fails("--json", 2).contains("a value is required"));
}
