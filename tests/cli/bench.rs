//! `bptt bench` and `bptt train --profile`: what they print and write. How long things take is not tested.

use std::path::Path;

use bptt::device::Device;
use bptt::kernel::SUBGROUP;
use serde_json::Value;

use super::harness::{bptt, folder};

/// Measures too shortly to mean anything.
fn bench(folder: &Path, args: &str) -> super::harness::Run {
    bptt(folder, &format!("bench {args} --seconds 0.02"))
}

fn results(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn training_steps_are_measured_and_written() {
    for device in ["cpu", "gpu"] {
        let folder = folder();
        let out =
            bench(folder.path(), &format!("train --only hihello --json r.json --device {device}")).done();
        assert!(out.contains("hihello") && out.contains("parameters"), "{out}");
        let document = results(&folder.path().join("r.json"));
        assert!(document["device"].is_string() && document["driver"].is_string());
        let [result] = &document["results"].as_array().unwrap()[..] else { panic!("one case: {document}") };
        assert_eq!(result["case"], "hihello");
        assert_eq!(result["params"], 60);
        let number = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("{key} in {result}"));
        assert!(0.0 < number("min") && number("min") <= number("ms") && number("ms") <= number("max"));
        assert!(number("n") >= 1.0 && number("dispatches") >= 1.0 && number("bytes_peak") > 0.0);
        assert!(number("loss_last") < number("loss_first"), "it trains: {result}");
    }
}

#[test]
fn every_precision_is_measured_beside_f32() {
    for device in ["cpu", "gpu"] {
        let folder = folder();
        let args = format!("train --only hihello --precision bf16,f32,f16 --json r.json --device {device}");
        let out = bench(folder.path(), &args).done();
        assert!(out.contains("off f32") && out.contains(" bf16 "), "{out}");
        let document = results(&folder.path().join("r.json"));
        let all = document["results"].as_array().unwrap();
        let precisions: Vec<&str> = all.iter().map(|result| result["precision"].as_str().unwrap()).collect();
        assert_eq!(precisions, ["f32", "f16", "bf16"]);
        assert!(all.iter().all(|result| result["case"] == "hihello"));
        assert!(all[0]["difference_from_f32"].is_null());
        for half in &all[1..] {
            let off = half["difference_from_f32"].as_f64().unwrap();
            assert!(0.0 < off && off < 0.05, "{half}");
        }
        // Each is compared with its own.
        let args = format!("train --only hihello --precision f16 --compare r.json --device {device}");
        assert!(bench(folder.path(), &args).done().contains("x  "));
        let old = serde_json::json!({ "results": [{ "case": "hihello", "ms": 1.0 }] }).to_string();
        std::fs::write(folder.path().join("old.json"), old).unwrap();
        let compared = |precision: &str| {
            let args =
                format!("train --only hihello --precision {precision} --compare old.json --device {device}");
            bench(folder.path(), &args).done()
        };
        assert!(compared("f16").contains("new") && !compared("f32").contains("new"));
    }
}

#[test]
fn kernels_in_half_precision_move_half_the_bytes() {
    let folder = folder();
    // sgd changes parameters, which are in 32 bits always.
    let args =
        "kernels --only sgemm_256,table/lstm_forward,table/fill,table/sgd --precision f32,f16 --json r.json";
    bench(folder.path(), args).done();
    let document = results(&folder.path().join("r.json"));
    let number = |case: &str, precision: &str, key: &str| {
        let all = document["results"].as_array().unwrap();
        let found = all.iter().find(|result| result["case"] == case && result["precision"] == precision);
        found.map(|result| result[key].as_f64().unwrap())
    };
    let megabytes =
        |case, precision| Some(number(case, precision, "gb_per_s")? * number(case, precision, "ms")?);
    let ratio = |case| megabytes(case, "f16").unwrap() / megabytes(case, "f32").unwrap();
    for case in ["sgemm_256", "table/fill", "table/lstm_forward"] {
        assert!((ratio(case) - 0.5).abs() < 1e-6, "{case}: {}", ratio(case));
    }
    assert_eq!(megabytes("table/sgd", "f16"), None);
    let off = number("sgemm_256", "f16", "difference_from_f32").unwrap();
    assert!(1e-5 < off && off < 1e-3, "{off}: roundings of 2^-11");
}

#[test]
fn the_memory_of_a_case_is_its_own() {
    let folder = folder();
    bench(folder.path(), "train --only hihello,charlm --precision f32,f16 --json all.json").done();
    bench(folder.path(), "train --only hihello --precision f16 --json one.json").done();
    let peaks = |file: &str| -> Vec<u64> {
        let document = results(&folder.path().join(file));
        let all = document["results"].as_array().unwrap();
        all.iter().map(|result| result["bytes_peak"].as_u64().unwrap()).collect()
    };
    let [hihello, in_half, charlm, charlm_in_half] = peaks("all.json")[..] else { panic!("four results") };
    assert!(hihello < charlm);
    assert_eq!(peaks("one.json"), [in_half], "whatever was measured before");
    assert!(charlm_in_half < charlm);
}

#[test]
fn kernels_are_measured_beside_what_the_device_can_do() {
    let folder = folder();
    let args = "kernels --only sgemm_256,table/fill --json r.json";
    let out = bench(folder.path(), args).done();
    assert!(out.contains("GB/s") && out.contains("sgemm_256") && out.contains('%'), "{out}");
    let document = results(&folder.path().join("r.json"));
    assert!(document["copy_gb_per_s"].as_f64().unwrap() > 0.0);
    assert!(document["peak_gflops"].as_f64().unwrap() > 0.0);
    let all = document["results"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0]["gflops"].as_f64().unwrap() > 0.0 && all[1]["gb_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn kernels_of_the_table_can_be_measured_on_a_gpu() {
    let folder = folder();
    // The smallest ones: that all variants have cases that fit is a test of the library.
    let limits = *Device::named("gpu").unwrap().limits();
    let lanes = (limits.subgroup == SUBGROUP.subgroup).then_some("table/rnn_forward_lanes_of_four");
    for name in ["table/begin_step", "table/rnn_forward_tiles"].into_iter().chain(lanes) {
        let out = bench(folder.path(), &format!("kernels --only {name} --device gpu")).done();
        assert!(out.lines().any(|line| line.starts_with(name)), "{out}");
    }
}

#[test]
fn cases_are_chosen_by_the_beginnings_of_names() {
    let folder = folder();
    let cases = |args: &str| -> Vec<String> {
        let out = bench(folder.path(), args).done();
        let lines = out.lines().filter(|line| line.contains("f32") && !line.starts_with("ms"));
        lines.map(|line| line.split(' ').next().unwrap().to_string()).collect()
    };
    assert_eq!(cases("kernels --only fill,table/begin"), ["table/fill", "table/begin_step"]);
    // A whole name is that case alone, also where others begin with it.
    assert_eq!(cases("kernels --only table/sigmoid"), ["table/sigmoid"]);
    assert_eq!(cases("dispatch --only s"), ["submit"]);
}

#[test]
fn launches_are_measured() {
    let folder = folder();
    let out = bench(folder.path(), "dispatch").done();
    assert!(["dispatch", "submit", "read_back"].iter().all(|name| out.contains(name)), "{out}");
}

#[test]
fn an_earlier_run_is_compared_with() {
    let folder = folder();
    bench(folder.path(), "dispatch --only submit --json old.json").done();
    let out = bench(folder.path(), "dispatch --compare old.json").done();
    let line = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    assert!(line("submit").contains("x  "), "{out}");
    assert!(line("read_back").contains("new"), "{out}");
    assert!(!out.contains("another device"), "{out}");
    let out = bench(folder.path(), "dispatch --only submit --compare old.json --device gpu").done();
    assert!(out.contains("measured on another device: cpu"), "{out}");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_measured() {
    let folder = folder();
    let failed = |args: &str, code| bench(folder.path(), args).failed(code).to_string();
    assert!(
        failed("train --only nothing", 2)
            .contains("no case begins with 'nothing'; there are hihello, longseq")
    );
    assert!(failed("train --device nothing", 2).contains("nothing"));
    assert_eq!(
        failed("train --json missing/r.json", 3),
        "missing/r.json: cannot be written: there is no folder missing"
    );
    for what in ["kernels", "dispatch"] {
        assert!(failed(&format!("{what} --set peers"), 2).starts_with("--set says which training steps"));
    }
    assert!(failed("train --compare missing.json", 3).contains("missing.json: no such file"));
    std::fs::write(folder.path().join("bad.json"), "{}").unwrap();
    assert!(failed("train --compare bad.json", 3).contains("holds no results"));
    assert_eq!(bptt(folder.path(), "bench train --seconds 0").code, Some(2));
    assert!(failed("train --precision f64", 2).contains("'f64'"));
}

/// What a step takes is the same, be there validations and checkpoints or not.
#[test]
fn a_profile_is_of_steps_alone() {
    for device in ["cpu", "gpu"] {
        let folder = folder();
        let profile = |args: &str| {
            let args =
                format!("train text --hidden 8 --batch 2 --sequence 8 --steps 4 --profile --json {args}");
            let events = bptt(folder.path(), &format!("{args} --device {device}")).events();
            let event = events.into_iter().find(|event| event["event"] == "profile").expect("a profile");
            let kernels = event["kernels"].as_array().unwrap().iter();
            let mut launches: Vec<_> = kernels
                .map(|kernel| (kernel["kernel"].to_string(), kernel["launches"].to_string()))
                .collect();
            launches.sort();
            (event["launches"].to_string(), event["submits"].as_f64().unwrap(), launches)
        };
        let seldom = profile("--validate-every 4");
        let often = profile("--validate-every 1 --checkpoint-every 1");
        assert_eq!((&seldom.0, &seldom.2), (&often.0, &often.2));
        assert!(seldom.1 <= 1.0 && often.1 <= 1.0, "{} and {} submissions", seldom.1, often.1);
    }
}

#[test]
fn a_profile_tells_launches_and_time_by_kernel() {
    for device in ["cpu", "gpu"] {
        let folder = folder();
        let args = format!("train hihello --steps 5 --profile --device {device}");
        let out = bptt(folder.path(), &args).done();
        assert!(out.contains("a step: ") && out.contains("rnn_forward"), "{out}");
        let events = bptt(folder.path(), &format!("{args} --json")).events();
        let profile = events.iter().find(|event| event["event"] == "profile").expect("a profile");
        assert!(profile["launches"].as_f64().unwrap() > 5.0 && profile["bytes_peak"].as_u64().unwrap() > 0);
        assert_eq!(events[0]["event"], "memory", "before any step");
        for bytes in ["bytes_peak", "bytes_held"] {
            assert_eq!(events[0][bytes], profile[bytes], "what was planned was taken on {device}");
        }
        let kernels = profile["kernels"].as_array().unwrap();
        let adam = kernels.iter().find(|kernel| kernel["kernel"] == "adam").expect("Adam's kernel");
        assert_eq!(adam["launches"], 1.0);
    }
}
