//! The control buffer of an optimizer: numbers that change in every step and stay on the device.
//!
//! So the host never waits for them. They are stored as f32. Each constant is the place of a number in it; shaders get the same names as constants, through their kernels'
//! declarations.

/// How many numbers a control buffer has. Those without a name here are reserved.
pub const WORDS: usize = 64;
/// How many numbers a control buffer with a loss scale has.
pub const SCALED_WORDS: usize = SCALE as usize + 1;
/// The number of steps done, the running one included.
pub const T: u32 = 0;
/// The stop: where it is not 0, the running step leaves the parameters as they are. 1: the loss or the gradient is not finite; all
/// later steps do the same, unless such steps are skipped. [`OVERFLOW`]: the loss scale was too large, for this step only.
pub const STOP: u32 = 1;
/// The value of [`STOP`] in a step that is left out because the loss scale was too large.
pub const OVERFLOW: u32 = 2;
/// The gradient's norm before clipping.
pub const NORM: u32 = 2;
/// The factor that clipping multiplied the gradient with; it includes the division by the loss scale.
pub const COEFFICIENT: u32 = 3;
/// 1 - beta1^T.
pub const CORRECTION1: u32 = 4;
/// 1 - beta2^T.
pub const CORRECTION2: u32 = 5;
/// The last number that a step watched: the loss.
pub const WATCHED: u32 = 6;
/// 1 when clipping has found that the norm of the gradient is not finite; the step that begins next sets it back to 0.
pub const NONFINITE: u32 = 7;
/// Steps that were skipped because a loss or a gradient was not finite.
pub const SKIPPED: u32 = 8;
/// Steps since the loss scale last changed.
pub const GOOD: u32 = 9;
/// Steps that were left out because the loss scale was too large.
pub const OVERFLOWED: u32 = 10;
/// The loss scale: what the gradient of the loss is multiplied with. It lies behind all others, at an aligned element, so that a
/// kernel can take it alone as an argument.
pub const SCALE: u32 = 64;
/// The largest loss scale.
pub const MOST_SCALE: u32 = 1 << 24;
