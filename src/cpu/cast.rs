//! Twin of `shaders/cast.wgsl`.

use super::real::Real;

crate::kernel! {
    /// `y[i]` = `x[i]`, stored as another type.
    pub static CAST = cast(Cast { count: u32 }; x: read Float, y: write Float);
    variants [
        { "elements", "cast.wgsl" & "elements_of_one.wgsl", [] },
        { "fours", "cast.wgsl" & "elements_of_four.wgsl", [] },
    ]
}

/// See [`CAST`].
pub fn cast<R: Real>(p: &Cast, x: &[R], y: &mut [R]) {
    y[..p.count as usize].copy_from_slice(&x[..p.count as usize]);
}
