//! A training step taken apart: the tape node by node with every launch, why each kernel runs as it does, and what that costs
//! ([`explain`]); the schedules of a recurrent layer side by side ([`schedules`]); and the numbers themselves on their way
//! through a small network ([`Walk`]). All of it is read off the very code that trains.

mod at;
mod choice;
mod schedules;
mod sources;
mod steps;
mod walk;

use serde::Serialize;

use crate::bench::Roofline;
use crate::cpu::work::work;
use crate::device::{Detail, Launch, Profile, Work};
use crate::error::Result;
use crate::kernel::{Access, Dtype};
use crate::tape::{NodeInfo, Tape, ValueInfo, ValueKind, Var};

pub use at::{At, Line, Products, Term};
pub use choice::{Choice, Estimate};
pub use schedules::{Compared, LayerSchedules, schedules};
pub use sources::{Shader, find_kernel, shader, twin};
pub use steps::{LayerSizes, OfExperiment, OfLayer, Steps};
pub use walk::{Affine, Gradient, Matrix, Outputs, Target, Walk, WalkLayer};

/// What a step is made of.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The device.
    pub device: String,
    /// The loss of the last step, before its update.
    pub loss: f32,
    /// Seconds in kernels.
    pub seconds: f64,
    /// The parts, in the order in which they are done.
    pub parts: Vec<Part>,
}

/// A node of the tape on its way forward or backward, or something beside the tape.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// `forward`, `backward`, or what else the host was doing, `optimizer` say.
    pub pass: String,
    /// The node's number.
    pub node: Option<usize>,
    /// The operation.
    pub operation: String,
    /// The operation's own words, from the documentation of its method of [`Tape`].
    pub about: Vec<String>,
    /// What it takes: names and shapes.
    pub inputs: Vec<String>,
    /// What it gives.
    pub outputs: Vec<String>,
    /// The launches.
    pub launches: Vec<Explanation>,
}

/// A launch, or several in succession that differ in the steps they make alone.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The kernel.
    pub kernel: &'static str,
    /// What it computes, from its shader's header.
    pub equations: Vec<String>,
    /// How many launches they are.
    pub count: usize,
    /// The variant.
    pub variant: &'static str,
    /// The files of its shader.
    pub files: Vec<&'static str>,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
    /// The parameters of the first launch, by name.
    pub params: Vec<(&'static str, f64)>,
    /// Why it runs so, where it could run in several ways.
    pub choice: Option<Choice>,
    /// The buffers.
    pub arguments: Vec<Argument>,
    /// Operations on real numbers, where they are known: see [`Work`](crate::cpu::work::Work).
    pub operations: Option<u64>,
    /// Bytes that have to be read and written.
    pub bytes: u64,
    /// Operations for each of these bytes.
    pub intensity: Option<f64>,
    /// The seconds that no kernel can be quicker than, and what keeps it from that, where the device's limits are known.
    pub bound: Option<Bound>,
    /// Seconds that it took: the median of the recorded steps.
    pub seconds: f64,
}

/// The least time of a launch by the device's roofline.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bound {
    /// Seconds.
    pub seconds: f64,
    /// `memory` or `arithmetic`.
    pub by: &'static str,
}

/// An argument of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// Its name in shader and twin.
    pub name: &'static str,
    /// `read`, `write` or `update`, as the kernel declares it.
    pub access: &'static str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Bytes that are bound.
    pub bytes: u64,
    /// Bytes that have to be read: what the launch makes itself is not among them.
    pub read: u64,
    /// Bytes that have to be written.
    pub written: u64,
}

/// Makes `warmup` steps and then some that are recorded, and takes the last apart. Bounds are given where the device's
/// limits are.
///
/// # Errors
/// Those of the steps; [`Error::Gpu`](crate::error::Error::Gpu) where the adapter has no timestamps.
pub fn explain(steps: &mut dyn Steps, warmup: usize, roofline: Option<&Roofline>) -> Result<Explained> {
    /// Recorded steps: the median of their times counts.
    const STEPS: usize = 5;
    for _ in 0..warmup {
        steps.step()?;
        steps.tape().device().submit()?;
    }
    let mut profiles = Vec::new();
    let mut loss = None;
    for _ in 0..STEPS {
        let device = steps.tape().device().clone();
        device.start_profile(Detail::Launches)?;
        let stepped = steps.step();
        profiles.push(device.finish_profile()?);
        loss = Some(stepped?);
    }
    let tape = steps.tape();
    let loss = tape.value(loss.expect("a step was made"))?.to_vec()?[0];
    let last = profiles.last().expect("a step was recorded");
    let times: Vec<f64> = (0..last.launches.len()).map(|index| median(&profiles, index)).collect();
    let mut explained = Explained {
        device: tape.device().info().to_string(),
        loss,
        seconds: times.iter().sum(),
        parts: Vec::new(),
    };
    let nodes: Vec<NodeInfo> = tape.nodes().collect();
    let mut of_last = None;
    for (launch, seconds) in last.launches.iter().zip(times) {
        let of = last.work(launch).map_or((Work::Other, beside(last, launch)), |(work, name)| (work, name));
        if of_last != Some(of) {
            of_last = Some(of);
            explained.parts.push(part(tape, &nodes, of)?);
        }
        let part = explained.parts.last_mut().expect("there is one now");
        let explanation = explanation(tape, launch, seconds, roofline);
        match part.launches.last_mut().filter(|before| before.goes_on_as(&explanation)) {
            Some(before) => before.add(&explanation, roofline),
            None => part.launches.push(explanation),
        }
    }
    Ok(explained)
}

/// The span that a launch beside the tape is of: the outermost, `optimizer` say.
fn beside(profile: &Profile, launch: &Launch) -> &'static str {
    profile.spans_of(launch).last().map_or("other", |span| span.name)
}

/// The median time of a launch over steps that do the same; else that of the last.
fn median(profiles: &[Profile], index: usize) -> f64 {
    let last = &profiles[profiles.len() - 1].launches;
    let name = last[index].plan.kernel.name;
    let of = |profile: &Profile| {
        let launch = profile.launches.get(index).filter(|launch| launch.plan.kernel.name == name)?;
        Some(launch.end - launch.start)
    };
    let mut times: Vec<f64> =
        profiles.iter().filter(|profile| profile.launches.len() == last.len()).filter_map(of).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn part(tape: &Tape, nodes: &[NodeInfo], (work, name): (Work, &'static str)) -> Result<Part> {
    let (pass, node) = match work {
        Work::Forward(node) => ("forward", node),
        Work::Backward(node) => ("backward", Some(node)),
        Work::Other => (name, None),
    };
    let describe = |vars: &[Var]| vars.iter().map(|var| value(tape, *var)).collect::<Result<Vec<_>>>();
    // Of a batch in parts the tape is that of the last.
    let info = node.and_then(|node| nodes.get(node)).filter(|info| info.name == name);
    let (inputs, outputs) = match info {
        Some(info) => (describe(&info.inputs)?, describe(&info.outputs)?),
        None => Default::default(),
    };
    let about = if work == Work::Other { Vec::new() } else { sources::about(name) };
    let (pass, operation) = (pass.into(), name.into());
    Ok(Part { pass, node, operation, about, inputs, outputs, launches: Vec::new() })
}

/// A value of the tape, as `NAME [SHAPE]`.
fn value(tape: &Tape, var: Var) -> Result<String> {
    let ValueInfo { shape, dtype, kind, .. } = tape.value_info(var)?;
    let name = match kind {
        ValueKind::Parameter(name) => name,
        ValueKind::Input => "input".into(),
        ValueKind::Output => format!("value {}", var.index()),
    };
    let stored = if dtype == Dtype::F32 { String::new() } else { format!(" {}", dtype.name()) };
    Ok(format!("{name} {shape:?}{stored}"))
}

fn explanation(tape: &Tape, launch: &Launch, seconds: f64, roofline: Option<&Roofline>) -> Explanation {
    let kernel = launch.plan.kernel;
    let variant = &kernel.variants[launch.plan.variant];
    let sizes = launch.storage.map(|dtype| dtype.size() as u64);
    let work = least(launch);
    let mut arguments = Vec::new();
    for (i, declared) in kernel.args.iter().enumerate() {
        let [read, written] = work.elements[i].map(|count| count * sizes[i]);
        let access = match declared.access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Update => "update",
        };
        let (name, dtype, bytes) = (declared.name, launch.storage[i], launch.bytes[i]);
        arguments.push(Argument { name, access, dtype, bytes, read, written });
    }
    let params = kernel.params.iter().zip(&launch.params).map(|((name, kind), word)| {
        let value = match *kind {
            "f32" => f32::from_bits(*word).into(),
            "i32" => f64::from(*word as i32),
            _ => f64::from(*word),
        };
        (*name, value)
    });
    let mut explanation = Explanation {
        kernel: kernel.name,
        equations: kernel.equations(),
        count: 1,
        variant: variant.name,
        files: variant.files.to_vec(),
        grid: launch.plan.grid,
        params: params.collect(),
        choice: choice::of(tape.device(), launch),
        bytes: arguments.iter().map(|argument| argument.read + argument.written).sum(),
        arguments,
        operations: work.operations,
        intensity: None,
        bound: None,
        seconds,
    };
    explanation.measure(roofline);
    explanation
}

/// The least work of a launch.
fn least(launch: &Launch) -> crate::cpu::work::Work {
    let counts: Vec<u64> =
        launch.bytes.iter().zip(launch.storage).map(|(bytes, dtype)| bytes / dtype.size() as u64).collect();
    work(launch.plan.kernel, bytemuck::cast_slice(&launch.params), &counts)
}

/// Bytes that a launch has to read and write.
fn traffic(launch: &Launch) -> u64 {
    let bytes = |([read, written], dtype): ([u64; 2], Dtype)| (read + written) * dtype.size() as u64;
    least(launch).elements.into_iter().zip(launch.storage).map(bytes).sum()
}

impl Explanation {
    /// Whether another launch does the same with the next step, or the next part of something.
    fn goes_on_as(&self, other: &Explanation) -> bool {
        let bound = |explanation: &Explanation| {
            explanation.arguments.iter().map(|argument| argument.bytes).collect::<Vec<_>>()
        };
        (self.kernel, self.variant, self.grid) == (other.kernel, other.variant, other.grid)
            && bound(self) == bound(other)
    }

    fn add(&mut self, other: &Explanation, roofline: Option<&Roofline>) {
        self.count += other.count;
        self.seconds += other.seconds;
        self.bytes += other.bytes;
        self.operations = self.operations.zip(other.operations).map(|(a, b)| a + b);
        for (own, other) in self.arguments.iter_mut().zip(&other.arguments) {
            (own.read, own.written) = (own.read + other.read, own.written + other.written);
        }
        self.measure(roofline);
    }

    fn measure(&mut self, roofline: Option<&Roofline>) {
        self.intensity =
            self.operations.filter(|_| self.bytes > 0).map(|count| count as f64 / self.bytes as f64);
        self.bound = roofline.map(|most| {
            let memory = self.bytes as f64 / most.bytes_per_second;
            let arithmetic = self.operations.unwrap_or_default() as f64 / most.operations_per_second;
            let by = if memory >= arithmetic { "memory" } else { "arithmetic" };
            Bound { seconds: memory.max(arithmetic), by }
        });
    }
}
