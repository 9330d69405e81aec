//! Steps of recurrent layers.

use crate::cpu::dropout::{self, Dropout};
use crate::cpu::gru_step_backward::{GRU_STEP_BACKWARD, GruStepBackward};
use crate::cpu::gru_step_forward::{GRU_STEP_FORWARD, GruStepForward};
use crate::cpu::lstm_project_backward::{LSTM_PROJECT_BACKWARD, LstmProjectBackward};
use crate::cpu::lstm_project_forward::{LSTM_PROJECT_FORWARD, LstmProjectForward};
use crate::cpu::lstm_step_backward::{LSTM_STEP_BACKWARD, LstmStepBackward};
use crate::cpu::lstm_step_forward::{LSTM_STEP_FORWARD, LstmStepForward};
use crate::cpu::mask_steps::{MASK_STEPS, MaskSteps};
use crate::cpu::rnn_step_backward::{RNN_STEP_BACKWARD, RnnStepBackward};
use crate::cpu::rnn_step_forward::{RNN_STEP_FORWARD, RnnStepForward};
use crate::kernel::GROUP;
use crate::verify::{Case, Draw, Value};

/// Sizes of a recurrence and one of its steps, in either direction.
struct Recurrence {
    batch: u32,
    hidden: u32,
    time: u32,
    step: u32,
    /// The slots of the states before and after the step.
    before: u32,
    after: u32,
    /// The step that the backward pass has computed before this one, if this is not its first.
    later: Option<u32>,
    base: u32,
    ragged: u32,
}

impl Recurrence {
    fn draw(draw: &mut Draw) -> Self {
        let (batch, hidden, time) = (draw.dim(4), draw.dim(16), 1 + draw.below(4));
        let (step, reverse) = (draw.below(time), draw.flag() == 1);
        let (before, after) = if reverse { (step + 1, step) } else { (step, step + 1) };
        let later = if reverse { step.checked_sub(1) } else { Some(step + 1).filter(|later| *later < time) };
        let (base, ragged) = (draw.pick(&[0, 39]), draw.flag());
        Recurrence { batch, hidden, time, step, before, after, later, base, ragged }
    }

    fn size(&self) -> u32 {
        self.batch * self.hidden
    }

    /// Something of every step: [T, B, width].
    fn steps(&self, draw: &mut Draw, width: u32) -> Value {
        draw.reals(self.time * self.batch * width)
    }

    /// Gates, which lie in [low, 1].
    fn gates(&self, draw: &mut Draw, width: u32, low: f32) -> Value {
        draw.between(self.time * self.batch * width, low, 1.0)
    }

    /// The states: `base` elements that mean nothing, then a slot of [B, width] before and after every step, then `more`.
    fn states(&self, draw: &mut Draw, width: u32, more: u32) -> Value {
        draw.between(self.base + (self.time + 1) * self.batch * width + more, -1.0, 1.0)
    }

    /// Lengths from 1 to T, where there are any.
    fn lengths(&self, draw: &mut Draw) -> Value {
        let lengths = draw.ints(self.batch, self.time).into_iter().map(|length| length + 1).collect();
        if self.ragged == 1 { Value::Ints(lengths) } else { Value::Absent }
    }

    /// `later` and `first`, as the backward kernels take them.
    fn order(&self) -> (u32, u32) {
        (self.later.unwrap_or_default(), self.later.is_none().into())
    }
}

/// The two biases of `width`, where there are any.
fn biases(draw: &mut Draw, bias: u32, width: u32) -> [Value; 2] {
    [(); 2].map(|()| if bias == 1 { draw.reals(width) } else { Value::Absent })
}

pub fn rnn_step_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, step, before, after, base, ragged, .. } = r;
    let (relu, bias) = (draw.flag(), draw.flag());
    let p = RnnStepForward { batch, hidden, step, before, after, base, relu, bias, ragged };
    let (xw, w_hh) = (r.steps(draw, hidden), draw.reals(hidden * hidden));
    let [b_ih, b_hh] = biases(draw, bias, hidden);
    let values = vec![xw, w_hh, b_ih, b_hh, r.lengths(draw), r.states(draw, hidden, 0)];
    Case::new(p, draw.elements(&RNN_STEP_FORWARD, r.size()), values)
}

pub fn rnn_step_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, step, after, base, ragged, .. } = r;
    let (later, first) = r.order();
    let p = RnnStepBackward { batch, hidden, step, later, first, after, base, relu: draw.flag(), ragged };
    let values = vec![
        r.steps(draw, hidden),
        draw.reals(hidden * hidden),
        r.states(draw, hidden, 0),
        r.lengths(draw),
        draw.reals(r.size()),
        r.steps(draw, hidden),
    ];
    Case::new(p, draw.elements(&RNN_STEP_BACKWARD, r.size()), values)
}

pub fn lstm_step_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, step, before, after, base, ragged, .. } = r;
    let (projected, bias) = (draw.flag(), draw.flag());
    let width = if projected == 1 { draw.dim(8) } else { hidden };
    let slots = base + (time + 1) * batch * width;
    let out = if projected == 1 { slots + step * batch * hidden } else { base + after * batch * hidden };
    let p = LstmStepForward { batch, hidden, width, step, before, after, base, out, projected, bias, ragged };
    let (xw, w_hh) = (r.steps(draw, 4 * hidden), draw.reals(4 * hidden * width));
    let [b_ih, b_hh] = biases(draw, bias, 4 * hidden);
    let values = vec![
        xw,
        w_hh,
        b_ih,
        b_hh,
        r.lengths(draw),
        r.steps(draw, 4 * hidden),
        draw.reals((time + 1) * r.size()),
        r.states(draw, width, projected * time * r.size()),
    ];
    Case::new(p, draw.elements(&LSTM_STEP_FORWARD, r.size()), values)
}

pub fn lstm_step_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, step, before, after, ragged, .. } = r;
    let (later, first) = r.order();
    let row_of_dy = draw.pick(&[step, 0]);
    let p = LstmStepBackward { batch, hidden, step, row_of_dy, later, first, before, after, ragged };
    let values = vec![
        r.steps(draw, hidden),
        draw.reals(4 * hidden * hidden),
        r.gates(draw, 4 * hidden, -1.0),
        draw.between((time + 1) * r.size(), -2.0, 2.0),
        r.lengths(draw),
        draw.reals(r.size()),
        draw.reals(r.size()),
        r.steps(draw, 4 * hidden),
    ];
    Case::new(p, draw.elements(&LSTM_STEP_BACKWARD, r.size()), values)
}

pub fn lstm_project_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, step, before, after, base, ragged, .. } = r;
    let width = draw.dim(8);
    let source = base + (time + 1) * batch * width + step * batch * hidden;
    let p = LstmProjectForward { batch, hidden, width, step, before, after, base, source, ragged };
    let values = vec![draw.reals(width * hidden), r.lengths(draw), r.states(draw, width, time * r.size())];
    Case::new(p, draw.elements(&LSTM_PROJECT_FORWARD, batch * width), values)
}

pub fn lstm_project_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, step, ragged, .. } = r;
    let width = draw.dim(8);
    let p = LstmProjectBackward { batch, width, step, ragged };
    let values = vec![r.steps(draw, width), r.lengths(draw), draw.reals(batch * width), r.steps(draw, width)];
    Case::new(p, draw.elements(&LSTM_PROJECT_BACKWARD, batch * width), values)
}

pub fn gru_step_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, step, before, after, base, ragged, .. } = r;
    let bias = draw.flag();
    let p = GruStepForward { batch, hidden, time, step, before, after, base, bias, ragged };
    let (xw, w_hh) = (r.steps(draw, 3 * hidden), draw.reals(3 * hidden * hidden));
    let [b_ih, b_hh] = biases(draw, bias, 3 * hidden);
    let values =
        vec![xw, w_hh, b_ih, b_hh, r.lengths(draw), r.steps(draw, 4 * hidden), r.states(draw, hidden, 0)];
    Case::new(p, draw.elements(&GRU_STEP_FORWARD, r.size()), values)
}

pub fn gru_step_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, step, before, base, ragged, .. } = r;
    let (later, first) = r.order();
    let p = GruStepBackward { batch, hidden, time, step, later, first, before, base, ragged };
    let values = vec![
        r.steps(draw, hidden),
        draw.reals(3 * hidden * hidden),
        r.gates(draw, 4 * hidden, -1.0),
        r.states(draw, hidden, 0),
        r.lengths(draw),
        draw.reals(r.size()),
        r.steps(draw, 3 * hidden),
        r.steps(draw, 3 * hidden),
    ];
    Case::new(p, draw.elements(&GRU_STEP_BACKWARD, r.size()), values)
}

pub fn mask_steps(draw: &mut Draw) -> Case {
    let p = MaskSteps { time: draw.dim(4), batch: draw.dim(8), width: draw.dim(16) };
    let count = p.time * p.batch * p.width;
    let lengths = Value::Ints(draw.ints(p.batch, p.time + 1));
    let values = vec![draw.reals(count), lengths, Value::Output(count as usize)];
    Case::new(p, draw.elements(&MASK_STEPS, count), values)
}

pub fn dropout(draw: &mut Draw) -> Case {
    let rate = draw.pick(&[0.0, 0.25, 0.5, 0.9]);
    let p = Dropout {
        count: draw.dim(4 * GROUP),
        seed_low: draw.below(u32::MAX),
        seed_high: draw.below(u32::MAX),
        call_low: draw.below(u32::MAX),
        call_high: draw.below(9),
        rate,
        scale: 1.0 / (1.0 - rate),
    };
    let plans = vec![draw.strided(dropout::plan(&p))];
    Case::new(p, plans, vec![draw.reals(p.count), Value::Output(p.count as usize)])
}
