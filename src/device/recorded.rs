//! When what was recorded is submitted: decided by how many launches it holds and how long they are estimated to take.

use super::Arg;
use crate::cpu::cost::{launch, seconds};
use crate::kernel::{Access, Limits, Plan};

/// The most launches of a submission: the GPU is to start while the host records on.
pub const MOST_LAUNCHES: u32 = 1024;
/// A submission of so many estimated seconds gets no further launch. The system's watchdog resets a GPU that is busy for too
/// long, some seconds often, and an estimate can be wrong by far.
const LONGEST: f64 = 0.05;
/// A submission costs the host as much as some ten launches cost the GPU. What takes no longer than this many launches waits
/// for the steps to come.
const WORTH: f64 = 32.0;

/// What has been recorded for a submission.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded {
    launches: u32,
    /// What they are estimated to take.
    pub seconds: f64,
}

impl Recorded {
    /// Takes note of a launch.
    pub fn add(&mut self, plan: &Plan, params: &[u8], args: &[Arg<'_>], limits: &Limits) {
        let bytes = |arg: &Arg<'_>| arg.bytes() * if arg.access == Access::Update { 2 } else { 1 };
        self.launches += 1;
        self.seconds += seconds(plan, params, args.iter().map(bytes).sum(), limits);
    }

    /// Whether it has to be handed over before another launch.
    pub fn is_full(&self) -> bool {
        self.launches == MOST_LAUNCHES || self.seconds >= LONGEST
    }

    /// Whether it is to be handed over at the end of a step.
    pub fn is_worth_a_submission(&self, limits: &Limits) -> bool {
        self.seconds >= WORTH * launch(limits)
    }
}
