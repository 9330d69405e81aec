//! Twin of `shaders/regression_loss.wgsl`.

use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel;

/// The kind of [`REGRESSION_LOSS`] that is the squared error.
pub const MSE: u32 = 0;
/// The kind that is the absolute error.
pub const L1: u32 = 1;
/// The kind that is Huber's: squared within ±delta, absolute beyond.
pub const HUBER: u32 = 2;

kernel! {
    /// Losses of values and their gradients (torch.nn.MSELoss, L1Loss, HuberLoss): with e = x − label, element by element
    /// `losses = scale · l` and `dx = scale · dl/de`, where
    /// - kind 0: l = e², dl/de = 2e;
    /// - kind 1: l = |e|, dl/de = sign e, which is 0 at 0;
    /// - kind 2: with c = e clamped to ±delta: l = c·(e − c/2), dl/de = c, which is e²/2 within delta and
    ///   delta·(|e| − delta/2) beyond.
    pub static REGRESSION_LOSS = regression_loss(RegressionLoss { count: u32, kind: u32, delta: f32, scale: f32 };
        x: read Float, labels: read Float, losses: write F32, dx: write Float);
    fast regression_loss_fast;
    variants [
        { "elements", "regression_loss.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "regression_loss.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`REGRESSION_LOSS`].
#[inline(always)]
pub fn regression_loss<R: Real>(p: &RegressionLoss, x: &[R], labels: &[R], losses: &mut [R], dx: &mut [R]) {
    let (delta, scale) = (R::of(p.delta.into()), R::of(p.scale.into()));
    for i in 0..p.count as usize {
        let e = x[i] - labels[i];
        let (loss, slope) = match p.kind {
            MSE => (e * e, R::of(2.0) * e),
            L1 => {
                // By comparison: of numbers that are nearly equal a GPU may make the difference 0. Equal ones leave 0, or a
                // NaN where there is one.
                let sign = if x[i] > labels[i] {
                    R::of(1.0)
                } else if x[i] < labels[i] {
                    R::of(-1.0)
                } else {
                    e
                };
                (e.max(-e), sign)
            }
            _ => {
                let c = e.max(-delta).min(delta);
                (c * (e - R::of(0.5) * c), c)
            }
        };
        losses[i] = scale * loss;
        dx[i] = scale * slope;
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 32;

/// [`regression_loss`], some elements a thread, with the widest vectors.
pub fn regression_loss_fast(
    p: &RegressionLoss,
    x: &[f32],
    labels: &[f32],
    losses: &mut [f32],
    dx: &mut [f32],
) {
    let count = p.count as usize;
    let [losses, dx] = [losses, dx].map(Shared::new);
    in_blocks(count, GRAIN, COST * count, |block| {
        let (from, len) = (block.start, block.len());
        let p = RegressionLoss { count: len as u32, ..*p };
        // SAFETY: each thread changes elements of its own.
        let [losses, dx] = [&losses, &dx].map(|x| unsafe { x.part(from, len) });
        let [x, labels] = [x, labels].map(|x| &x[from..][..len]);
        widest(
            #[inline(always)]
            || regression_loss(&p, x, labels, losses, dx),
        );
    });
}
