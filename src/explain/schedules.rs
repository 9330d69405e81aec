//! A recurrent layer, forward and backward, in every way that a device can run it.

use std::time::Instant;

use serde::Serialize;

use super::choice;
use super::steps::LayerSizes;
use super::traffic;
use crate::cpu::recurrence::Product;
use crate::device::{Detail, Device, Profile};
use crate::error::{Error, Result};
use crate::kernel::{Kernel, Processor};
use crate::nn::CellKind;
use crate::ops::recurrent::{Nonlinearity, Order, RecurrentWeights};
use crate::parameters::Precision;
use crate::plans::Way;
use crate::tape::{NodeInfo, Tape, Var};
use crate::tensor::Tensor;
use crate::train::inspect::unrolled;

/// The ways of a layer side by side.
#[derive(Clone, Debug, Serialize)]
pub struct LayerSchedules {
    /// `rnn`, `lstm` or `gru`.
    pub cell: &'static str,
    /// T, B, I and H.
    pub sizes: [usize; 4],
    /// How its numbers are stored.
    pub precision: Precision,
    /// The ways of the layer by itself: that which is chosen, all schedules that the device allows, and single operations.
    pub ways: Vec<Compared>,
}

/// One way to run a layer forward and backward.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// Launches.
    pub launches: usize,
    /// Bytes that they have to read and write.
    pub bytes: u64,
    /// Seconds in kernels.
    pub seconds: f64,
    /// Seconds until the results could be read.
    pub wall: f64,
    /// The largest difference from the results of single operations, of outputs and gradients: each as a share of the
    /// largest number in its tensor.
    pub difference: f64,
}

/// The layers on a tape, each once.
///
/// # Errors
/// [`Error::Argument`] when there is none, or one has two directions.
pub(super) fn layers_of(tape: &Tape) -> Result<Vec<LayerSizes>> {
    let mut layers = Vec::new();
    for NodeInfo { name, inputs, outputs, .. } in tape.nodes() {
        let cell = match name {
            "rnn" | "rnn_layers" => CellKind::Rnn,
            "lstm" | "lstm_layers" => CellKind::Lstm,
            "gru" | "gru_layers" => CellKind::Gru,
            _ => continue,
        };
        let [w_ih, w_hh] = [tape.value_info(inputs[1])?.shape, tape.value_info(inputs[2])?.shape];
        let output = tape.value_info(outputs[0])?.shape;
        if output[2] > w_hh[1] {
            return Err(Error::argument("explain", "compares layers of one direction, and one has two"));
        }
        let lowest = LayerSizes { cell, time: output[0], batch: output[1], input: w_ih[1], hidden: w_hh[1] };
        // Of layers one above the other each is compared by itself, and all but the lowest are alike.
        let above = LayerSizes { input: w_hh[1], ..lowest };
        let several = outputs.len() > 1 + cell.states();
        for sizes in [lowest, above].into_iter().take(if several { 2 } else { 1 }) {
            if !layers.contains(&sizes) {
                layers.push(sizes);
            }
        }
    }
    match layers.is_empty() {
        true => Err(Error::argument("explain", "the step has no recurrent layer")),
        false => Ok(layers),
    }
}

/// Runs the layers of a tape in every way that its device allows, with numbers of their own in the precision of its model. The
/// device's plans are what they were.
///
/// # Errors
/// [`Error::Argument`] when there is no layer; [`Error::Gpu`] on a fault.
pub fn schedules(tape: &Tape) -> Result<Vec<LayerSchedules>> {
    let device = tape.device();
    let plans = device.plans();
    let precision = tape.precision()?;
    let compared = layers_of(tape)?.iter().map(|sizes| compare(device, sizes, precision)).collect();
    device.set_plans(plans);
    compared
}

fn compare(device: &Device, sizes: &LayerSizes, precision: Precision) -> Result<LayerSchedules> {
    let LayerSizes { cell, time, batch, input, hidden } = *sizes;
    let plans = device.plans();
    let single = run(device, sizes, precision, false)?;
    let mut ways = Vec::new();
    let mut add = |name: Option<String>| {
        let ran = run(device, sizes, precision, true)?;
        let name = name.unwrap_or_else(|| ran.chosen());
        ways.push(ran.compared(name, &single));
        Ok::<_, Error>(())
    };
    add(None)?;
    if device.limits().processor != Processor::Cpu {
        let kernels = cell.with(Nonlinearity::Tanh).passes([batch, hidden], 1);
        let names = |(kernel, product): &(&'static Kernel, Product)| {
            let all = product.schedules(kernel, time as u32, device.limits());
            all.iter().map(Way::name).collect::<Vec<_>>()
        };
        for name in names(&kernels[0]) {
            let mut forced = plans.clone();
            for (kernel, product) in &kernels {
                let site = product.site(kernel, time as u32, precision.dtype().is_half());
                forced.insert(site.to_string(), name.clone());
            }
            device.set_plans(forced);
            let added = add(Some(name));
            device.set_plans(plans.clone());
            added?;
        }
    }
    ways.push(single.compared("single operations".into(), &single));
    Ok(LayerSchedules { cell: cell.name(), sizes: [time, batch, input, hidden], precision, ways })
}

/// What a way gave, and what it took.
struct Ran {
    device: Device,
    results: Vec<Vec<f64>>,
    profile: Profile,
    seconds: f64,
    wall: f64,
}

impl Ran {
    fn compared(&self, name: String, single: &Ran) -> Compared {
        let pairs = self.results.iter().zip(&single.results);
        let share = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            let largest = b.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
            let difference = a.iter().zip(b).fold(0.0, |most: f64, (a, b)| match (a - b).abs() {
                // Not f64::max, which loses it.
                nan if nan.is_nan() => f64::INFINITY,
                difference => most.max(difference),
            });
            if difference == 0.0 { 0.0 } else { difference / largest }
        };
        Compared {
            name,
            launches: self.profile.launches.len(),
            bytes: self.profile.launches.iter().map(traffic).sum(),
            seconds: self.seconds,
            wall: self.wall,
            difference: pairs.map(share).fold(0.0, f64::max),
        }
    }

    /// What is chosen: the ways of both passes.
    fn chosen(&self) -> String {
        let taken = |end: &str| {
            let mut launches = self.profile.launches.iter();
            let launch = launches.find(|launch| launch.plan.kernel.name.ends_with(end))?;
            Some(choice::of(&self.device, launch)?.taken)
        };
        match (taken("_forward"), taken("_backward")) {
            _ if self.device.limits().processor == Processor::Cpu => "chosen: the twins".into(),
            (Some(forward), Some(backward)) if forward == backward => format!("chosen: {forward}"),
            (Some(forward), Some(backward)) => format!("chosen: {forward}; back: {backward}"),
            _ => "chosen".into(),
        }
    }
}

/// Runs a layer forward and backward from a fixed cotangent, fused or by single operations.
fn run(device: &Device, sizes: &LayerSizes, precision: Precision, fused: bool) -> Result<Ran> {
    /// The quickest of so many runs counts, behind one in which kernels are compiled.
    const RUNS: usize = 4;
    let LayerSizes { cell, time, batch, input, hidden } = *sizes;
    let rows = cell.gates() * hidden;
    let bound = 1.0 / (hidden as f32).sqrt();
    let numbers = |shape: &[usize], phase: f32| {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|i| bound * (1.3 * i as f32 + phase).sin()).collect();
        Tensor::from_f32(device, shape, &values)?.cast(precision.dtype())
    };
    let tensors = [
        sizes.x(device)?.cast(precision.dtype())?,
        numbers(&[rows, input], 0.1)?,
        numbers(&[rows, hidden], 0.2)?,
        numbers(&[rows], 0.3)?,
        numbers(&[rows], 0.4)?,
    ];
    let cotangent = numbers(&[time, batch, hidden], 0.5)?;
    let mut best: Option<Ran> = None;
    for run in 0..=RUNS {
        let mut tape = Tape::without_parameters(device);
        device.start_profile(Detail::Launches)?;
        let begin = Instant::now();
        let recorded = record(&mut tape, cell, &tensors, fused).and_then(|(inputs, y)| {
            tape.backward_from(y, &cotangent)?;
            let mut results = vec![tape.value(y)?.to_f64()?];
            for input in inputs {
                results.push(tape.gradient(input)?.expect("all have gradients").to_f64()?);
            }
            Ok(results)
        });
        let wall = begin.elapsed().as_secs_f64();
        let profile = device.finish_profile()?;
        let results = recorded?;
        let seconds = profile.launches.iter().map(|launch| launch.end - launch.start).sum();
        if run > 0 && best.as_ref().is_none_or(|best| seconds < best.seconds) {
            best = Some(Ran { device: device.clone(), results, profile, seconds, wall });
        }
    }
    Ok(best.expect("it ran"))
}

fn record(tape: &mut Tape, cell: CellKind, tensors: &[Tensor; 5], fused: bool) -> Result<([Var; 5], Var)> {
    let inputs @ [x, w_ih, w_hh, b_ih, b_hh] = [0, 1, 2, 3, 4].map(|i| tape.input(&tensors[i]));
    let nonlinearity = Nonlinearity::Tanh;
    if fused {
        let weights = RecurrentWeights { w_ih, w_hh, biases: Some([b_ih, b_hh]), w_hr: None };
        let y = match cell {
            CellKind::Rnn => tape.rnn(x, None, weights, nonlinearity, Order::default())?[0],
            CellKind::Lstm => tape.lstm(x, [None; 2], weights, Order::default())?[0],
            CellKind::Gru => tape.gru(x, None, weights, Order::default())?[0],
        };
        return Ok((inputs, y));
    }
    let shape = tape.value(x)?.shape();
    let (time, batch, hidden) = (shape[0], shape[1], tape.value(w_hh)?.shape()[1]);
    let zeros = Tensor::empty(tape.device(), tensors[2].dtype(), [batch, hidden])?;
    zeros.fill(0.0)?;
    let mut states = [tape.constant(&zeros); 2];
    let mut all = Vec::with_capacity(time);
    for t in 0..time {
        let x = tape.select(x, 0, t)?;
        let (xw, hw) = (tape.linear(x, w_ih, Some(b_ih))?, tape.linear(states[0], w_hh, Some(b_hh))?);
        unrolled(tape, cell, nonlinearity, [xw, hw], &mut states)?;
        all.push(states[0]);
    }
    Ok((inputs, tape.stack(&all, 0)?))
}
