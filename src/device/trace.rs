//! A profile in the format of Chrome's trace events, which <https://ui.perfetto.dev> and chrome://tracing show.
//!
//! The host is a process with one track of spans that lie inside each other. The GPU is another process, with one track, or
//! more where it runs several launches at once. On the CPU device kernels run where they are launched, inside the host's
//! spans.

use serde_json::{Map, Value, json};

use super::{Device, Launch, Profile, Work};
use crate::kernel::Processor;

/// The processes of a trace.
const HOST: u32 = 1;
const GPU: u32 = 2;

impl Profile {
    /// The trace of what `device` did, with what is known `about` it, by name.
    pub fn trace(&self, device: &Device, about: &[(&str, String)]) -> Value {
        let mut events = vec![named("process_name", HOST, "host"), named("thread_name", HOST, "training")];
        for span in &self.spans {
            let (kind, node) = match span.work {
                Work::Forward(node) => ("forward", node),
                Work::Backward(node) => ("backward", Some(node)),
                Work::Other => ("host", None),
            };
            let args = node.map_or(json!({}), |node| json!({"node": node}));
            events.push(event(span.name, kind, [HOST, 1], [span.start, span.end], args));
        }
        let on_host = device.limits().processor == Processor::Cpu;
        if !on_host {
            events.push(named("process_name", GPU, &device.info().to_string()));
            events.push(named("thread_name", GPU, "kernels"));
        }
        let mut tracks = Tracks::default();
        for launch in &self.launches {
            let track = if on_host { [HOST, 1] } else { [GPU, tracks.take(launch)] };
            let args = self.args(launch);
            events.push(event(launch.plan.kernel.name, "kernel", track, [launch.start, launch.end], args));
        }
        let mut other: Map<String, Value> = Map::new();
        other.insert("device".into(), device.info().to_string().into());
        if !on_host {
            other.insert("gpu_may_be_later_by_us".into(), microseconds(nanoseconds(self.clock_error)));
        }
        other.extend(about.iter().map(|(name, value)| ((*name).into(), value.as_str().into())));
        json!({"traceEvents": events, "displayTimeUnit": "ns", "otherData": other})
    }

    /// What is known of a launch.
    fn args(&self, launch: &Launch) -> Value {
        let Launch { plan, params, bytes, .. } = launch;
        let kernel = plan.kernel;
        let arguments = kernel.args.iter().zip(bytes);
        let arguments: Map<String, Value> =
            arguments.map(|(declared, bytes)| (declared.name.into(), (*bytes).into())).collect();
        let words = kernel.params.iter().zip(params).map(|((name, kind), word)| {
            let value = match *kind {
                "f32" => f32::from_bits(*word).into(),
                "i32" => (*word as i32).into(),
                _ => (*word).into(),
            };
            ((*name).into(), value)
        });
        let (read, written) = launch.traffic();
        let mut args = json!({
            "variant": kernel.variants[plan.variant].name, "grid": plan.grid, "bytes_read": read,
            "bytes_written": written, "bytes": arguments, "params": words.collect::<Map<String, Value>>(),
            "recorded_us": microseconds(nanoseconds(launch.recorded)),
        });
        if let Some((work, operation)) = self.work(launch) {
            args["operation"] = operation.into();
            (args["pass"], args["node"]) = match work {
                Work::Forward(node) => ("forward".into(), node.into()),
                Work::Backward(node) => ("backward".into(), node.into()),
                Work::Other => unreachable!("it is of a tape's work"),
            };
        } else if let Some(span) = self.spans_of(launch).next() {
            args["operation"] = span.name.into();
        }
        args
    }
}

/// Hands out the GPU's tracks, so that no launch begins before the one before it on its track has ended: one track, unless the
/// GPU runs several launches at once.
#[derive(Default)]
struct Tracks {
    /// When the last launch ends on each.
    ends: Vec<u64>,
}

impl Tracks {
    fn take(&mut self, launch: &Launch) -> u32 {
        let free = self.ends.iter().position(|end| *end <= nanoseconds(launch.start));
        let track = free.unwrap_or_else(|| {
            self.ends.push(0);
            self.ends.len() - 1
        });
        self.ends[track] = nanoseconds(launch.end);
        track as u32 + 1
    }
}

/// Rounded from below, so that what lies inside stays inside.
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// The unit of the format.
fn microseconds(nanoseconds: u64) -> Value {
    (nanoseconds as f64 / 1e3).into()
}

/// A complete event, on a track of a process.
fn event(name: &str, kind: &str, [process, track]: [u32; 2], time: [f64; 2], args: Value) -> Value {
    let [start, end] = time.map(nanoseconds);
    json!({
        "name": name, "cat": kind, "ph": "X", "ts": microseconds(start), "dur": microseconds(end - start),
        "pid": process, "tid": track, "args": args,
    })
}

/// The name of a process, or of its first track.
fn named(what: &str, process: u32, name: &str) -> Value {
    json!({"name": what, "ph": "M", "ts": 0, "dur": 0, "pid": process, "tid": 1, "args": {"name": name}})
}
