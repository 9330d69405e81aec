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
use crate::kernel::Dtype;
use crate::parameters::{Initializer, ParameterId, Parameters, Precision};
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// Records a computation on a tape: the result, from its inputs.
pub type Forward = Arc<dyn Fn(&mut Tape, &[Var]) -> Result<Var>>;

type Make = dyn Fn(&mut Initializer) -> Result<Forward>;

/// A computation whose gradients can be checked: inputs with names and shapes, perhaps parameters, and a function that
/// computes a result from them.
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

    /// The names of the operations that it records in half precision, casts included.
    ///
    /// # Errors
    /// Those of the computation.
    pub fn operations(&self) -> Result<Vec<&'static str>> {
        Ok(Placed::new(self, &Device::cpu(), Precision::F16, 0)?
            .record()?
            .0
            .nodes()
            .map(|node| node.name)
            .collect())
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
    /// How many elements were compared.
    pub elements: usize,
    /// How many of them have a limit larger than the expected value, which leaves even the sign open.
    pub loose: usize,
    /// For each tensor, named as above, the same as [`Report::nmse`] over it alone.
    pub tensors: Vec<(String, f64)>,
    precision: Precision,
    /// Σ (got − expected)² and Σ expected² over everything.
    sums: [f64; 2],
}

/// The most that [`Report::nmse`] may be: what right 32-bit arithmetic needs, with some decades to spare.
pub const NMSE: f64 = 1e-10;

/// The most that [`Report::nmse`] may be in a precision. A number that is stored in half precision is off by at most u = 2⁻¹¹
/// (F16) or 2⁻⁸ (BF16) of its size. The square of that is u²/6 on average: 4e-8 and 2.5e-6. The limits allow for some hundred
/// such errors, independent of each other, on the way to a number.
pub const fn most_nmse(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => NMSE,
        Precision::F16 => 1e-5,
        Precision::BF16 => 1e-3,
    }
}

impl Report {
    /// Whether every element is within its limit, and all together are within [`most_nmse`].
    pub fn passed(&self) -> bool {
        self.worst() <= 1.0
    }

    /// The share of its limit that the worst element used up, or all elements together did, whichever is more.
    pub fn worst(&self) -> f64 {
        self.share.max(self.nmse() / most_nmse(self.precision))
    }

    /// Σ (got − expected)² / Σ expected² over the result and all gradients. Over a long sequence, where the limits of
    /// single elements grow beyond use, it is what tells right from wrong.
    pub fn nmse(&self) -> f64 {
        nmse(self.sums)
    }

    /// Compares a tensor.
    fn add(&mut self, tensor: &str, got: &[f64], expected: &[Bounded]) {
        assert_eq!(got.len(), expected.len(), "{tensor} has as many elements as it should");
        self.elements += got.len();
        let mut sums = [0.0; 2];
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            sums[0] += (got - expected.value).powi(2);
            sums[1] += expected.value.powi(2);
            self.loose += usize::from(expected.error.is_nan() || expected.error > expected.value.abs());
            let share = if self.proves_nothing(*got, expected) {
                0.0
            } else {
                share(*got, expected.value, expected.error, true)
            };
            if share > self.share {
                self.tensor = tensor.into();
                (self.index, self.share, self.got, self.expected) = (index, share, *got, *expected);
            }
        }
        self.tensors.push((tensor.into(), nmse(sums)));
        self.sums = [self.sums[0] + sums[0], self.sums[1] + sums[1]];
    }

    /// Whether the worst cases of half precision add up to no limit at all. Then only the errors of all elements together tell.
    fn proves_nothing(&self, got: f64, expected: &Bounded) -> bool {
        self.precision != Precision::F32
            && !expected.error.is_finite()
            && got.is_finite()
            && expected.value.is_finite()
    }
}

/// The first sum relative to the second.
fn nmse([error, norm]: [f64; 2]) -> f64 {
    if error == 0.0 { 0.0 } else { error / norm }
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
    let placed = Placed::new(computation, &Device::reference(), Precision::F32, seed)?;
    let mut outcome = placed.outcome()?.into_iter().map(|(name, values)| (name, values.f64()));
    let (_, result) = outcome.next().expect("the result comes first");
    let cotangent = placed.cotangent([result.len()].into(), Dtype::F32)?.to_f64()?;
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
    compare_in(device, computation, Precision::F32, seed)
}

/// [`compare`], where inputs, the parameters as layers read them, and the results of operations are stored in a precision. The
/// limits follow from what each number loses when it is stored. Over many steps these worst cases add up until a limit says
/// nothing: [`Report::loose`] counts such elements, and [`most_nmse`] is the limit of all together.
///
/// # Errors
/// As [`compare`].
pub fn compare_in(
    device: &Device,
    computation: &Computation,
    precision: Precision,
    seed: u64,
) -> Result<Report> {
    let got = Placed::new(computation, device, precision, seed)?.outcome()?;
    let reference = Placed::new(computation, &Device::bounded(), precision, seed)?.outcome()?;
    let mut report = Report { precision, ..Report::default() };
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

/// Numbers of either sign, from 0.1 to 1 in size, so that none is near the kink of relu; exact in their type.
fn draw(device: &Device, shape: Shape, dtype: Dtype, seed: u64, stream: u32) -> Result<Tensor> {
    let number = |i| {
        let u = 2.0 * philox::uniform(seed, stream, i) - 1.0;
        f64::from(dtype.round((0.1 + 0.9 * u.abs()).copysign(u)))
    };
    let numbers: Vec<f64> = (0..shape.count() as u64).map(number).collect();
    Tensor::from_f64(device, shape, &numbers)?.cast(dtype)
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
    fn new(computation: &Computation, device: &Device, precision: Precision, seed: u64) -> Result<Self> {
        let mut init = Initializer::in_precision(device, seed, precision);
        let forward = (computation.make)(&mut init)?;
        let parameters = init.build()?;
        let mut variables = Vec::new();
        for (stream, (name, shape)) in (INPUTS..).zip(&computation.inputs) {
            variables.push((name.to_string(), draw(device, *shape, precision.dtype(), seed, stream)?));
        }
        let id = |name| parameters.id(name).expect("the name is one of theirs");
        let ids: Vec<ParameterId> = parameters.names().map(|(name, _)| id(name)).collect();
        let values = ids.iter().map(|id| parameters.value(*id)).collect::<Result<Vec<_>>>()?;
        if precision != Precision::F32 {
            // Numbers that the type can hold, so that limits grow only from what is computed.
            for value in &values {
                let round = |x: f64| f64::from(precision.dtype().round(x as f32));
                let rounded: Vec<f64> = value.to_f64()?.into_iter().map(round).collect();
                value.assign(Host::F64(&rounded))?;
            }
        }
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

    fn cotangent(&self, shape: Shape, dtype: Dtype) -> Result<Tensor> {
        draw(self.parameters.device(), shape, dtype, self.seed, COTANGENT)
    }

    /// The result and the gradient of every variable, with names.
    fn outcome(&self) -> Result<Vec<(String, Values)>> {
        let (mut tape, inputs, result) = self.record()?;
        let y = tape.value(result)?.clone();
        let cotangent = self.cotangent(y.shape(), y.dtype())?;
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
            // The gradient of an input that no gradient has reached is 0.
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
