//! Twin of `shaders/adam.wgsl`.

use super::control::{CORRECTION1, CORRECTION2, STOP};
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
    /// One step of torch.optim.Adam or AdamW: `param *= keep`, `g = grad + weight_decay·param`,
    /// `m = beta1·m + (1 - beta1)·g`, `v = beta2·v + (1 - beta2)·g²`,
    /// `param -= lr/CORRECTION1 · m / (√u/√CORRECTION2 + eps)`, u being v, or where `amsgrad` is 1 v_max, the largest v so
    /// far. Nothing happens where the stop is set.
    pub static ADAM = adam(Adam {
        count: u32, lr: f32, beta1: f32, beta2: f32, one_minus_beta1: f32, one_minus_beta2: f32, eps: f32,
        weight_decay: f32,
        /// 1, or of AdamW 1 - lr·decay.
        keep: f32,
        amsgrad: u32,
    }; param: update F32, grad: read F32, m: update F32, v: update F32, v_max: update F32, control: read F32);
    fast adam_fast;
    variants [
        { "elements", "adam.wgsl" & "elements_of_one.wgsl",
            [("STOP", STOP), ("CORRECTION1", CORRECTION1), ("CORRECTION2", CORRECTION2)] },
        { "fours", "adam.wgsl" & "elements_of_four.wgsl",
            [("STOP", STOP), ("CORRECTION1", CORRECTION1), ("CORRECTION2", CORRECTION2)] },
    ]
}

/// See [`ADAM`].
#[inline(always)]
pub fn adam<R: Real>(
    p: &Adam,
    param: &mut [R],
    grad: &[R],
    m: &mut [R],
    v: &mut [R],
    v_max: &mut [R],
    control: &[R],
) {
    if control[STOP as usize] != R::zero() {
        return;
    }
    let [lr, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, keep] =
        [p.lr, p.beta1, p.beta2, p.one_minus_beta1, p.one_minus_beta2, p.eps, p.weight_decay, p.keep]
            .map(|x| R::of(x.into()));
    let rate = lr / control[CORRECTION1 as usize];
    let root = control[CORRECTION2 as usize].sqrt();
    let moment = |param: R, grad: R, m: &mut R, v: &mut R| {
        let kept = keep * param;
        let g = grad + weight_decay * kept;
        *m = beta1 * *m + one_minus_beta1 * g;
        *v = beta2 * *v + one_minus_beta2 * g * g;
        kept
    };
    let step = |m: R, u: R| rate * m / (u.sqrt() / root + eps);
    let elements = param[..p.count as usize].iter_mut().zip(grad).zip(m).zip(v);
    // Two loops, so that each is a vector's.
    if p.amsgrad == 1 {
        for ((((param, grad), m), v), v_max) in elements.zip(v_max) {
            let kept = moment(*param, *grad, m, v);
            *v_max = v_max.max(*v);
            *param = kept - step(*m, *v_max);
        }
    } else {
        for (((param, grad), m), v) in elements {
            let kept = moment(*param, *grad, m, v);
            *param = kept - step(*m, *v);
        }
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 64;

/// [`adam`], some elements a thread, with the widest vectors.
pub fn adam_fast(
    p: &Adam,
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    v_max: &mut [f32],
    control: &[f32],
) {
    let count = p.count as usize;
    let [param, m, v, v_max] = [param, m, v, v_max].map(Shared::new);
    in_blocks(count, GRAIN, COST * count, |block| {
        let (from, len) = (block.start, block.len());
        let p = Adam { count: len as u32, ..*p };
        // SAFETY: each thread changes elements of its own.
        let [param, m, v] = [&param, &m, &v].map(|x| unsafe { x.part(from, len) });
        // SAFETY: as above; it is shorter where it is not used.
        let v_max = unsafe { if p.amsgrad == 1 { v_max.part(from, len) } else { v_max.part(0, 0) } };
        let grad = &grad[from..][..len];
        widest(
            #[inline(always)]
            || adam(&p, param, grad, m, v, v_max, control),
        );
    });
}
