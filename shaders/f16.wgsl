
// ---- f16.wgsl, appended where an argument is stored as F16, two numbers in a word. Twin: src/cpu/halves.rs ----

// The number that the lower 16 bits of a word are: 1 bit sign, 5 exponent, 10 fraction (IEEE 754).
fn of_f16(word: u32) -> f32 {
    let sign = (word & 0x8000u) << 16u;
    let exponent = (word >> 10u) & 31u;
    let fraction = word & 1023u;
    // Numbers with exponent 0 are multiples of 2^-24, which f32 holds exactly.
    let small = bitcast<u32>(f32(fraction) * 5.9604644775390625e-8);
    let normal = ((exponent + 112u) << 23u) | (fraction << 13u);
    let not_finite = 0x7f800000u | (fraction << 13u);
    let magnitude = select(select(normal, small, exponent == 0u), not_finite, exponent == 31u);
    return bitcast<f32>(sign | magnitude);
}

// The nearest 16-bit float; of two equally near ones the even one. Infinite from 65520 on; NaN stays NaN.
fn to_f16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u | ((magnitude >> 13u) & 1023u);
    }
    if magnitude >= 0x477ff000u {
        return sign | 0x7c00u;
    }
    if magnitude >= 0x38800000u {
        return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
    }
    // A multiple of 2^-24; below half of one, 0.
    let exponent = max(magnitude >> 23u, 101u);
    let fraction = select(0u, (magnitude & 0x7fffffu) | 0x800000u, (magnitude >> 23u) >= 101u);
    let shift = 126u - exponent;
    let whole = fraction >> shift;
    let rest = fraction & ((1u << shift) - 1u);
    let tie = 1u << (shift - 1u);
    let up = rest > tie || (rest == tie && (whole & 1u) == 1u);
    return sign | (whole + select(0u, 1u, up));
}
