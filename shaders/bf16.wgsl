
// ---- bf16.wgsl, appended where an argument is stored as BF16, two numbers in a word. Twin: src/cpu/halves.rs ----

// The number that the lower 16 bits of a word are: the upper half of a 32-bit float.
fn of_bf16(word: u32) -> f32 {
    return bitcast<f32>(word << 16u);
}

// The nearest such number; of two equally near ones the even one. NaN stays NaN.
fn to_bf16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
