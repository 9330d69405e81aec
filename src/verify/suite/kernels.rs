//! Kernels of the table against the bounded reference, and against themselves.

use std::collections::BTreeMap;

use super::{Failure, Suite, Trial};
use crate::device::{Device, Values};
use crate::error::Result;
use crate::kernel::{Plan, Processor};
use crate::parameters::Precision;
use crate::verify::{Case, GUARD, Row, Size, bits, compare, expected, run};

/// So many cases of each variant, one of each size, are run twice.
const REPEATED: u32 = Size::ALL.len() as u32;
/// For each wanted case at most so many are drawn, since a variant cannot run every case: it can run at least one in ten.
const DRAWN: u64 = 40;

/// A variant on one of the suite's devices.
struct Tried {
    trial: Trial,
    device: usize,
    variant: usize,
    wanted: u32,
}

/// Every variant of a kernel that the devices can take, in every precision.
pub fn trials(suite: &mut Suite, row: &Row) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for precision in Precision::ALL {
        let stored = row.case(0, Size::One).stored(precision.dtype()).storage;
        // Some kernels, those of optimizers say, know 32 bits alone.
        if precision == Precision::F32 || stored != row.kernel.widest() {
            trials.extend(trials_in(suite, row, precision)?);
        }
    }
    Ok(trials)
}

fn trials_in(suite: &mut Suite, row: &Row, precision: Precision) -> Result<Vec<Trial>> {
    let variants = row.kernel.variants;
    let mut tried = Vec::new();
    for (index, (on, device)) in suite.devices().enumerate() {
        let wanted = suite.effort().wanted(index, precision);
        if wanted == 0 {
            continue;
        }
        // Cooperative matrices are for products of F16 alone.
        let known = |at: usize| precision == Precision::F16 || variants[at].stored.is_none();
        let taken = (0..variants.len()).filter(|at| known(*at) && device.allows(&variants[*at]));
        // Twins know no variants.
        let most = if device.limits().processor == Processor::Cpu { 1 } else { variants.len() };
        tried.extend(taken.take(most).map(|variant| {
            let of = if most == 1 && variants.len() > 1 { "twin" } else { variants[variant].name };
            Tried { trial: Trial::new(of, on, precision), device: index, variant, wanted }
        }));
    }
    let most = tried.iter().map(|tried| u64::from(tried.wanted)).max().unwrap_or(0) * DRAWN;
    for seed in 0..most {
        let mut open = tried.iter_mut().filter(|tried| tried.trial.cases < tried.wanted).peekable();
        if open.peek().is_none() {
            break;
        }
        let size = Size::ALL[seed as usize % Size::ALL.len()];
        // Most variants share a case and its results; some want other types.
        let mut cases = BTreeMap::new();
        for tried in open {
            let (case, reference) = cases.entry(row.kernel.widest_of(tried.variant)).or_insert_with(|| {
                (row.case(seed, size).stored(precision.dtype()).stored_for(tried.variant), None)
            });
            let device = suite.devices[tried.device].clone();
            let plans: Vec<Plan> = match device.limits().processor {
                Processor::Cpu => case.plans[..1].to_vec(),
                _ => case.plans_of(tried.variant, &device).copied().collect(),
            };
            for plan in plans {
                let failure = |message| Failure { message, seed, size: Some(size), grid: Some(plan.grid) };
                let reference = match reference {
                    Some(known) => known,
                    None => reference.insert(expected(case)?),
                };
                let again = tried.trial.cases < REPEATED;
                match launched(&device, case, &plan, again) {
                    Ok((got, differ)) => {
                        let report = compare(case, &plan, got, reference);
                        match differ.filter(|_| report.passed()) {
                            Some(message) => tried.trial.add(f64::INFINITY, || failure(message)),
                            None => tried.trial.add(report.share, || failure(report.to_string())),
                        }
                    }
                    Err(fault) => {
                        tried.trial.add(f64::INFINITY, || failure(format!("{fault}; with {case:?}")));
                        // It may end the next device too: this variant is not tried any more.
                        tried.wanted = 0;
                        suite.revive(&fault)?;
                        break;
                    }
                }
            }
        }
    }
    Ok(tried.into_iter().map(|tried| tried.trial).collect())
}

/// Runs a case, twice if `again`. Gives its arguments afterwards, and how the second run differs, if it does.
fn launched(device: &Device, case: &Case, plan: &Plan, again: bool) -> Result<(Vec<Values>, Option<String>)> {
    let got = run(device, case, plan)?;
    let differ = if again { difference(&got, &run(device, case, plan)?, plan) } else { None };
    let differ = differ.map(|differ| format!("two launches differ: {differ} with {case:?}"));
    Ok((got, differ))
}

/// The first element whose bits differ between two runs.
fn difference(once: &[Values], twice: &[Values], plan: &Plan) -> Option<String> {
    let arguments = plan.kernel.args.iter().zip(bits(once).into_iter().zip(bits(twice)));
    arguments.into_iter().find_map(|(declared, (once, twice))| {
        let at = once.iter().zip(&twice).position(|(once, twice)| once != twice)?;
        let [once, twice] = [once[at], twice[at]].map(f64::from_bits);
        let (variant, at) = (plan.kernel.variants[plan.variant].name, at as isize - GUARD as isize);
        Some(format!("{} ({variant}): {}[{at}] is {once:e}, then {twice:e}", plan.kernel.name, declared.name))
    })
}
