//! Twin of `shaders/adam.wgsl`.

use super::control::{CORRECTION1, CORRECTION2, STOP};
use super::real::Real;
use crate::kernel;

kernel! {
    /// One step of torch.optim.Adam (Kingma and Ba, arXiv 1412.6980): `g = grad + weight_decay·param`;
    /// `m = beta1·m + (1 - beta1)·g`; `v = beta2·v + (1 - beta2)·g²`;
    /// `param -= lr/CORRECTION1 · m / (√v/√CORRECTION2 + eps)`. Nothing happens once the sticky stop is set.
    pub static ADAM = adam(Adam {
        count: u32, lr: f32, beta1: f32, beta2: f32, one_minus_beta1: f32, one_minus_beta2: f32, eps: f32,
        weight_decay: f32,
    }; param: update F32, grad: read F32, m: update F32, v: update F32, control: read F32);
    variants [{ "elements", "adam.wgsl",
        [("STOP", STOP), ("CORRECTION1", CORRECTION1), ("CORRECTION2", CORRECTION2)] }]
}

/// See [`ADAM`].
pub fn adam<R: Real>(p: &Adam, param: &mut [R], grad: &[R], m: &mut [R], v: &mut [R], control: &[R]) {
    if control[STOP as usize] != R::zero() {
        return;
    }
    let [lr, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay] =
        [p.lr, p.beta1, p.beta2, p.one_minus_beta1, p.one_minus_beta2, p.eps, p.weight_decay]
            .map(|x| R::of(x.into()));
    let rate = lr / control[CORRECTION1 as usize];
    let root = control[CORRECTION2 as usize].sqrt();
    for (((param, grad), m), v) in param[..p.count as usize].iter_mut().zip(grad).zip(m).zip(v) {
        let g = *grad + weight_decay * *param;
        *m = beta1 * *m + one_minus_beta1 * g;
        *v = beta2 * *v + one_minus_beta2 * g * g;
        *param = *param - rate * *m / (v.sqrt() / root + eps);
    }
}
