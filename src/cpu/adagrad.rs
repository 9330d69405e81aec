//! Twin of `shaders/adagrad.wgsl`.

use super::control::{STOP, T};
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
    /// One step of torch.optim.Adagrad: `g = grad + weight_decay·param`, `sum += g²`,
    /// `param -= lr / (1 + (T - 1)·lr_decay) · g / (√sum + eps)`. Nothing happens where the stop is set.
    pub static ADAGRAD = adagrad(Adagrad { count: u32, lr: f32, lr_decay: f32, eps: f32, weight_decay: f32 };
        param: update F32, grad: read F32, sum: update F32, control: read F32);
    fast adagrad_fast;
    variants [
        { "elements", "adagrad.wgsl" & "elements_of_one.wgsl", [("T", T), ("STOP", STOP)] },
        { "fours", "adagrad.wgsl" & "elements_of_four.wgsl", [("T", T), ("STOP", STOP)] },
    ]
}

/// See [`ADAGRAD`].
#[inline(always)]
pub fn adagrad<R: Real>(p: &Adagrad, param: &mut [R], grad: &[R], sum: &mut [R], control: &[R]) {
    if control[STOP as usize] != R::zero() {
        return;
    }
    let [lr, lr_decay, eps, weight_decay] =
        [p.lr, p.lr_decay, p.eps, p.weight_decay].map(|x| R::of(x.into()));
    let one = R::of(1.0);
    let rate = lr / (one + (control[T as usize] - one) * lr_decay);
    for ((param, grad), sum) in param[..p.count as usize].iter_mut().zip(grad).zip(sum) {
        let g = *grad + weight_decay * *param;
        *sum = *sum + g * g;
        *param = *param - rate * g / (sum.sqrt() + eps);
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 48;

/// [`adagrad`], some elements a thread, with the widest vectors.
pub fn adagrad_fast(p: &Adagrad, param: &mut [f32], grad: &[f32], sum: &mut [f32], control: &[f32]) {
    let count = p.count as usize;
    let [param, sum] = [param, sum].map(Shared::new);
    in_blocks(count, GRAIN, COST * count, |block| {
        let (from, len) = (block.start, block.len());
        let p = Adagrad { count: len as u32, ..*p };
        // SAFETY: each thread changes elements of its own.
        let [param, sum] = [&param, &sum].map(|x| unsafe { x.part(from, len) });
        let grad = &grad[from..][..len];
        widest(
            #[inline(always)]
            || adagrad(&p, param, grad, sum, control),
        );
    });
}
