//! What a profile keeps: the launches, the nodes of the tape that made them, and the host's spans.

mod common;

use bptt::device::{Detail, Device, Profile, Work};
use bptt::prelude::*;
use bptt::tape::ValueKind;
use common::own_devices;

/// A step of a small model: its tape, and what was recorded of it.
struct Recorded {
    tape: Tape,
    loss: Var,
    profile: Profile,
    launches: u64,
}

fn record(device: &Device, detail: Detail) -> Recorded {
    let mut init = Initializer::new(device, 0);
    let config = LstmConfig { input_size: 3, hidden_size: 4, ..LstmConfig::default() };
    let lstm = Lstm::new(&mut init, "lstm", &config).unwrap();
    let fc = LinearConfig { in_features: 4, out_features: 3, bias: true };
    let fc = Linear::new(&mut init, "fc", &fc).unwrap();
    let parameters = init.build().unwrap();
    let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
    let mut tape = Tape::new(&parameters);
    let labels = Indices::new(device, [5, 2], &[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]).unwrap();

    device.start_profile(detail).unwrap();
    let before = device.stats();
    let step = device.span("step");
    let x = labels.one_hot(3).unwrap();
    let x = tape.constant(&x);
    let states = lstm.forward(&mut tape, x, None).unwrap();
    let logits = fc.forward(&mut tape, states.output).unwrap();
    let logits = tape.tanh(logits).unwrap();
    let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default()).unwrap();
    tape.backward(loss).unwrap();
    adam.step(None).unwrap();
    device.submit().unwrap();
    drop(step);
    tape.value(loss).unwrap().to_vec().unwrap();
    let launches = device.stats().dispatches - before.dispatches;
    Recorded { profile: device.finish_profile().unwrap(), tape, loss, launches }
}

#[test]
fn every_launch_is_of_the_node_that_made_it() {
    for device in own_devices() {
        let Recorded { tape, profile, launches, .. } = record(&device, Detail::Launches);
        assert_eq!(profile.launches.len() as u64, launches, "on {device:?}");
        let nodes: Vec<_> = tape.nodes().map(|node| node.name).collect();
        assert_eq!(nodes, ["lstm", "linear", "tanh", "cross_entropy"]);
        let of = |wanted: Work| -> Vec<&str> {
            let made =
                |launch: &&bptt::device::Launch| profile.work(launch).is_some_and(|(work, _)| work == wanted);
            profile.launches.iter().filter(made).map(|launch| launch.plan.kernel.name).collect()
        };
        assert!(of(Work::Forward(Some(0))).contains(&"lstm_forward"), "{:?}", of(Work::Forward(Some(0))));
        assert!(!of(Work::Forward(Some(0))).contains(&"one_hot"), "the input is no part of the layer");
        assert_eq!(of(Work::Forward(Some(2))), ["tanh"]);
        assert_eq!(of(Work::Backward(2)), ["tanh_backward"]);
        assert!(of(Work::Backward(0)).contains(&"lstm_backward"), "{:?}", of(Work::Backward(0)));
        for launch in &profile.launches {
            if let Some((Work::Forward(Some(node)) | Work::Backward(node), name)) = profile.work(launch) {
                assert_eq!(name, nodes[node]);
            }
            let spans: Vec<_> = profile.spans_of(launch).map(|span| span.name).collect();
            assert_eq!(spans.last(), Some(&"step"), "{spans:?}");
        }
        let outside: Vec<_> = profile
            .launches
            .iter()
            .filter(|launch| profile.work(launch).is_none())
            .map(|launch| launch.plan.kernel.name)
            .collect();
        assert!(outside.contains(&"one_hot") && outside.contains(&"adam"), "{outside:?}");
    }
}

#[test]
fn times_lie_where_they_must() {
    for device in own_devices() {
        let Recorded { profile, .. } = record(&device, Detail::Launches);
        for span in &profile.spans {
            assert!(span.start <= span.end, "{span:?}");
            if let Some(parent) = span.parent.map(|index| &profile.spans[index]) {
                assert!(parent.start <= span.start && span.end <= parent.end, "{span:?} in {parent:?}");
            }
        }
        let end = profile.spans.iter().map(|span| span.end).fold(0.0, f64::max);
        for pair in profile.launches.windows(2) {
            assert!(pair[0].recorded <= pair[1].recorded && pair[0].start <= pair[1].start, "on {device:?}");
        }
        for launch in &profile.launches {
            assert!(launch.start <= launch.end && launch.end <= end, "{launch:?} until {end}");
            let span = &profile.spans[launch.span.unwrap()];
            assert!(span.start <= launch.recorded && launch.recorded <= span.end, "{launch:?} of {span:?}");
            // A GPU begins after the host has recorded; the CPU at once.
            assert!(launch.start >= launch.recorded);
        }
        assert!(profile.clock_error >= 0.0 && profile.clock_error < end);
        for time in &profile.kernels {
            let of = profile.launches.iter().filter(|launch| launch.plan.kernel.name == time.kernel);
            let times: Vec<f64> = of.map(|launch| launch.end - launch.start).collect();
            assert_eq!(times.len() as u64, time.launches);
            assert!((times.iter().sum::<f64>() - time.seconds).abs() < 1e-9 * times.len() as f64, "{time:?}");
        }
    }
}

#[test]
fn arguments_are_kept_with_their_bytes() {
    for device in own_devices() {
        let Recorded { profile, .. } = record(&device, Detail::Launches);
        let launch = profile.launches.iter().find(|launch| launch.plan.kernel.name == "tanh").unwrap();
        // [5, 2, 3] reals in and out.
        assert_eq!((&launch.bytes[..], launch.traffic()), (&[120, 120][..], (120, 120)), "{launch:?}");
        assert_eq!(launch.params.len(), launch.plan.kernel.params.len());
        assert_eq!(launch.params[0], 30, "{:?}", launch.plan.kernel.params);
    }
}

#[test]
fn what_is_not_asked_for_is_not_kept() {
    for device in own_devices() {
        let Recorded { profile, launches, .. } = record(&device, Detail::Kernels);
        assert!(profile.launches.is_empty() && profile.spans.is_empty());
        assert_eq!(profile.kernels.iter().map(|time| time.launches).sum::<u64>(), launches);
        let open = device.span("before");
        device.start_profile(Detail::Launches).unwrap();
        drop(open);
        let inside = device.span("inside");
        let profile = device.finish_profile().unwrap();
        drop(inside);
        let names: Vec<_> = profile.spans.iter().map(|span| span.name).collect();
        assert_eq!(names, ["inside"]);
        assert!(device.finish_profile().unwrap().spans.is_empty());
    }
}

#[test]
fn other_threads_launch_without_spans() {
    let device = Device::cpu();
    device.start_profile(Detail::Launches).unwrap();
    let span = device.span("here");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _span = device.span("there");
            Tensor::empty(&device, bptt::kernel::Dtype::F32, [3]).unwrap().fill(1.0).unwrap();
        });
    });
    drop(span);
    let profile = device.finish_profile().unwrap();
    assert_eq!(profile.spans.len(), 1);
    assert_eq!(profile.launches.iter().map(|launch| launch.span).collect::<Vec<_>>(), [None]);
}

#[test]
fn a_tape_tells_what_it_holds() {
    let device = Device::cpu();
    let Recorded { tape, loss, .. } = record(&device, Detail::Kernels);
    let nodes: Vec<_> = tape.nodes().collect();
    let mut names: Vec<String> = tape
        .values()
        .filter_map(|var| match tape.value_info(var).unwrap().kind {
            ValueKind::Parameter(name) => Some(name),
            _ => None,
        })
        .collect();
    names.sort();
    let lstm =
        ["bias_hh_l0", "bias_ih_l0", "weight_hh_l0", "weight_ih_l0"].map(|name| format!("lstm.{name}"));
    assert_eq!(names, [&["fc.bias".into(), "fc.weight".into()], &lstm[..]].concat());
    let input = tape.value_info(nodes[0].inputs[0]).unwrap();
    assert_eq!(
        (&input.shape[..], input.kind, input.requires_grad),
        (&[5, 2, 3][..], ValueKind::Input, false)
    );
    assert_eq!(nodes[1].inputs[0], nodes[0].outputs[0]);
    assert_eq!(
        (nodes[3].outputs.clone(), tape.value_info(loss).unwrap().kind),
        (vec![loss], ValueKind::Output)
    );
    for (at, node) in nodes.iter().enumerate() {
        let known = |var: &Var| nodes[..at].iter().any(|before| before.outputs.contains(var));
        for input in &node.inputs {
            let made = tape.value_info(*input).unwrap().kind == ValueKind::Output;
            assert_eq!(made, known(input), "{node:?}");
        }
    }
    assert!(Tape::without_parameters(&device).value_info(loss).is_err());
}
