//! The made-up data of cases.json. They come from a linear congruential generator that the programs of all peers have too, so
//! that all compute with the same numbers.

/// `count` numbers below 2¹⁵ from a seed.
pub fn numbers(count: usize, seed: u32) -> impl Iterator<Item = u32> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        state >> 16
    })
}

/// `count` tokens below `vocabulary`.
pub fn tokens(count: usize, vocabulary: usize) -> Vec<i32> {
    numbers(count, 1).map(|u| (u as usize % vocabulary) as i32).collect()
}

/// `count` reals in [0, 1).
pub fn reals(count: usize, seed: u32) -> Vec<f32> {
    numbers(count, seed).map(|u| u as f32 / 32_768.0).collect()
}

/// `count` reals in [-1, 1). From 2¹⁶ on they repeat.
pub fn signed(count: usize, seed: u32) -> Vec<f32> {
    let base: Vec<f32> = numbers(count.min(1 << 16), seed).map(|u| u as f32 / 16_384.0 - 1.0).collect();
    base.iter().copied().cycle().take(count).collect()
}
