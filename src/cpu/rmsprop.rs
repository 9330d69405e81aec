//! Twin of `shaders/rmsprop.wgsl`.

use super::control::STOP;
use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

kernel! {
    /// One step of torch.optim.RMSprop: `g = grad + weight_decay·param`,
    /// `square_avg = alpha·square_avg + (1 - alpha)·g²`, `d = √square_avg + eps`, or where `centered` is 1
    /// `d = √(square_avg - grad_avg²) + eps` with the same average of g; `param -= lr·g/d`, or with momentum
    /// `buf = momentum·buf + g/d` and `param -= lr·buf`. Nothing happens where the stop is set.
    pub static RMSPROP = rmsprop(Rmsprop {
        count: u32, lr: f32, alpha: f32, one_minus_alpha: f32, eps: f32, weight_decay: f32, momentum: f32,
        centered: u32,
    }; param: update F32, grad: read F32, square_avg: update F32, grad_avg: update F32, buf: update F32,
       control: read F32);
    fast rmsprop_fast;
    variants [
        { "elements", "rmsprop.wgsl" & "elements_of_one.wgsl", [("STOP", STOP)] },
        { "fours", "rmsprop.wgsl" & "elements_of_four.wgsl", [("STOP", STOP)] },
    ]
}

/// See [`RMSPROP`].
#[inline(always)]
pub fn rmsprop<R: Real>(
    p: &Rmsprop,
    param: &mut [R],
    grad: &[R],
    square_avg: &mut [R],
    grad_avg: &mut [R],
    buf: &mut [R],
    control: &[R],
) {
    if control[STOP as usize] != R::zero() {
        return;
    }
    let [lr, alpha, one_minus_alpha, eps, weight_decay, momentum] =
        [p.lr, p.alpha, p.one_minus_alpha, p.eps, p.weight_decay, p.momentum].map(|x| R::of(x.into()));
    let update =
        |param: &mut R, grad: R, square_avg: &mut R, grad_avg: Option<&mut R>, buf: Option<&mut R>| {
            let g = grad + weight_decay * *param;
            let mut variance = alpha * *square_avg + one_minus_alpha * g * g;
            *square_avg = variance;
            if let Some(grad_avg) = grad_avg {
                let mean = alpha * *grad_avg + one_minus_alpha * g;
                *grad_avg = mean;
                variance = (variance - mean * mean).max(R::zero());
            }
            let mut step = g / (variance.sqrt() + eps);
            if let Some(buf) = buf {
                step = momentum * *buf + step;
                *buf = step;
            }
            *param = *param - lr * step;
        };
    let elements = param[..p.count as usize].iter_mut().zip(grad).zip(square_avg);
    // A loop for each, so that each is a vector's.
    match (p.centered == 1, p.momentum != 0.0) {
        (false, false) => {
            elements.for_each(|((param, grad), square)| update(param, *grad, square, None, None))
        }
        (true, false) => elements
            .zip(grad_avg)
            .for_each(|(((param, grad), square), avg)| update(param, *grad, square, Some(avg), None)),
        (false, true) => elements
            .zip(buf)
            .for_each(|(((param, grad), square), buf)| update(param, *grad, square, None, Some(buf))),
        (true, true) => elements.zip(grad_avg).zip(buf).for_each(|((((param, grad), square), avg), buf)| {
            update(param, *grad, square, Some(avg), Some(buf))
        }),
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 64;

/// [`rmsprop`], some elements a thread, with the widest vectors.
pub fn rmsprop_fast(
    p: &Rmsprop,
    param: &mut [f32],
    grad: &[f32],
    square_avg: &mut [f32],
    grad_avg: &mut [f32],
    buf: &mut [f32],
    control: &[f32],
) {
    let count = p.count as usize;
    let [param, square_avg, grad_avg, buf] = [param, square_avg, grad_avg, buf].map(Shared::new);
    in_blocks(count, GRAIN, COST * count, |block| {
        let (from, len) = (block.start, block.len());
        let p = Rmsprop { count: len as u32, ..*p };
        // SAFETY: each thread changes elements of its own.
        let [param, square_avg] = [&param, &square_avg].map(|x| unsafe { x.part(from, len) });
        // SAFETY: as above; it is shorter where it is not used.
        let grad_avg =
            unsafe { if p.centered == 1 { grad_avg.part(from, len) } else { grad_avg.part(0, 0) } };
        // SAFETY: as above; it is shorter where it is not used.
        let buf = unsafe { if p.momentum != 0.0 { buf.part(from, len) } else { buf.part(0, 0) } };
        let grad = &grad[from..][..len];
        widest(
            #[inline(always)]
            || rmsprop(&p, param, grad, square_avg, grad_avg, buf, control),
        );
    });
}
