//! The control buffer of an optimizer: numbers that change every step and stay on the device, so that the host never
//! waits for them. The shaders get the same names as constants, through their kernels' declarations.

/// Words in a control buffer. The rest is reserved.
pub const WORDS: usize = 64;
/// Steps done, the running one included.
pub const T: u32 = 0;
/// 1 once a loss or a gradient was not finite: from then on every step leaves the parameters alone.
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
