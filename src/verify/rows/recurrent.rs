//! Steps of recurrent layers.

use crate::cpu::rnn_step_backward::{RNN_STEP_BACKWARD, RnnStepBackward};
use crate::cpu::rnn_step_forward::{RNN_STEP_FORWARD, RnnStepForward};
use crate::verify::{Case, Draw, Value};

/// Sizes of a recurrence and one of its steps.
struct Recurrence {
    batch: u32,
    hidden: u32,
    time: u32,
    step: u32,
    base: u32,
}

impl Recurrence {
    fn draw(draw: &mut Draw) -> Self {
        let (batch, hidden, time) = (draw.dim(4), draw.dim(16), 1 + draw.below(4));
        Recurrence { batch, hidden, time, step: draw.below(time), base: draw.pick(&[0, 39]) }
    }

    fn size(&self) -> u32 {
        self.batch * self.hidden
    }

    /// The states: `base` elements that mean nothing, then a slot for the initial state and one for each step.
    fn states(&self, draw: &mut Draw) -> Value {
        draw.between(self.base + (self.time + 1) * self.size(), -1.0, 1.0)
    }
}

pub fn rnn_step_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, step, base, .. } = r;
    let p = RnnStepForward { batch, hidden, step, base, relu: draw.flag(), bias: draw.flag() };
    let bias = |draw: &mut Draw| if p.bias == 1 { draw.reals(hidden) } else { Value::Absent };
    let values = vec![
        draw.reals(r.time * r.size()),
        draw.reals(hidden * hidden),
        bias(draw),
        bias(draw),
        r.states(draw),
    ];
    Case::new(p, draw.elements(&RNN_STEP_FORWARD, r.size()), values)
}

pub fn rnn_step_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, step, base, .. } = r;
    let p =
        RnnStepBackward { batch, hidden, step, base, relu: draw.flag(), last: (step + 1 == r.time).into() };
    let values = vec![
        draw.reals(r.time * r.size()),
        draw.reals(hidden * hidden),
        r.states(draw),
        draw.reals(r.time * r.size()),
    ];
    Case::new(p, draw.elements(&RNN_STEP_BACKWARD, r.size()), values)
}
