//! The control buffer of an optimizer: numbers that change every step and stay on the device, so that the host never
//! waits for them. The shaders get the same names as constants, through their kernels' declarations.

/// Words in a control buffer, and in one with a loss scale. The rest is reserved.
pub const WORDS: usize = 64;
/// See [`WORDS`].
pub const SCALED_WORDS: usize = SCALE as usize + 1;
/// Steps done, the running one included.
pub const T: u32 = 0;
/// Not 0 where the running step leaves the parameters alone. 1: its loss or its gradient is not finite, and all later steps do
/// so too, unless such steps are skipped. [`OVERFLOW`]: its gradient was only multiplied with too much.
pub const STOP: u32 = 1;
/// A value of [`STOP`].
pub const OVERFLOW: u32 = 2;
/// The gradient's norm before clipping.
pub const NORM: u32 = 2;
/// What clipping multiplied the gradient with, the loss scale taken away.
pub const COEFFICIENT: u32 = 3;
/// 1 - beta1^T.
pub const CORRECTION1: u32 = 4;
/// 1 - beta2^T.
pub const CORRECTION2: u32 = 5;
/// The last number that a step watched: the loss.
pub const WATCHED: u32 = 6;
/// 1 from when the norm of a gradient was found not to be finite until the step begins.
pub const NONFINITE: u32 = 7;
/// Steps that were skipped because a loss or a gradient was not finite.
pub const SKIPPED: u32 = 8;
/// Steps since the loss scale last changed.
pub const GOOD: u32 = 9;
/// Steps that were left out because the loss scale was too large.
pub const OVERFLOWED: u32 = 10;
/// The loss scale: what the gradient of the loss is multiplied with. Behind all others, where a kernel can take it as an
/// argument.
pub const SCALE: u32 = 64;
/// The largest loss scale.
pub const MOST_SCALE: u32 = 1 << 24;
