//! Cases for the kernels of the optimizers.

use crate::cpu::adagrad::{ADAGRAD, Adagrad};
use crate::cpu::adam::{ADAM, Adam};
use crate::cpu::begin_step::{BEGIN_STEP, BeginStep};
use crate::cpu::clip_gradients::{self, CLIP_GRADIENTS, ClipGradients};
use crate::cpu::clip_values::{CLIP_VALUES, ClipValues};
use crate::cpu::control::{
    CORRECTION1, CORRECTION2, GOOD, NONFINITE, OVERFLOW, SCALE, SCALED_WORDS, SKIPPED, STOP, T,
};
use crate::cpu::rmsprop::{RMSPROP, Rmsprop};
use crate::cpu::sgd::{SGD, Sgd};
use crate::kernel::GROUP;
use crate::verify::{Case, Draw, Value};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;

/// The control buffer at step `t` of Adam.
fn control(t: i32, stop: u32) -> Vec<f32> {
    let mut control = vec![0.0; SCALED_WORDS];
    control[T as usize] = t as f32;
    control[STOP as usize] = stop as f32;
    control[CORRECTION1 as usize] = (1.0 - BETA1.powi(t)) as f32;
    control[CORRECTION2 as usize] = (1.0 - BETA2.powi(t)) as f32;
    control
}

pub fn begin_step(draw: &mut Draw) -> Case {
    let log_beta1 = draw.pick(&[BETA1.ln() as f32, -1e30]);
    let p = BeginStep {
        log_beta1,
        log_beta2: BETA2.ln() as f32,
        watched: draw.flag(),
        skip: draw.flag(),
        interval: draw.pick(&[0, 1, 3, 2000]),
        growth: draw.pick(&[2.0, 3.5]),
        backoff: draw.pick(&[0.5, 0.1]),
    };
    let watch = draw.pick(&[0.0, -1.5, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    let watch = if p.watched == 1 { Value::Reals(vec![watch]) } else { Value::Absent };
    let mut control = control(draw.pick(&[0, 1, 7, 700, 100_000]), draw.pick(&[0, 0, 1, OVERFLOW]));
    control[SCALE as usize] = draw.pick(&[1.0, 1.5, 1024.0, 65_536.0, 16_777_216.0]);
    control[GOOD as usize] = draw.pick(&[0.0, 2.0, 1999.0]);
    (control[NONFINITE as usize], control[SKIPPED as usize]) =
        draw.pick(&[(0.0, 0.0), (0.0, 5.0), (1.0, 2.0)]);
    Case::new(p, draw.elements(&BEGIN_STEP, 1), vec![watch, Value::Reals(control)])
}

pub fn clip_gradients(draw: &mut Draw) -> Case {
    let tile = CLIP_GRADIENTS.variants[0].constant("THREADS");
    let max_norm = draw.pick(&[0.5, 20.0, 1e4]);
    let p = ClipGradients {
        count: draw.dim(tile),
        partials: draw.dim(GROUP).min(256),
        max_norm,
        scaled: draw.flag(),
    };
    let mut control = control(3, 0);
    control[SCALE as usize] = draw.pick(&[1.0, 3.0, 65_536.0]);
    let mut partial = draw.between(p.partials, 0.0, 100.0);
    let fault = draw.pick(&[0.0, 0.0, f32::NAN, f32::INFINITY]);
    if let Value::Reals(partial) = &mut partial {
        partial.iter_mut().last().into_iter().for_each(|last| *last += fault);
    }
    let plans = draw.each_strided(clip_gradients::plans(&p));
    Case::new(p, plans, vec![partial, draw.reals(p.count), Value::Reals(control)])
}

pub fn sgd(draw: &mut Draw) -> Case {
    let (momentum, nesterov) = draw.pick(&[(0.0, 0), (0.9, 0), (0.9, 1)]);
    let p = Sgd {
        count: draw.dim(GROUP),
        lr: 0.1,
        momentum,
        dampening: if nesterov == 1 { 0.0 } else { draw.pick(&[0.0, 0.25]) },
        weight_decay: draw.pick(&[0.0, 0.01]),
        nesterov,
    };
    let (t, stop) = (draw.pick(&[1, 2, 50]), draw.pick(&[0, 0, 0, 1]));
    let (param, grad) = (draw.reals(p.count), draw.reals(p.count));
    // The first step with momentum makes the buffer.
    let kept = t > 1 || stop == 1;
    let buf = unused_unless(draw, momentum != 0.0, |draw| draw.updated(p.count, kept.into()));
    Case::new(p, draw.fours(&SGD, p.count), vec![param, grad, buf, Value::Reals(control(t, stop))])
}

pub fn adam(draw: &mut Draw) -> Case {
    let (weight_decay, keep) = draw.pick(&[(0.0, 1.0), (0.01, 1.0), (0.0, 0.99)]);
    let p = Adam {
        count: draw.dim(GROUP),
        lr: 1e-3,
        beta1: BETA1 as f32,
        beta2: BETA2 as f32,
        one_minus_beta1: (1.0 - BETA1) as f32,
        one_minus_beta2: (1.0 - BETA2) as f32,
        eps: 1e-8,
        weight_decay,
        keep,
        amsgrad: draw.flag(),
    };
    let control = control(draw.pick(&[1, 2, 1000]), draw.pick(&[0, 0, 0, 1]));
    let (param, grad, m) = (draw.reals(p.count), draw.reals(p.count), draw.reals(p.count));
    let v = draw.between(p.count, 0.0, 2.0);
    let v_max = unused_unless(draw, p.amsgrad == 1, |draw| draw.between(p.count, 0.0, 2.0));
    Case::new(p, draw.fours(&ADAM, p.count), vec![param, grad, m, v, v_max, Value::Reals(control)])
}

/// State that a kernel touches only if an option is on. Where it is off, four elements stand for it: the most that a thread
/// takes at a time.
fn unused_unless(draw: &mut Draw, used: bool, value: impl FnOnce(&mut Draw) -> Value) -> Value {
    if used { value(draw) } else { draw.reals(4) }
}

pub fn rmsprop(draw: &mut Draw) -> Case {
    let alpha = 0.99;
    let p = Rmsprop {
        count: draw.dim(GROUP),
        lr: 1e-2,
        alpha: alpha as f32,
        one_minus_alpha: (1.0 - alpha) as f32,
        eps: 1e-8,
        weight_decay: draw.pick(&[0.0, 0.01]),
        momentum: draw.pick(&[0.0, 0.9]),
        centered: draw.flag(),
    };
    let control = control(draw.pick(&[1, 2, 1000]), draw.pick(&[0, 0, 0, 1]));
    let (param, grad) = (draw.reals(p.count), draw.reals(p.count));
    // A mean of squares is at least the square of the mean.
    let square_avg = draw.between(p.count, 1.0, 2.0);
    let grad_avg = unused_unless(draw, p.centered == 1, |draw| draw.between(p.count, -0.9, 0.9));
    let buf = unused_unless(draw, p.momentum != 0.0, |draw| draw.reals(p.count));
    let values = vec![param, grad, square_avg, grad_avg, buf, Value::Reals(control)];
    Case::new(p, draw.fours(&RMSPROP, p.count), values)
}

pub fn adagrad(draw: &mut Draw) -> Case {
    let (count, weight_decay) = (draw.dim(GROUP), draw.pick(&[0.0, 0.01]));
    let p = Adagrad { count, lr: 1e-2, lr_decay: draw.pick(&[0.0, 0.1]), eps: 1e-10, weight_decay };
    let control = control(draw.pick(&[1, 2, 1000]), draw.pick(&[0, 0, 0, 1]));
    let (param, grad, sum) = (draw.reals(count), draw.reals(count), draw.between(count, 0.0, 2.0));
    Case::new(p, draw.fours(&ADAGRAD, count), vec![param, grad, sum, Value::Reals(control)])
}

pub fn clip_values(draw: &mut Draw) -> Case {
    let p = ClipValues { count: draw.dim(GROUP), limit: draw.pick(&[0.25, 1.0, 100.0]) };
    let mut x = draw.reals(p.count);
    let fault = draw.pick(&[0.0, 0.0, f32::NAN, f32::INFINITY]);
    if let Value::Reals(x) = &mut x {
        x.iter_mut().last().into_iter().for_each(|last| *last += fault);
    }
    Case::new(p, draw.fours(&CLIP_VALUES, p.count), vec![x])
}
