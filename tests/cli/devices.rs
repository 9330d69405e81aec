//! Which device a run takes.

use serde_json::Value;

use super::harness::{Run, bptt, command, folder, run};

/// Runs `bptt ARGS` with BPTT_DEVICE as given, where a device cannot be found unless `driver`.
fn with(device: Option<&str>, driver: bool, args: &str) -> Run {
    let folder = folder();
    let mut command = command(folder.path(), args.split_whitespace());
    match device {
        Some(device) => command.env("BPTT_DEVICE", device),
        None => command.env_remove("BPTT_DEVICE"),
    };
    if !driver {
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
    }
    run(command)
}

/// A run on the GPU that every test machine has.
#[track_caller]
fn on_gpu(args: &str) -> Vec<Value> {
    let run = bptt(folder().path(), &format!("{args} --json --device gpu"));
    assert_ne!(
        run.code,
        Some(4),
        "{}\nrun scripts/test, which installs a software GPU where there is none",
        run.err
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    run.events()
}

#[test]
fn the_gpu_learns_what_the_cpu_learns() {
    for (args, most) in
        [("train hihello --steps 30", 1e-4), ("train text --steps 30 --hidden 16 --layers 2", 1e-4)]
    {
        let [gpu, cpu] = [on_gpu(args), bptt(folder().path(), &format!("{args} --json")).events()];
        assert_eq!(gpu.len(), cpu.len());
        for (gpu, cpu) in gpu.iter().zip(&cpu) {
            let [a, b] = [gpu, cpu].map(|event| event["loss"].as_f64().unwrap_or_default());
            assert!((a - b).abs() <= most * b, "{args}: {gpu} on the GPU, {cpu} on the CPU");
        }
        assert_ne!(gpu.last().unwrap()["device"], "cpu");
    }
}

#[test]
fn a_model_of_the_gpu_generates_on_the_cpu() {
    let folder = folder();
    bptt(folder.path(), "train text --steps 5 --hidden 8 --device gpu --out model").done();
    let text = |device| {
        bptt(folder.path(), &format!("generate model --temperature 0 --length 20 --device {device}")).done()
    };
    assert_eq!(text("gpu"), text("cpu"));
}

#[test]
fn listing() {
    let run = with(None, true, "devices --json");
    let events = run.events();
    assert!(run.code == Some(0) && events.len() >= 2, "run scripts/test: no GPU was found: {run:?}");
    assert_eq!(events.iter().filter(|device| device["auto"] == true).count(), 1);
    let gpu = &events[0];
    for key in ["event", "index", "name", "backend", "driver", "type", "limits", "features", "auto"] {
        assert!(!gpu[key].is_null(), "{key}: {gpu}");
    }
    // A GPU made of software is slower than the CPU device.
    assert!(events.iter().all(|device| device["type"] != "software" || device["auto"] == false));
    let lines = with(Some("gpu"), true, "devices").done();
    assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    assert!(lines.contains("BPTT_DEVICE=gpu overrides auto"), "{lines}");
    // Index and part of the name name it too.
    let name = gpu["name"].as_str().unwrap().split(' ').next().unwrap();
    for device in ["0", name] {
        with(Some(device), true, "train hihello --steps 1").done();
    }
}

#[test]
fn what_of_the_list_is_not_used_is_said() {
    let folder = folder();
    let mut command = command(folder.path(), ["devices"]);
    command.env("BPTT_DEFAULT_LIMITS", "1").env("BPTT_PACKED_F16", "0");
    let out = run(command).done();
    assert!(
        out.contains("\nBPTT_DEFAULT_LIMITS=1: whatever is listed, bptt keeps to WebGPU's default"),
        "{out}"
    );
    assert!(!out.contains("PACKED"), "{out}");
}

#[test]
fn names_that_are_none() {
    let train = "train hihello --steps 1";
    let failed = |device, args: &str| with(device, true, args).failed(2).to_string();
    assert!(
        failed(None, &format!("{train} --device 99"))
            .starts_with("no device '99': there are auto, cpu, gpu and 0 (")
    );
    assert!(
        failed(Some("nonsense"), train)
            .starts_with("no device 'nonsense': BPTT_DEVICE asks for it; there are auto")
    );
    let empty = run(command(folder().path(), ["train", "hihello", "--device", " "]));
    assert!(empty.failed(2).starts_with("no device ''"));
    // What is named on the command line goes before the variable; an empty variable is none.
    with(Some("nonsense"), true, &format!("{train} --device cpu")).done();
    with(Some(""), true, train).done();
}

#[cfg(target_os = "linux")]
#[test]
fn no_driver() {
    let train = "train hihello --steps 1 --json";
    for (device, args) in [(None, "--device gpu"), (Some("gpu"), "")] {
        let run = with(device, false, &format!("{train} {args}"));
        let sentence = run.failed(4);
        assert!(
            sentence.contains("looked for adapters of Vulkan, Metal and DX12 and found none"),
            "{sentence}"
        );
        assert!(sentence.contains("apt install mesa-vulkan-drivers"), "{sentence}");
    }
    with(None, false, &format!("{train} --device 0")).failed(2);
    assert_eq!(with(None, false, &format!("{train} --device auto")).events().pop().unwrap()["device"], "cpu");
    assert!(with(None, false, "devices").done().contains("No GPU driver was found"));
}

/// Mesa's device selection layer must not complain of a missing display in the command's name.
#[test]
fn no_display() {
    let folder = folder();
    let mut command = command(folder.path(), ["devices"]);
    command.env_remove("XDG_RUNTIME_DIR").env_remove("WAYLAND_DISPLAY");
    assert_eq!(run(command).err, "");
}
