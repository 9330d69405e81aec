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
use crate::cpu::steps::Steps;
use crate::kernel::{GROUP, Kernel, Plan};
use crate::verify::{Case, Draw, Size, Value};

/// Some steps of a recurrence: in either direction or in both, or in layers one behind the other.
#[derive(Clone, Copy)]
struct Recurrence {
    rows: Steps,
    fresh: u32,
    base: u32,
    ragged: u32,
}

impl Recurrence {
    fn draw(draw: &mut Draw) -> Self {
        if draw.size() == Size::Bench {
            return Recurrence::plain(64, draw.pick(&[128, 32, 64, 96]), 32);
        }
        // Tiles have so many rows and units. With much larger sizes the twins take too long.
        let (rows, units) = (draw.pick(&[4, 8, 16]), draw.pick(&[8, 16, 32]));
        let (batch, hidden, time) = (draw.dim(rows).min(73), draw.dim(units).min(160), 1 + draw.below(4));
        // The most units for which registers can hold the weights, and one more.
        let (batch, hidden) = match draw.size() == Size::Edge && draw.below(4) == 0 {
            true => (batch.min(3), draw.pick(&[96, 97, 112, 113, 192, 193])),
            false => (batch, hidden),
        };
        // Some variants take four units at a time.
        let hidden = match draw.size() != Size::One && draw.flag() == 1 {
            true => hidden.next_multiple_of(4),
            false => hidden,
        };
        let many = 1 + draw.below(time);
        let count = draw.pick(&[1, many]);
        let (stagger, reverse) = (draw.pick(&[0, 0, 1, 2, 3]), draw.flag() == 1);
        let chains = 1 + draw.below(if stagger == 0 { 2 } else { 3 });
        // Of layers some may not have begun, or have ended. The first steps of all are something else than the others.
        let behind = (chains - 1) * stagger;
        let start = match draw.flag() {
            0 => 0,
            _ => draw.below(time + 1 - count + 2 * behind) as i32 - behind as i32,
        };
        // Slot 1 is aligned.
        let (base, ragged) = (draw.pick(&[0, 36]), draw.flag());
        let lowest = draw.below(chains);
        let [batch, hidden, time, count, chains, lowest, stagger] =
            [batch, hidden, time, count, chains, lowest, stagger].map(|n| n as usize);
        let rows = Steps { batch, hidden, time, start, count, reverse, chains, lowest, stagger };
        Recurrence { rows, fresh: draw.flag(), base, ragged }
    }

    /// All steps of a sequence from its first.
    fn plain(batch: usize, hidden: usize, time: usize) -> Self {
        let (start, count, reverse, chains, lowest, stagger) = (0, time, false, 1, 0, 0);
        let rows = Steps { batch, hidden, time, start, count, reverse, chains, lowest, stagger };
        Recurrence { rows, fresh: 1, base: 0, ragged: 0 }
    }

    /// The same steps of a single chain.
    fn alone(self) -> Self {
        Recurrence { rows: Steps { chains: 1, lowest: 0, stagger: 0, ..self.rows }, ..self }
    }

    /// B, H and T.
    fn sizes(&self) -> [u32; 3] {
        [self.rows.batch, self.rows.hidden, self.rows.time].map(|n| n as u32)
    }

    /// The plans for the steps. Those that hold the weights sometimes have fewer workgroups than rows, so that each takes several
    /// rows, one after the other.
    fn plans(&self, draw: &mut Draw, product: Product, kernel: &'static Kernel) -> Vec<Plan> {
        let turns = draw.pick(&[1, 2, 3]);
        let product = Product { chains: (self.rows.chains - self.rows.lowest) as u32, ..product };
        let mut plans = product.plans(kernel, self.rows.count as u32);
        let held = |plan: &&mut Plan| plan.kernel.variants[plan.variant].name.starts_with("held");
        for plan in plans.iter_mut().filter(held) {
            plan.grid[2] = plan.grid[2].div_ceil(turns);
        }
        plans
    }

    /// Something of every step: [D, T, B, width].
    fn steps(&self, draw: &mut Draw, width: u32) -> Value {
        draw.reals(self.rows.rows_of_steps() as u32 * width)
    }

    /// What arrives from outside: [T, B, D, H], or of layers [D, T, B, H].
    fn outputs(&self, draw: &mut Draw) -> Value {
        draw.reals(self.rows.rows_of_outputs() as u32 * self.rows.hidden as u32)
    }

    /// What goes from step to step: [D, B, width].
    fn carried(&self, draw: &mut Draw, width: u32) -> Value {
        draw.reals(self.rows.rows_of_carried() as u32 * width)
    }

    /// W_hh, or its transpose.
    fn weights(&self, draw: &mut Draw, product: Product) -> Value {
        draw.reals(product.first_weight(self.rows.chains) as u32)
    }

    /// Gates, which lie in [low, 1].
    fn gates(&self, draw: &mut Draw, width: u32, low: f32) -> Value {
        draw.between(self.rows.rows_of_steps() as u32 * width, low, 1.0)
    }

    /// The cell states, in a slot of [B, H] before and after every step.
    fn cells(&self, draw: &mut Draw, most: f32) -> Value {
        draw.between(self.rows.rows_of_slots() as u32 * self.rows.hidden as u32, -most, most)
    }

    /// The states: `base` elements that mean nothing, then a slot of [B, width] before and after every step, then `more`.
    fn states(&self, draw: &mut Draw, width: u32, more: u32) -> Value {
        draw.between(self.base + self.rows.rows_of_slots() as u32 * width + more, -1.0, 1.0)
    }

    /// Lengths from 1 to T, where there are any.
    fn lengths(&self, draw: &mut Draw) -> Value {
        let [batch, _, time] = self.sizes();
        let lengths = draw.ints(batch, time).into_iter().map(|length| length + 1).collect();
        if self.ragged == 1 { Value::Ints(lengths) } else { Value::Absent }
    }
}

/// How many numbers h is projected to.
fn projection(draw: &mut Draw) -> u32 {
    draw.dim(8).min(160)
}

pub fn rnn_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let (Recurrence { fresh, base, ragged, .. }, [_, hidden, _]) = (r, r.sizes());
    let relu = draw.flag();
    let p = RnnForward { fresh, base, relu, ragged, ..r.rows.into() };
    let (xw, w_hh) = (r.steps(draw, hidden), r.weights(draw, p.product()));
    let values = vec![xw, w_hh, r.lengths(draw), r.states(draw, hidden, 0)];
    Case::new(p, r.plans(draw, p.product(), &RNN_FORWARD), values)
}

pub fn rnn_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let (Recurrence { fresh, base, ragged, .. }, [_, hidden, _]) = (r, r.sizes());
    let relu = draw.flag();
    let p = RnnBackward { fresh, base, relu, ragged, ..r.rows.into() };
    let values = vec![
        r.outputs(draw),
        r.weights(draw, p.product()),
        r.states(draw, hidden, 0),
        r.lengths(draw),
        r.carried(draw, hidden),
        r.steps(draw, hidden),
    ];
    Case::new(p, r.plans(draw, p.product(), &RNN_BACKWARD), values)
}

pub fn lstm_forward(draw: &mut Draw) -> Case {
    let mut r = Recurrence::draw(draw);
    let projected = draw.flag();
    if projected == 1 {
        // The projection comes between two steps of one chain, and the initial state is as wide as what is projected to.
        r = Recurrence { fresh: 0, ..r.alone() };
        r.rows.count = 1;
    }
    let (Recurrence { fresh, base, ragged, .. }, [batch, hidden, time]) = (r, r.sizes());
    let width = if projected == 1 { projection(draw) * draw.pick(&[1, 4]) } else { hidden };
    let p = LstmForward { width, fresh, base, projected, ragged, ..r.rows.into() };
    let (xw, w_hh) = (r.steps(draw, 4 * hidden), r.weights(draw, p.product()));
    let values = vec![
        xw,
        w_hh,
        r.lengths(draw),
        r.steps(draw, 4 * hidden),
        r.cells(draw, 1.0),
        r.states(draw, width, projected * time * batch * hidden),
    ];
    Case::new(p, r.plans(draw, p.product(), &LSTM_FORWARD), values)
}

pub fn lstm_backward(draw: &mut Draw) -> Case {
    let mut r = Recurrence::draw(draw);
    let projected = draw.flag();
    if projected == 1 {
        r = r.alone();
        r.rows.count = 1;
    }
    let (Recurrence { fresh, ragged, .. }, [_, hidden, _]) = (r, r.sizes());
    let p = LstmBackward { fresh, projected, ragged, ..r.rows.into() };
    let values = vec![
        r.outputs(draw),
        r.weights(draw, p.product()),
        r.gates(draw, 4 * hidden, -1.0),
        r.cells(draw, 2.0),
        r.lengths(draw),
        r.carried(draw, hidden),
        r.carried(draw, hidden),
        r.steps(draw, 4 * hidden),
    ];
    Case::new(p, r.plans(draw, p.product(), &LSTM_BACKWARD), values)
}

pub fn lstm_project_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw).alone();
    let (Recurrence { base, ragged, .. }, [batch, hidden, time]) = (r, r.sizes());
    let step = draw.below(time);
    let reverse = u32::from(r.rows.reverse);
    let (before, after) = (step + reverse, step + 1 - reverse);
    let width = projection(draw);
    let source = base + (time + 1) * batch * width + step * batch * hidden;
    let p = LstmProjectForward { batch, hidden, width, step, before, after, base, source, ragged };
    let values =
        vec![draw.reals(width * hidden), r.lengths(draw), r.states(draw, width, time * batch * hidden)];
    Case::new(p, draw.elements(&LSTM_PROJECT_FORWARD, batch * width), values)
}

pub fn lstm_project_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw).alone();
    let (Recurrence { ragged, .. }, [batch, _, time]) = (r, r.sizes());
    let step = draw.below(time);
    let width = projection(draw);
    let p = LstmProjectBackward { batch, width, step, ragged };
    let values = vec![r.steps(draw, width), r.lengths(draw), draw.reals(batch * width), r.steps(draw, width)];
    Case::new(p, draw.elements(&LSTM_PROJECT_BACKWARD, batch * width), values)
}

pub fn gru_forward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let (Recurrence { fresh, base, ragged, .. }, [_, hidden, _]) = (r, r.sizes());
    let bias = draw.flag();
    let p = GruForward { fresh, base, bias, ragged, ..r.rows.into() };
    let (xw, w_hh) = (r.steps(draw, 3 * hidden), r.weights(draw, p.product()));
    let b_hh = if bias == 1 { draw.reals(r.rows.chains as u32 * 3 * hidden) } else { Value::Absent };
    let values = vec![xw, w_hh, b_hh, r.lengths(draw), r.steps(draw, 4 * hidden), r.states(draw, hidden, 0)];
    Case::new(p, r.plans(draw, p.product(), &GRU_FORWARD), values)
}

pub fn gru_backward(draw: &mut Draw) -> Case {
    let r = Recurrence::draw(draw);
    let (Recurrence { fresh, base, ragged, .. }, [_, hidden, _]) = (r, r.sizes());
    let p = GruBackward { fresh, base, ragged, ..r.rows.into() };
    let values = vec![
        r.outputs(draw),
        r.weights(draw, p.product()),
        r.gates(draw, 4 * hidden, -1.0),
        r.states(draw, hidden, 0),
        r.lengths(draw),
        r.carried(draw, hidden),
        r.steps(draw, 3 * hidden),
        r.steps(draw, 3 * hidden),
    ];
    Case::new(p, r.plans(draw, p.product(), &GRU_BACKWARD), values)
}

pub fn mask_steps(draw: &mut Draw) -> Case {
    let p = MaskSteps { time: draw.dim(4), batch: draw.dim(8), width: draw.dim(16) };
    let count = p.time * p.batch * p.width;
    let lengths = Value::Ints(draw.ints(p.batch, p.time + 1));
    let values = vec![draw.reals(count), lengths, Value::Output(count as usize)];
    Case::new(p, draw.rows_of_fours(&MASK_STEPS, count, p.width), values)
}

pub fn dropout(draw: &mut Draw) -> Case {
    let rate = draw.pick(&[0.0, 0.25, 0.5, 0.9]);
    let p = Dropout {
        count: draw.dim(4 * GROUP),
        first: 4 * draw.below(9),
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
