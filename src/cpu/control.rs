//! The control buffer of an optimizer: numbers that change every step and stay on the device, so that the host never
//! waits for them. The shaders get the same names as constants, through their kernels' declarations.

/// Words in a control buffer. The rest is reserved.
pub const WORDS: usize = 64;
/// Steps done, the running one included.
pub const T: u32 = 0;
/// 1 where the loss or the gradient of the running step is not finite: the step leaves the parameters alone, and so do all
/// later ones, unless such steps are skipped.
pub const STOP: u32 = 1;
/// The gradient's norm before clipping.
pub const NORM: u32 = 2;
/// What clipping multiplied the gradient with.
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
