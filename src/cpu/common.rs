//! Twin of `shaders/common.wgsl`, as far as twins need it.

use super::real::{Number, Real};

/// tanh as a quotient of two polynomials (see the shader). The relative error is below 4e-7.
#[inline(always)]
pub fn tanh_rational<R: Number>(x: R) -> R {
    let c = x.max(x.like(-7.905_311_107_635_498)).min(x.like(7.905_311_107_635_498));
    let s = c * c;
    let mut n = x.like(-2.76076847742355e-16) * s + x.like(2.00018790482477e-13);
    n = n * s + x.like(-8.60467152213735e-11);
    n = n * s + x.like(5.12229709037114e-08);
    n = n * s + x.like(1.48572235717979e-05);
    n = n * s + x.like(6.37261928875436e-04);
    n = n * s + x.like(4.89352455891786e-03);
    let mut d = x.like(1.19825839466702e-06) * s + x.like(1.18534705686654e-04);
    d = d * s + x.like(2.26843463243900e-03);
    d = d * s + x.like(4.89352518554385e-03);
    c * n / d
}

/// σ(x) = 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid<R: Real>(x: R) -> R {
    let c = x.max(R::of(-88.0)).min(R::of(88.0));
    R::of(1.0) / (R::of(1.0) + (-c).exp())
}
