//! The proof that a device computes what the twins say. One table of kernels drives the tests of this package and the command
//! `bptt check`, which users run on GPUs that we have never seen.
//!
//! A [`Row`] makes [`Case`]s: parameters, plans and host values from a seed and a [`Size`]. [`check`] runs a case on a
//! device and on [`Device::bounded`], whose numbers carry the error that a correct device may make, and compares every
//! element of every argument: outputs, inputs, and the guards around them. [`suite`] is all of it on one device.

mod case;
mod computations;
pub mod conform;
pub mod conversions;
mod draw;
pub mod gradients;
mod rows;
pub mod suite;
mod training;

use crate::cpu::real::Bounded;
use crate::device::{Device, ReadBack, Values};
use crate::error::Result;
use crate::kernel::{Kernel, Plan};

pub use case::{Case, GUARD, Placed, Value};
pub use computations::{Layer, computations, network};
pub use draw::{Draw, Size};
pub use rows::TABLE;
pub use training::Training;

/// A kernel and how to make cases for it.
pub struct Row {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Makes a case of what is drawn, with every plan that can run it.
    pub make: fn(&mut Draw) -> Case,
}

impl Row {
    /// The case of a seed and a size.
    pub fn case(&self, seed: u64, size: Size) -> Case {
        (self.make)(&mut Draw::new(seed, size))
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kernel.fmt(f)
    }
}

/// The outcome of a check: the element that used up the largest share of its limit.
#[derive(Clone, Debug)]
pub struct Report {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The variant's name.
    pub variant: &'static str,
    /// The case: its parameters.
    pub case: String,
    /// The element's error as a share of its limit: at most 1 if the kernel is correct, infinite for a NaN.
    pub share: f64,
    /// The argument that holds it.
    pub argument: &'static str,
    /// Its index there. One that is negative, or beyond the argument's end, lies in a guard.
    pub index: isize,
    /// What the device computed.
    pub got: f64,
    /// What it should be, and how much it may differ.
    pub expected: Bounded,
}

impl Report {
    /// Whether every element is within its limit.
    pub fn passed(&self) -> bool {
        self.share <= 1.0
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { kernel, variant, case, share, argument, index, got, expected } = self;
        if *share == 0.0 {
            return write!(f, "{kernel} ({variant}): exact with {case}");
        }
        let Bounded { value, error } = expected;
        write!(f, "{kernel} ({variant}): {argument}[{index}] is {got:e}, expected {value:e} ± {error:.1e} ")?;
        write!(f, "({share:.2} of the limit) with {case}")
    }
}

/// Runs a plan of a case on a device. Gives what the arguments hold afterwards, each with [`GUARD`] elements before and behind
/// it; an argument that is absent is empty.
///
/// # Errors
/// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
pub fn run(device: &Device, case: &Case, plan: &Plan) -> Result<Vec<Values>> {
    let placed = case.place(device)?;
    case.launch(device, plan, &placed)?;
    // All copies are recorded before the first is waited for: one submission a launch.
    let reads = (0..case.values.len()).map(|i| placed.read_back(device, i)).collect::<Result<Vec<_>>>()?;
    reads.into_iter().map(|read| read.map_or(Ok(Values::I32(Vec::new())), ReadBack::wait)).collect()
}

/// What the arguments of a case hold afterwards on a correct device, and by how much they may differ.
///
/// # Errors
/// [`Error::Argument`](crate::error::Error::Argument) when memory is short.
pub fn expected(case: &Case) -> Result<Vec<Vec<Bounded>>> {
    let device = Device::bounded();
    let values = run(&device, case, &case.plans[0])?;
    Ok(values.into_iter().map(Values::bounded).collect())
}

/// Runs a plan of a case on a device and on [`Device::bounded`], and compares.
///
/// # Errors
/// [`Error::Gpu`](crate::error::Error::Gpu) on a fault. A wrong result is no error: see [`Report::passed`].
pub fn check(device: &Device, case: &Case, plan: &Plan) -> Result<Report> {
    Ok(compare(case, plan, run(device, case, plan)?, &expected(case)?))
}

/// Compares what a plan of a case gave with what [`expected`] says.
pub fn compare(case: &Case, plan: &Plan, got: Vec<Values>, expected: &[Vec<Bounded>]) -> Report {
    let mut report = Report {
        kernel: plan.kernel.name,
        variant: plan.kernel.variants[plan.variant].name,
        case: case.label.clone(),
        share: 0.0,
        argument: "",
        index: 0,
        got: 0.0,
        expected: Bounded::default(),
    };
    let arguments = plan.kernel.args.iter().zip(&case.values);
    for ((got, expected), (declared, value)) in got.into_iter().zip(expected).zip(arguments) {
        let poisoned = matches!(value, Value::Output(_));
        for (at, (got, expected)) in got.f64().into_iter().zip(expected).enumerate() {
            let limit = expected.error + expected.value.abs() * f64::from(f32::EPSILON) / 2.0;
            let share = share(got, expected.value, limit, poisoned);
            if share > report.share {
                report.share = share;
                report.argument = declared.name;
                report.index = at as isize - GUARD as isize;
                report.got = got;
                report.expected = Bounded { error: limit, ..*expected };
            }
        }
    }
    report
}

/// The bits of a case's arguments, which must be equal in two runs of one plan on one device.
pub fn bits(values: &[Values]) -> Vec<Vec<u64>> {
    let bits = |values: &Values| values.clone().f64().into_iter().map(f64::to_bits).collect();
    values.iter().map(bits).collect()
}

/// The error as a share of the limit; 0 where both numbers are the same, infinities included. Where the reference is not finite,
/// any value of the device that is not finite will do. But in an output, which was poisoned with NaN, a NaN of the reference
/// means that the twin left the element out, which is a failure. So is a limit that is not finite: it would prove nothing.
fn share(got: f64, expected: f64, limit: f64, poisoned: bool) -> f64 {
    let error = (got - expected).abs();
    let both_fail = !expected.is_finite() && !got.is_finite() && !poisoned;
    if got == expected || both_fail {
        0.0
    } else if limit.is_finite() && !error.is_nan() {
        error / limit
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn nothing_passes_that_proves_nothing() {
        const FAILS: f64 = f64::INFINITY;
        assert_eq!(share(1.5, 1.0, 2.0, false), 0.25);
        assert_eq!(share(1.0, 1.0, 0.0, false), 0.0);
        assert_eq!(share(f64::INFINITY, f64::INFINITY, 0.0, true), 0.0);
        assert_eq!(share(f64::NEG_INFINITY, f64::INFINITY, 0.0, true), FAILS);
        assert_eq!(share(1.0, 2.0, 0.0, false), FAILS);
        assert_eq!(share(f64::NAN, 1.0, 2.0, false), FAILS);
        assert_eq!(share(1.0, f64::NAN, 2.0, false), FAILS);
        assert_eq!(share(1.0, 2.0, f64::NAN, false), FAILS);
        assert_eq!(share(1.0, 2.0, f64::INFINITY, false), FAILS);
        assert_eq!(share(f64::INFINITY, f64::NAN, f64::NAN, false), 0.0);
        assert_eq!(share(f64::NAN, f64::NAN, f64::NAN, true), FAILS);
    }
}
