//! Cases for the kernels of recurrent layers: some steps of a recurrence.

use crate::cpu::dropout::{self, Dropout};
use crate::cpu::gru_backward::{GRU_BACKWARD, GruBackward};
use crate::cpu::gru_forward::{GRU_FORWARD, GruForward};
use crate::cpu::lstm_backward::{LSTM_BACKWARD, LstmBackward};
use crate::cpu::lstm_forward::{LSTM_FORWARD, LstmForward};
use crate::cpu::lstm_project_backward::{LSTM_PROJECT_BACKWARD, LstmProjectBackward};
use crate::cpu::lstm_project_forward::{LSTM_PROJECT_FORWARD, LstmProjectForward};
use crate::cpu::mask_steps::{MASK_STEPS, MaskSteps};
use crate::cpu::recurrence::Product;
use crate::cpu::rnn_backward::{RNN_BACKWARD, RnnBackward};
use crate::cpu::rnn_forward::{RNN_FORWARD, RnnForward};
use crate::kernel::{GROUP, Kernel, Plan};
use crate::verify::{Case, Draw, Size, Value};

/// The plans for some steps. Those that hold the weights sometimes have fewer workgroups than rows, so that each takes
/// several rows, one after the other.
fn plans(draw: &mut Draw, product: Product, kernel: &'static Kernel, steps: u32) -> Vec<Plan> {
    let turns = draw.pick(&[1, 2, 3]);
    let mut plans = product.plans(kernel, steps);
    for plan in plans.iter_mut().filter(|plan| plan.kernel.variants[plan.variant].name.starts_with("held")) {
        plan.grid[1] = plan.grid[1].div_ceil(turns);
    }
    plans
}

/// Sizes of a recurrence and some of its steps, in either direction.
struct Recurrence {
    batch: u32,
    hidden: u32,
    time: u32,
    /// Steps of the launch.
    steps: u32,
    /// The lowest of them.
    lowest: u32,
    reverse: u32,
    fresh: u32,
    base: u32,
    ragged: u32,
}

impl Recurrence {
    fn draw(draw: &mut Draw) -> Self {
        // Tiles have so many rows and units. With much larger sizes the twins take too long.
        let (rows, units) = (draw.pick(&[4, 8, 16]), draw.pick(&[8, 16, 32]));
        let (batch, hidden, time) = (draw.dim(rows).min(73), draw.dim(units).min(160), 1 + draw.below(4));
        // The most units for which registers can hold the weights, and one more.
        let (batch, hidden) = match draw.size() == Size::Edge && draw.below(4) == 0 {
            true => (batch.min(3), draw.pick(&[96, 97, 112, 113, 192, 193])),
            false => (batch, hidden),
        };
        let many = 1 + draw.below(time);
        let steps = draw.pick(&[1, many]);
        let (lowest, reverse) = (draw.below(time + 1 - steps), draw.flag());
        // Slot 1 is aligned.
        let (base, ragged) = (draw.pick(&[0, 36]), draw.flag());
        Recurrence { batch, hidden, time, steps, lowest, reverse, fresh: draw.flag(), base, ragged }
    }

    /// The first step of the launch, in a pass from low to high steps, or `downwards`.
    fn start(&self, downwards: bool) -> u32 {
        if downwards { self.lowest + self.steps - 1 } else { self.lowest }
    }

    /// The first step of the launch in a forward pass.
    fn forward(&self) -> u32 {
        self.start(self.reverse == 1)
    }

    /// The first step of the launch in a backward pass.
    fn backward(&self) -> u32 {
        self.start(self.reverse == 0)
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
}

pub fn rnn_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, steps, reverse, fresh, base, ragged, .. } = r;
    let relu = draw.flag();
    let p = RnnForward { batch, hidden, start: r.forward(), steps, reverse, fresh, base, relu, ragged };
    let (xw, w_hh) = (r.steps(draw, hidden), draw.reals(hidden * hidden));
    let values = vec![xw, w_hh, r.lengths(draw), r.states(draw, hidden, 0)];
    Case::new(p, plans(draw, p.product(), &RNN_FORWARD, steps), values)
}

pub fn rnn_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, steps, reverse, fresh, base, ragged, .. } = r;
    let (start, relu) = (r.backward(), draw.flag());
    let p = RnnBackward { batch, hidden, time, start, steps, reverse, fresh, base, relu, ragged };
    let values = vec![
        r.steps(draw, hidden),
        draw.reals(hidden * hidden),
        r.states(draw, hidden, 0),
        r.lengths(draw),
        draw.reals(r.size()),
        r.steps(draw, hidden),
    ];
    Case::new(p, plans(draw, p.product(), &RNN_BACKWARD, steps), values)
}

pub fn lstm_forward(draw: &mut Draw) -> Case {
    let mut r = Recurrence::draw(draw);
    let projected = draw.flag();
    if projected == 1 {
        // The projection comes between two steps, and the initial state is as wide as what is projected to.
        (r.steps, r.fresh) = (1, 0);
    }
    let Recurrence { batch, hidden, time, steps, reverse, fresh, base, ragged, .. } = r;
    let width = if projected == 1 { draw.dim(8) * draw.pick(&[1, 4]) } else { hidden };
    let start = r.forward();
    let p = LstmForward { batch, hidden, width, time, start, steps, reverse, fresh, base, projected, ragged };
    let (xw, w_hh) = (r.steps(draw, 4 * hidden), draw.reals(4 * hidden * width));
    let values = vec![
        xw,
        w_hh,
        r.lengths(draw),
        r.steps(draw, 4 * hidden),
        draw.reals((time + 1) * r.size()),
        r.states(draw, width, projected * time * r.size()),
    ];
    Case::new(p, plans(draw, p.product(), &LSTM_FORWARD, steps), values)
}

pub fn lstm_backward(draw: &mut Draw) -> Case {
    let mut r = Recurrence::draw(draw);
    let projected = draw.flag();
    if projected == 1 {
        r.steps = 1;
    }
    let Recurrence { batch, hidden, time, steps, reverse, fresh, ragged, .. } = r;
    let p =
        LstmBackward { batch, hidden, time, start: r.backward(), steps, reverse, fresh, projected, ragged };
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
    Case::new(p, plans(draw, p.product(), &LSTM_BACKWARD, steps), values)
}

pub fn lstm_project_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, lowest: step, reverse, base, ragged, .. } = r;
    let (before, after) = (step + reverse, step + 1 - reverse);
    let width = draw.dim(8);
    let source = base + (time + 1) * batch * width + step * batch * hidden;
    let p = LstmProjectForward { batch, hidden, width, step, before, after, base, source, ragged };
    let values = vec![draw.reals(width * hidden), r.lengths(draw), r.states(draw, width, time * r.size())];
    Case::new(p, draw.elements(&LSTM_PROJECT_FORWARD, batch * width), values)
}

pub fn lstm_project_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, lowest: step, ragged, .. } = r;
    let width = draw.dim(8);
    let p = LstmProjectBackward { batch, width, step, ragged };
    let values = vec![r.steps(draw, width), r.lengths(draw), draw.reals(batch * width), r.steps(draw, width)];
    Case::new(p, draw.elements(&LSTM_PROJECT_BACKWARD, batch * width), values)
}

pub fn gru_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, steps, reverse, fresh, base, ragged, .. } = r;
    let (start, bias) = (r.forward(), draw.flag());
    let p = GruForward { batch, hidden, time, start, steps, reverse, fresh, base, bias, ragged };
    let (xw, w_hh) = (r.steps(draw, 3 * hidden), draw.reals(3 * hidden * hidden));
    let b_hh = if bias == 1 { draw.reals(3 * hidden) } else { Value::Absent };
    let values = vec![xw, w_hh, b_hh, r.lengths(draw), r.steps(draw, 4 * hidden), r.states(draw, hidden, 0)];
    Case::new(p, plans(draw, p.product(), &GRU_FORWARD, steps), values)
}

pub fn gru_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let Recurrence { batch, hidden, time, steps, reverse, fresh, base, ragged, .. } = r;
    let p = GruBackward { batch, hidden, time, start: r.backward(), steps, reverse, fresh, base, ragged };
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
    Case::new(p, plans(draw, p.product(), &GRU_BACKWARD, steps), values)
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
