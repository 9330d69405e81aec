
// ---- common.wgsl, appended to every kernel. Twin: src/cpu/common.rs ----

// tanh(x) as a quotient of two polynomials, of degree 13 and 6 (coefficients: the minimax fit of Eigen and XLA). Beyond the
// clamp f32 cannot tell it from ±1. The relative error is below 4e-7. Used in place of the builtin, which is NaN or 0 for
// large x on several drivers.
fn tanh_rational(x: f32) -> f32 {
    let c = clamp(x, -7.90531110763549805, 7.90531110763549805);
    let s = c * c;
    var n = -2.76076847742355e-16 * s + 2.00018790482477e-13;
    n = n * s + -8.60467152213735e-11;
    n = n * s + 5.12229709037114e-08;
    n = n * s + 1.48572235717979e-05;
    n = n * s + 6.37261928875436e-04;
    n = n * s + 4.89352455891786e-03;
    var d = 1.19825839466702e-06 * s + 1.18534705686654e-04;
    d = d * s + 2.26843463243900e-03;
    d = d * s + 4.89352518554385e-03;
    return keep_nan(x, c * n / d);
}

// 1 / (1 + e^-x), the argument clamped so that e^-x stays finite.
fn sigmoid(x: f32) -> f32 {
    return keep_nan(x, 1.0 / (1.0 + exp(-clamp(x, -88.0, 88.0))));
}

// Whether x is NaN or infinite, by its bits: WGSL may assume that comparisons never see such values.
fn not_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}

// Whether x is NaN, by its bits.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// y, but x where x is NaN. On some drivers clamp, max and others turn a NaN into a number, and a fault would go unseen.
fn keep_nan(x: f32, y: f32) -> f32 {
    return select(y, x, is_nan(x));
}

// e^z for z <= 0. Below the clamp e^z is 0 in f32; drivers differ for huge arguments.
fn exp_nonpositive(z: f32) -> f32 {
    return exp(max(z, -100.0));
}

// The natural logarithm; of NaN it is NaN. The builtin of SwiftShader gives 89.1 there: a loss that has failed would look
// like any other.
fn logarithm(x: f32) -> f32 {
    return keep_nan(x, log(x));
}

// The upper 32 bits of the 64-bit product a·b, from products of halves of 16 bits.
fn mul_high(a: u32, b: u32) -> u32 {
    let mid = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
    let rest = (a & 0xffffu) * (b >> 16u) + (mid & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (mid >> 16u) + (rest >> 16u);
}

// Philox4x32-10: four random words from a counter of four words and a seed of two, by ten rounds of multiplying and mixing
// (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). Twin: src/cpu/philox.rs.
fn philox4x32(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let left = vec2(mul_high(c.x, 0xd2511f53u), c.x * 0xd2511f53u);
        let right = vec2(mul_high(c.z, 0xcd9e8d57u), c.z * 0xcd9e8d57u);
        c = vec4(right.x ^ c.y ^ key.x, right.y, left.x ^ c.w ^ key.y, left.y);
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// Four numbers in [0, 1): the upper 24 bits of each word, times 2^-24.
fn philox_uniforms(counter: vec4<u32>, seed: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(philox4x32(counter, seed) >> vec4(8u)) * 5.9604644775390625e-8;
}
