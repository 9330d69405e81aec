//! `bptt trace`: what the file holds, and what the command refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bptt::device::Device;
use bptt::train::{Config, Experiment, Source, plan_memory};
use serde_json::Value;

use super::harness::{bptt, folder};

/// An event of a trace that takes time, in nanoseconds.
#[derive(Debug)]
struct Event {
    name: String,
    kind: String,
    track: (u64, u64),
    start: u64,
    end: u64,
    args: Value,
}

/// The events of a trace, where each has what viewers ask for.
fn events(path: &Path) -> Vec<Event> {
    let trace: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut tracks = BTreeSet::new();
    let mut events = Vec::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let nanoseconds = |key: &str| {
            let us = event[key].as_f64().unwrap_or_else(|| panic!("{key} of {event}"));
            let whole = (us * 1e3).round();
            assert!(us >= 0.0 && (us * 1e3 - whole).abs() < 1e-3, "{key} of {event}");
            whole as u64
        };
        let (start, length) = (nanoseconds("ts"), nanoseconds("dur"));
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let name = event["name"].as_str().unwrap().to_string();
        match event["ph"].as_str().unwrap() {
            "M" => drop(tracks.insert((name, track, event["args"]["name"].as_str().unwrap().to_string()))),
            "X" => events.push(Event {
                name,
                kind: event["cat"].as_str().unwrap().into(),
                track,
                start,
                end: start + length,
                args: event["args"].clone(),
            }),
            other => panic!("a phase {other}"),
        }
    }
    for process in events.iter().map(|event| event.track.0) {
        assert!(tracks.iter().any(|(what, track, _)| what == "process_name" && track.0 == process));
    }
    events
}

/// On each track what overlaps lies inside the other. Gives, of each event, the name of the one around it.
fn around(events: &[Event]) -> BTreeMap<usize, &Event> {
    let mut around = BTreeMap::new();
    let tracks: BTreeSet<_> = events.iter().map(|event| event.track).collect();
    for track in tracks {
        let mut order: Vec<usize> = (0..events.len()).filter(|i| events[*i].track == track).collect();
        order.sort_by_key(|i| (events[*i].start, std::cmp::Reverse(events[*i].end)));
        let mut open: Vec<usize> = Vec::new();
        for i in order {
            while open.last().is_some_and(|outer| events[*outer].end <= events[i].start) {
                open.pop();
            }
            if let Some(outer) = open.last() {
                let (outer, inner) = (&events[*outer], &events[i]);
                assert!(inner.end <= outer.end, "{inner:?} is cut by the end of {outer:?}");
                around.insert(i, outer);
            }
            open.push(i);
        }
    }
    around
}

fn of_kind<'e>(events: &'e [Event], kind: &str) -> Vec<&'e Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

/// The launches in a step, as they are counted by a device that computes nothing.
fn planned(experiment: Experiment) -> u64 {
    let mut config = Config::defaults(experiment);
    if experiment == Experiment::Text {
        (config.train.batch, config.train.sequence) = (1, 16);
    }
    let source = Source::read(&config).unwrap();
    plan_memory(&Device::cpu(), &config, &source).unwrap().launches
}

#[test]
fn every_experiment_has_a_trace() {
    let folder = folder();
    for experiment in Experiment::ALL {
        let name = experiment.name();
        let run = bptt(folder.path(), &format!("trace {name} --steps 2 --warmup 1 --json"));
        let done = run.events().pop().unwrap_or_else(|| panic!("{run:?}"));
        let events = events(&folder.path().join("trace.json"));
        let kernels = of_kind(&events, "kernel");
        assert_eq!(done["launches"], kernels.len(), "{name}");
        assert_eq!(kernels.len() as u64, 2 * planned(experiment), "{name}");
        assert_eq!(done["losses"].as_array().unwrap().len(), 2);
        assert_eq!(events.iter().filter(|event| event.name == "step").count(), 2);
        let around = around(&events);
        for (i, event) in events.iter().enumerate() {
            match event.kind.as_str() {
                // On the CPU a kernel runs where it is launched.
                "kernel" => {
                    let outer = around[&i];
                    assert_eq!(event.track, (1, 1));
                    assert!(
                        event.args["grid"].as_array().unwrap().len() == 3 && event.args["bytes"].is_object()
                    );
                    assert_eq!(event.args["operation"], outer.name, "{event:?}");
                    assert_eq!(event.args["node"], outer.args["node"], "{event:?}");
                }
                "forward" | "backward" => assert_eq!(around[&i].name, event.kind, "{event:?}"),
                "host" => {
                    let outer = around.get(&i).map(|outer| outer.name.as_str());
                    let of_step = ["forward", "backward", "optimizer"].contains(&event.name.as_str());
                    assert_eq!(outer == Some("step"), of_step, "{event:?} in {outer:?}");
                }
                other => panic!("a kind {other}"),
            }
        }
        // Each node of the tape is computed, and has its gradients computed after that, in each step.
        let nodes = |kind| -> Vec<u64> {
            of_kind(&events, kind).iter().filter_map(|event| event.args["node"].as_u64()).collect()
        };
        let mut forward = nodes("forward");
        let mut backward = nodes("backward");
        assert!(!forward.is_empty() && forward.len().is_multiple_of(2));
        forward.sort();
        backward.sort();
        assert_eq!(forward, backward, "{name}");
    }
}

#[test]
fn a_gpu_has_a_track_of_its_own() {
    let folder = folder();
    for name in ["hihello", "timeseries --batch 100 --accumulate 2"] {
        let run = bptt(folder.path(), &format!("trace {name} --steps 3 --device gpu --out gpu.json --json"));
        let done = run.events().pop().unwrap_or_else(|| panic!("{run:?}"));
        let events = events(&folder.path().join("gpu.json"));
        let kernels = of_kind(&events, "kernel");
        assert_eq!(done["launches"], kernels.len());
        let around = around(&events);
        let submits: Vec<_> = events.iter().filter(|event| event.name == "submit").collect();
        assert_eq!(done["submits"], submits.len());
        assert!(events.iter().any(|event| event.name == "wait"));
        let host_end = events.iter().filter(|event| event.track.0 == 1).map(|event| event.end).max().unwrap();
        for kernel in &kernels {
            assert_eq!(kernel.track.0, 2);
            // It is handed over after it has been recorded, and its results are there before the host is done.
            let recorded = (kernel.args["recorded_us"].as_f64().unwrap() * 1e3) as u64;
            let handed = submits.iter().find(|submit| submit.end > recorded).unwrap();
            assert!(kernel.start >= handed.start && kernel.end <= host_end, "{kernel:?} in {handed:?}");
        }
        assert!(kernels.iter().any(|kernel| kernel.args["pass"] == "backward" && kernel.args["node"] == 0));
        let steps = events.iter().filter(|event| event.name == "step").count();
        assert_eq!(steps, 3);
        let inside = |i: &usize| around.get(i).map(|outer| outer.name.as_str());
        let forwards =
            (0..events.len()).filter(|i| events[*i].kind == "host" && events[*i].name == "forward");
        let forwards: Vec<_> = forwards.collect();
        assert_eq!(forwards.len(), if name == "hihello" { 3 } else { 6 }, "one for each part of a batch");
        assert!(forwards.iter().all(|i| inside(i) == Some("step")));
    }
}

#[test]
fn what_cannot_be_traced() {
    let folder = folder();
    let fails = |args: &str, code| bptt(folder.path(), args).failed(code).to_string();
    let says = fails("trace hihello --out trace.svg", 2);
    assert_eq!(says, "--out trace.svg: name a file that ends with .json");
    let says = fails("trace hihello --out nowhere/trace.json", 3);
    assert!(says.starts_with("nowhere/trace.json: cannot be written"), "{says}");
    fs::create_dir(folder.path().join("a.json")).unwrap();
    assert_eq!(fails("trace hihello --out a.json", 3), "a.json: is a folder, not a file");
    let says = fails("trace hihelo", 2);
    assert!(says.contains("invalid value 'hihelo'") && says.contains("hihello"), "{says}");
    assert!(fails("trace", 2).starts_with("name an experiment ("));
    assert!(fails("trace hihello --steps 0", 2).contains("--steps"));
    assert_eq!(fails("trace hihello --sequence 5", 2), "--sequence is no option of hihello");
    let says = fails("trace text --file none.txt", 3);
    assert!(says.contains("none.txt"), "{says}");
    // Nothing is left of any of them.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_settings_of_a_run_are_looked_at() {
    let folder = folder();
    let path = folder.path();
    let options = "timeseries --cell gru --hidden 7 --batch 100";
    bptt(path, &format!("train {options} --steps 2 --out run")).done();
    // Options beside the file win.
    bptt(path, "trace --config run/config.toml --steps 1 --warmup 0 --lr 0.5").done();
    let trace: Value = serde_json::from_str(&fs::read_to_string(path.join("trace.json")).unwrap()).unwrap();
    let settings = trace["otherData"]["settings"].as_str().unwrap();
    for line in ["cell = \"gru\"", "hidden = 7", "batch = 100", "lr = 0.5"] {
        assert!(settings.lines().any(|found| found == line), "{line} is not in {settings}");
    }
    bptt(path, "graph --config run/config.toml --out of_file.dot").done();
    bptt(path, &format!("graph {options} --out of_options.dot")).done();
    let [of_file, of_options] =
        ["of_file.dot", "of_options.dot"].map(|name| fs::read_to_string(path.join(name)).unwrap());
    assert_eq!(of_file, of_options);
    let sentence = bptt(path, "graph text --config run/config.toml").failed(2).to_string();
    assert_eq!(sentence, "run/config.toml is of the experiment timeseries, not text");
}

#[test]
fn a_batch_is_not_taken_in_more_parts_than_it_has_rows() {
    let folder = folder();
    for (args, most) in [
        ("trace text --batch 2 --sequence 4 --accumulate 3", "a batch can be taken in 2 parts at most"),
        ("graph text --batch 1 --accumulate 2", "a batch cannot be taken in parts here: it has one row"),
        ("graph timeseries --accumulate 1000", "a batch can be taken in 505 parts at most"),
    ] {
        let run = bptt(folder.path(), args);
        let sentence = run.failed(2);
        assert!(sentence.starts_with("--accumulate ") && sentence.ends_with(most), "{args}: {sentence}");
    }
}
