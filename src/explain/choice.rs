//! Why a kernel runs as it does.

use serde::Serialize;

use crate::cpu::gru_backward::GruBackward;
use crate::cpu::gru_forward::GruForward;
use crate::cpu::lstm_backward::LstmBackward;
use crate::cpu::lstm_forward::LstmForward;
use crate::cpu::matmul::Matmul;
use crate::cpu::matmul_ways::Split;
use crate::cpu::recurrence::{Product, Schedule};
use crate::cpu::rnn_backward::RnnBackward;
use crate::cpu::rnn_forward::RnnForward;
use crate::device::{Device, Launch};
use crate::kernel::{Limits, Processor, SUBGROUP};
use crate::plans::{Site, Way};

/// The ways that a kernel could have run in, and the reason for the one taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The way taken.
    pub taken: String,
    /// Why.
    pub reason: String,
    /// All ways that the device allows, by the seconds that the cost model estimates; none on the CPU, which has one way.
    pub ways: Vec<Estimate>,
}

/// What a way is estimated to take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Its name.
    pub way: String,
    /// Seconds; `None` where it cannot be.
    pub seconds: Option<f64>,
}

/// The choice of a launch; none of a kernel that has one way.
pub(super) fn of(device: &Device, launch: &Launch) -> Option<Choice> {
    let (kernel, limits) = (launch.plan.kernel, device.limits());
    let half = launch.storage.iter().any(|dtype| dtype.is_half());
    if kernel.name == "matmul" {
        let p: Matmul = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&launch.params));
        let taken = Split { plan: launch.plan, depth: p.depth };
        // Of a product in parts the launch does not say whether the whole is added to something.
        let whole = Matmul { depth: p.k, ..p };
        let rule = match subgroups(limits) {
            true => {
                "the adapter is made of software and has subgroups, for which there is a variant an arrangement of a and b"
            }
            false => "the quickest by estimate",
        };
        return Some(choice(device, whole.site(half, limits), taken.name(), whole.estimates(limits), rule));
    }
    let (product, time) = product(launch)?;
    let step = product.step(kernel, launch.plan.variant);
    let steps = launch.params[kernel.params.iter().position(|(name, _)| *name == "steps")?];
    let steps = if launch.plan.grid == step.grid && steps == 1 { 1 } else { steps.max(2) };
    let taken = Schedule { plan: launch.plan, steps };
    let estimates = product.estimates(kernel, time, limits).into_iter();
    let estimates = estimates.map(|(schedule, seconds)| (schedule, seconds * f64::from(time))).collect();
    let rule = match limits.subgroup == SUBGROUP.subgroup {
        true => {
            "the adapter has subgroups, for which lanes are made; of their orders, and of weights held in registers, the quickest by estimate"
        }
        false => "of tiles in both orders, and of weights held in registers, the quickest by estimate",
    };
    Some(choice(device, product.site(kernel, time, half), taken.name(), estimates, rule))
}

/// Whether an adapter is made of software and has subgroups of the size that variants want.
fn subgroups(limits: &Limits) -> bool {
    limits.processor == Processor::Software && limits.subgroup > 0
}

fn choice<W: Way>(
    device: &Device,
    site: Site,
    taken: String,
    estimates: Vec<(W, f64)>,
    rule: &str,
) -> Choice {
    if device.limits().processor == Processor::Cpu {
        let reason = "the CPU runs the twin, which has one way".into();
        return Choice { taken, reason, ways: Vec::new() };
    }
    let measured = device.plans().get(&site.to_string()) == Some(&taken);
    let mut ways: Vec<Estimate> = estimates
        .into_iter()
        .map(|(way, seconds)| Estimate { way: way.name(), seconds: Some(seconds).filter(|s| s.is_finite()) })
        .collect();
    let key = |way: &Estimate| way.seconds.unwrap_or(f64::INFINITY);
    ways.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let reason = if measured { "the quickest when bptt tune measured" } else { rule };
    Choice { taken, reason: reason.into(), ways }
}

/// The product of a step of a recurrent kernel, and the steps of all its launches.
fn product(launch: &Launch) -> Option<(Product, u32)> {
    macro_rules! params {
        ($kind:ty) => {
            bytemuck::pod_read_unaligned::<$kind>(bytemuck::cast_slice(&launch.params))
        };
    }
    Some(match launch.plan.kernel.name {
        "rnn_forward" => {
            let p = params!(RnnForward);
            (p.busy(), p.longest())
        }
        "lstm_forward" => {
            let p = params!(LstmForward);
            (p.busy(), if p.projected == 1 { 1 } else { p.longest() })
        }
        "gru_forward" => {
            let p = params!(GruForward);
            (p.busy(), p.longest())
        }
        "rnn_backward" => {
            let p = params!(RnnBackward);
            (p.busy(), p.longest())
        }
        "lstm_backward" => {
            let p = params!(LstmBackward);
            (p.busy(), if p.projected == 1 { 1 } else { p.longest() })
        }
        "gru_backward" => {
            let p = params!(GruBackward);
            (p.busy(), p.longest())
        }
        _ => return None,
    })
}
