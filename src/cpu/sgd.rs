//! Twin of `shaders/sgd.wgsl`.

use super::control::{STOP, T};
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
    /// One step of torch.optim.SGD: `g = grad + weight_decay·param`; with momentum
    /// `buf = momentum·buf + (1 - dampening)·g`, but `buf = g` at the first step, and `g = g + momentum·buf` (nesterov) or
    /// `g = buf`; then `param -= lr·g`. Nothing happens where the stop is set. Without momentum buf is not used.
    pub static SGD = sgd(Sgd {
        count: u32, lr: f32, momentum: f32, dampening: f32, weight_decay: f32, nesterov: u32,
    }; param: update F32, grad: read F32, buf: update F32, control: read F32);
    fast sgd_fast;
    variants [
        { "elements", "sgd.wgsl" & "elements_of_one.wgsl", [("T", T), ("STOP", STOP)] },
        { "fours", "sgd.wgsl" & "elements_of_four.wgsl", [("T", T), ("STOP", STOP)] },
    ]
}

/// See [`SGD`].
#[inline(always)]
pub fn sgd<R: Real>(p: &Sgd, param: &mut [R], grad: &[R], buf: &mut [R], control: &[R]) {
    if control[STOP as usize] != R::zero() {
        return;
    }
    let first = control[T as usize] == R::of(1.0);
    let [lr, momentum, dampening, weight_decay] =
        [p.lr, p.momentum, p.dampening, p.weight_decay].map(|x| R::of(x.into()));
    let elements = param[..p.count as usize].iter_mut().zip(grad);
    let total = |grad: R, param: R| grad + weight_decay * param;
    if p.momentum == 0.0 {
        elements.for_each(|(param, grad)| *param = *param - lr * total(*grad, *param));
        return;
    }
    for ((param, grad), buf) in elements.zip(buf) {
        let g = total(*grad, *param);
        *buf = if first { g } else { momentum * *buf + (R::of(1.0) - dampening) * g };
        *param = *param - lr * if p.nesterov == 1 { g + momentum * *buf } else { *buf };
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 48;

/// [`sgd`], some elements a thread, with the widest vectors.
pub fn sgd_fast(p: &Sgd, param: &mut [f32], grad: &[f32], buf: &mut [f32], control: &[f32]) {
    let count = p.count as usize;
    let [param, buf] = [param, buf].map(Shared::new);
    in_blocks(count, GRAIN, COST * count, |block| {
        let (from, len) = (block.start, block.len());
        let p = Sgd { count: len as u32, ..*p };
        // SAFETY: each thread changes elements of its own.
        let param = unsafe { param.part(from, len) };
        // SAFETY: as above; it is shorter where it is not used.
        let buf = unsafe { if p.momentum != 0.0 { buf.part(from, len) } else { buf.part(0, 0) } };
        let grad = &grad[from..][..len];
        widest(
            #[inline(always)]
            || sgd(&p, param, grad, buf, control),
        );
    });
}
