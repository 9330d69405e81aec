//! How long a launch is estimated to take on a GPU. It is a pure function of the launch's parameters, so that what follows from it
//! (where a submission ends) is the same in every run. It is rough: the rates are those of one adapter of each kind.

use super::gru_backward::GruBackward;
use super::gru_forward::GruForward;
use super::lstm_backward::LstmBackward;
use super::lstm_forward::LstmForward;
use super::matmul::Matmul;
use super::rnn_backward::RnnBackward;
use super::rnn_forward::RnnForward;
use crate::kernel::{Limits, Plan, Processor};

/// What a kind of adapter does in a second.
struct Rates {
    /// The seconds of a launch that does nothing.
    launch: f64,
    /// Bytes of arguments.
    bytes: f64,
    /// Multiplications and additions of a product.
    operations: f64,
}

/// Measured on llvmpipe with two threads.
const SOFTWARE: Rates = Rates { launch: 30e-6, bytes: 4e9, operations: 25e9 };
/// Estimated for a large GPU.
const GPU: Rates = Rates { launch: 3e-6, bytes: 1e12, operations: 10e12 };

fn rates(limits: &Limits) -> Rates {
    match limits.processor {
        Processor::Gpu => GPU,
        Processor::Software | Processor::Cpu => SOFTWARE,
    }
}

/// The seconds of a launch that does nothing.
pub fn launch(limits: &Limits) -> f64 {
    rates(limits).launch
}

/// The seconds in which so many bytes are read or written.
pub fn memory(bytes: f64, limits: &Limits) -> f64 {
    bytes / rates(limits).bytes
}

/// The seconds of a launch whose arguments are so many bytes: those of recurrent kernels by the model that chooses their
/// schedules, those of a product by its operations or its bytes, those of all others by their bytes.
pub fn seconds(plan: &Plan, params: &[u8], bytes: u64, limits: &Limits) -> f64 {
    let rates = rates(limits);
    macro_rules! recurrent {
        ($params:ty) => {{
            let p: $params = bytemuck::pod_read_unaligned(params);
            p.product().seconds(plan, p.steps, limits)
        }};
    }
    let computing = match plan.kernel.name {
        "matmul" => {
            let p: Matmul = bytemuck::pod_read_unaligned(params);
            2.0 * f64::from(p.m) * f64::from(p.n) * f64::from(p.k) / rates.operations
        }
        "rnn_forward" => recurrent!(RnnForward),
        "rnn_backward" => recurrent!(RnnBackward),
        "gru_forward" => recurrent!(GruForward),
        "gru_backward" => recurrent!(GruBackward),
        "lstm_forward" => recurrent!(LstmForward),
        "lstm_backward" => recurrent!(LstmBackward),
        _ => 0.0,
    };
    rates.launch + computing.max(bytes as f64 / rates.bytes)
}

#[cfg(test)]
mod tests {
    use super::super::lstm_forward::LSTM_FORWARD;
    use super::*;
    use crate::kernel::LEAST;

    #[test]
    fn more_work_takes_longer() {
        for processor in [Processor::Software, Processor::Gpu] {
            let limits = Limits { processor, ..LEAST };
            let product = |n: u32| {
                let p = Matmul { m: n, n, k: n, ..Matmul::default() };
                seconds(&p.plans()[0], bytemuck::bytes_of(&p), 12 * u64::from(n * n), &limits)
            };
            assert!(product(1024) > 4.0 * product(512), "eight times the operations");
            let lstm = |steps: u32, variant: usize| {
                let p = LstmForward {
                    batch: 64,
                    hidden: 128,
                    width: 128,
                    time: 64,
                    steps,
                    chains: 1,
                    ..LstmForward::default()
                };
                let plan = p.product().sequence(&LSTM_FORWARD, variant);
                seconds(&plan, bytemuck::bytes_of(&p), 0, &limits)
            };
            assert!(lstm(64, 0) > 10.0 * lstm(4, 0), "{processor:?}");
        }
    }
}
