//! The proof that gradients are right, for whatever can be put on a tape: [`gradient_check`] holds them to finite
//! differences in 64 bits, and [`compare`] holds a device's results and gradients to the reference, within limits that
//! [`Bounded`] derives.
//!
//! Both start from a random cotangent: the gradient of a plain sum misses every fault that cancels in the sum.

use std::sync::Arc;

use super::share;
use crate::cpu::philox;
use crate::cpu::real::Bounded;
use crate::device::{Device, Host, ReadBack, Values};
use crate::error::Result;
use crate::parameters::{Initializer, ParameterId, Parameters};
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// What a computation makes of its inputs.
pub type Forward = Arc<dyn Fn(&mut Tape, &[Var]) -> Result<Var>>;

type Make = dyn Fn(&mut Initializer) -> Result<Forward>;

/// A computation whose gradients can be checked: inputs with their names and shapes, perhaps parameters, and what is made
/// of them.
pub struct Computation {
    name: String,
    inputs: Vec<(&'static str, Shape)>,
    make: Box<Make>,
}

impl Computation {
    /// A computation without parameters.
    pub fn new(
        name: impl Into<String>,
        inputs: &[(&'static str, &[usize])],
        forward: impl Fn(&mut Tape, &[Var]) -> Result<Var> + 'static,
    ) -> Self {
        let forward: Forward = Arc::new(forward);
        Computation::of_model(name, inputs, move |_| Ok(forward.clone()))
    }

    /// A computation with parameters: `make` makes the layers and returns what they compute.
    pub fn of_model(
        name: impl Into<String>,
        inputs: &[(&'static str, &[usize])],
        make: impl Fn(&mut Initializer) -> Result<Forward> + 'static,
    ) -> Self {
        let inputs = inputs.iter().map(|(name, dims)| (*name, Shape::from(*dims))).collect();
        Computation { name: name.into(), inputs, make: Box::new(make) }
    }

    /// The names of the operations that it records.
    ///
    /// # Errors
    /// Those of the computation.
    pub fn operations(&self) -> Result<Vec<&'static str>> {
        Ok(Placed::new(self, &Device::cpu(), 0)?.record()?.0.operations().collect())
    }
}

impl std::fmt::Debug for Computation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// The outcome of a check: the element that used up the largest share of its limit.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Where it is: `the result`, or `the gradient of NAME`.
    pub tensor: String,
    /// Its index there.
    pub index: usize,
    /// Its error as a share of its limit: at most 1 if the gradients are right, infinite for a NaN.
    pub share: f64,
    /// What was computed.
    pub got: f64,
    /// What it should be, and how much it may differ.
    pub expected: Bounded,
    /// Σ (got − expected)² and Σ expected² over everything.
    sums: [f64; 2],
}

/// The most that [`Report::nmse`] may be: what right 32-bit arithmetic needs, with some decades to spare.
pub const NMSE: f64 = 1e-10;

impl Report {
    /// Whether every element is within its limit, and everything together is within [`NMSE`].
    pub fn passed(&self) -> bool {
        self.share <= 1.0 && self.nmse() <= NMSE
    }

    /// Σ (got − expected)² / Σ expected² over the result and all gradients. Over a long sequence, where the limits of
    /// single elements grow beyond use, it is what tells right from wrong.
    pub fn nmse(&self) -> f64 {
        let [error, norm] = self.sums;
        if error == 0.0 { 0.0 } else { error / norm }
    }

    /// Compares a tensor.
    fn add(&mut self, tensor: &str, got: &[f64], expected: &[Bounded]) {
        assert_eq!(got.len(), expected.len(), "{tensor} has as many elements as it should");
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            self.sums[0] += (got - expected.value).powi(2);
            self.sums[1] += expected.value.powi(2);
            let share = share(*got, expected.value, expected.error, true);
            if share > self.share {
                let (sums, tensor) = (self.sums, tensor.to_string());
                *self = Report { tensor, index, share, got: *got, expected: *expected, sums };
            }
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { tensor, index, share, got, expected: Bounded { value, error }, .. } = self;
        write!(f, "element {index} of {tensor} is {got:e}, expected {value:e} ± {error:.1e} ")?;
        write!(f, "({share:.2} of the limit; NMSE {:.1e})", self.nmse())
    }
}

/// The step of the finite differences. Their truncation error is its fourth power.
const STEP: f64 = 1e-4;
/// How far a gradient may be from the finite differences, relatively.
const RELATIVE: f64 = 1e-8;

/// Compares the gradients of every input and parameter with four-point central differences, in 64 bits.
///
/// # Errors
/// Those of the computation. A wrong gradient is no error: see [`Report::passed`].
pub fn gradient_check(computation: &Computation, seed: u64) -> Result<Report> {
    let placed = Placed::new(computation, &Device::reference(), seed)?;
    let mut outcome = placed.outcome()?.into_iter().map(|(name, values)| (name, values.f64()));
    let (_, result) = outcome.next().expect("the result comes first");
    let cotangent = placed.cotangent(result.len());
    // f64's rounding of the result, some dozens of times over, divided by the step.
    let magnitude: f64 = result.iter().zip(&cotangent).map(|(y, c)| (y * c).abs()).sum();
    let rounding = 64.0 * f64::EPSILON * magnitude / STEP;
    let limited = |value: f64| Bounded { value, error: RELATIVE * value.abs() + rounding };
    let mut report = Report::default();
    for ((name, analytic), (_, variable)) in outcome.zip(&placed.variables) {
        let expected: Vec<Bounded> =
            placed.differences(variable, &cotangent)?.into_iter().map(limited).collect();
        report.add(&name, &analytic, &expected);
    }
    Ok(report)
}

/// Compares the result and the gradients of every input and parameter on a device with those on [`Device::bounded`].
///
/// # Errors
/// Those of the computation; [`Error::Gpu`](crate::error::Error::Gpu) on a fault. A wrong result is no error: see
/// [`Report::passed`].
pub fn compare(device: &Device, computation: &Computation, seed: u64) -> Result<Report> {
    let got = Placed::new(computation, device, seed)?.outcome()?;
    let reference = Placed::new(computation, &Device::bounded(), seed)?.outcome()?;
    let mut report = Report::default();
    for ((name, got), (_, expected)) in got.into_iter().zip(reference) {
        // What is exact still has to be rounded to 32 bits.
        let rounded =
            |x: Bounded| Bounded { error: x.error + x.value.abs() * f64::from(f32::EPSILON) / 2.0, ..x };
        let expected: Vec<Bounded> = expected.bounded().into_iter().map(rounded).collect();
        report.add(&name, &got.f64(), &expected);
    }
    Ok(report)
}

/// Streams of random numbers behind those of the parameters, which begin at 0.
const INPUTS: u32 = 1 << 16;
const COTANGENT: u32 = u32::MAX;

/// `count` numbers of either sign, from 0.1 to 1 in size: beside the kink of relu, and exact in 32 bits.
fn draw(seed: u64, stream: u32, count: usize) -> Vec<f64> {
    let number = |i| {
        let u = 2.0 * philox::uniform(seed, stream, i) - 1.0;
        f64::from((0.1 + 0.9 * u.abs()).copysign(u))
    };
    (0..count as u64).map(number).collect()
}

/// A computation on a device, with the values that follow from a seed.
struct Placed {
    seed: u64,
    parameters: Parameters,
    ids: Vec<ParameterId>,
    forward: Forward,
    /// The inputs, then the parameters.
    variables: Vec<(String, Tensor)>,
}

impl Placed {
    fn new(computation: &Computation, device: &Device, seed: u64) -> Result<Self> {
        let mut init = Initializer::new(device, seed);
        let forward = (computation.make)(&mut init)?;
        let parameters = init.build()?;
        let mut variables = Vec::new();
        for (stream, (name, shape)) in (INPUTS..).zip(&computation.inputs) {
            let values = draw(seed, stream, shape.count());
            variables.push((name.to_string(), Tensor::from_f64(device, *shape, &values)?));
        }
        let id = |name| parameters.id(name).expect("the name is one of theirs");
        let ids: Vec<ParameterId> = parameters.names().map(|(name, _)| id(name)).collect();
        let values = ids.iter().map(|id| parameters.value(*id)).collect::<Result<Vec<_>>>()?;
        variables.extend(parameters.names().map(|(name, _)| name.to_string()).zip(values));
        Ok(Placed { seed, ids, parameters, forward, variables })
    }

    /// Runs the computation: the tape, its inputs and the result.
    fn record(&self) -> Result<(Tape, Vec<Var>, Var)> {
        let mut tape = Tape::new(&self.parameters);
        let inputs = &self.variables[..self.variables.len() - self.ids.len()];
        let inputs: Vec<Var> = inputs.iter().map(|(_, x)| tape.input(x)).collect();
        let result = (self.forward)(&mut tape, &inputs)?;
        Ok((tape, inputs, result))
    }

    fn cotangent(&self, count: usize) -> Vec<f64> {
        draw(self.seed, COTANGENT, count)
    }

    /// The result and the gradient of every variable, with names.
    fn outcome(&self) -> Result<Vec<(String, Values)>> {
        let (mut tape, inputs, result) = self.record()?;
        let y = tape.value(result)?.clone();
        let cotangent = Tensor::from_f64(tape.device(), y.shape(), &self.cotangent(y.count()))?;
        tape.backward_from(result, &cotangent)?;
        // All copies are recorded before the first is waited for.
        let mut reads = vec![("the result".to_string(), Some(y.read_back()?))];
        let inputs = inputs.iter().map(|input| tape.gradient(*input));
        let parameters = self.ids.iter().map(|id| self.parameters.gradient(*id).map(Some));
        for ((name, _), gradient) in self.variables.iter().zip(inputs.chain(parameters)) {
            let read = gradient?.as_ref().map(Tensor::read_back).transpose()?;
            reads.push((format!("the gradient of {name}"), read));
        }
        let counts = std::iter::once(y.count()).chain(self.variables.iter().map(|(_, x)| x.count()));
        let zeros = |count| Ok(Values::F64(vec![0.0; count]));
        let values = reads.into_iter().zip(counts).map(|((name, read), count)| {
            // An input that no gradient has reached has gradient 0.
            Ok((name, read.map_or_else(|| zeros(count), ReadBack::wait)?))
        });
        values.collect()
    }

    /// Σ cotangent ⊙ result.
    fn objective(&self, cotangent: &[f64]) -> Result<f64> {
        let (tape, _, result) = self.record()?;
        Ok(tape.value(result)?.to_f64()?.iter().zip(cotangent).map(|(y, c)| y * c).sum())
    }

    // ANCHOR: differences
    /// The derivative of the objective with respect to each element of a variable:
    /// (8·(f(x+h) − f(x−h)) − (f(x+2h) − f(x−2h))) / 12h.
    fn differences(&self, variable: &Tensor, cotangent: &[f64]) -> Result<Vec<f64>> {
        let mut values = variable.to_f64()?;
        let mut derivatives = Vec::with_capacity(values.len());
        for i in 0..values.len() {
            let at = values[i];
            let mut objective = |x: f64| {
                values[i] = x;
                variable.assign(Host::F64(&values))?;
                self.objective(cotangent)
            };
            let near = objective(at + STEP)? - objective(at - STEP)?;
            let far = objective(at + 2.0 * STEP)? - objective(at - 2.0 * STEP)?;
            objective(at)?;
            derivatives.push((8.0 * near - far) / (12.0 * STEP));
        }
        Ok(derivatives)
    }
    // ANCHOR_END: differences
}
