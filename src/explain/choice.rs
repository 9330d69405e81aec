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
                "the adapter is made of software and has subgroups: the variant for them is taken, one for each arrangement of a and b"
            }
            false => "the quickest by estimate",
        };
        return Some(choice(device, whole.site(half, limits), taken.name(), whole.estimates(limits), rule));
    }
    let (product, time) = product(launch)?;
    // Of layers one above the other not all have workgroups in each launch.
    let product = Product { chains: launch.plan.grid[1], ..product };
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
            (p.product(), p.longest())
        }
        "lstm_forward" => {
            let p = params!(LstmForward);
            (p.product(), if p.projected == 1 { 1 } else { p.longest() })
        }
        "gru_forward" => {
            let p = params!(GruForward);
            (p.product(), p.longest())
        }
        "rnn_backward" => {
            let p = params!(RnnBackward);
            (p.product(), p.longest())
        }
        "lstm_backward" => {
            let p = params!(LstmBackward);
            (p.product(), if p.projected == 1 { 1 } else { p.longest() })
        }
        "gru_backward" => {
            let p = params!(GruBackward);
            (p.product(), p.longest())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::device::{Detail, Device, GpuOptions};
    use crate::ops::recurrent::{RecurrentWeights, Stacked};
    use crate::plans::Plans;
    use crate::tape::Tape;
    use crate::tensor::Tensor;

    /// Of layers one above the other fewer have steps to make in the first and the last rounds, and in a short block's launches.
    #[test]
    fn launches_of_layers_say_which_way_was_taken() {
        let device = Device::gpu("gpu", &GpuOptions::default()).unwrap();
        let (batch, hidden) = (4, 32);
        let site = |chains: usize| format!("gru_forward 4 {batch} {hidden} 3 {hidden} {}", chains - 1);
        for way in ["tiles, step", "tiles, sequence"] {
            device.set_plans(Plans::from([1, 2].map(|chains| (site(chains), way.to_string()))));
            let mut tape = Tape::without_parameters(&device);
            let mut input =
                |shape: &[usize]| tape.input(&Tensor::uniform(&device, shape, [-0.1, 0.1], 1, 0).unwrap());
            let (x, w) = (input(&[10, batch, hidden]), input(&[3 * hidden, hidden]));
            let weights = RecurrentWeights { w_ih: w, w_hh: w, biases: None, w_hr: None };
            let stacked = Stacked { stagger: 4, dropout: 0.0, lengths: None };
            device.start_profile(Detail::Launches).unwrap();
            tape.gru_layers(x, &[None; 2], &[weights; 2], stacked).unwrap();
            let profile = device.finish_profile().unwrap();
            let launches = profile.launches.iter().filter(|launch| launch.plan.kernel.name == "gru_forward");
            let choices: Vec<_> = launches.map(|launch| of(&device, launch).unwrap()).collect();
            // Ten steps of the one, and of the other four behind; or a launch a round.
            assert_eq!(choices.len(), if way == "tiles, step" { 14 } else { 4 });
            for choice in choices {
                assert_eq!((&*choice.taken, &*choice.reason), (way, "the quickest when bptt tune measured"));
            }
        }
    }
}
