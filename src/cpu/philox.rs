//! Random numbers from counters: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as
//! 1, 2, 3", SC 2011). Number i of a stream is a function of seed, stream and i, with the same bits on every device.

use super::real::Real;

/// Four random words of a counter and a key.
#[inline(always)]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut k, mut l]) = (counter, key);
    for _ in 0..10 {
        let (left, right) = (u64::from(a) * 0xd251_1f53, u64::from(c) * 0xcd9e_8d57);
        [a, b, c, d] = [(right >> 32) as u32 ^ b ^ k, right as u32, (left >> 32) as u32 ^ d ^ l, left as u32];
        k = k.wrapping_add(0x9e37_79b9);
        l = l.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

/// Numbers to make at once: few enough to stay in the cache until they are used.
pub(super) const AT_ONCE: usize = 1024;

/// The words of the counters `[first, ..rest]`, `[first + 1, ..rest]`, and so on, as numbers in [0, 1). A loop over whole
/// counters, so that vectors are made of it.
#[inline(always)]
pub(super) fn fractions<R: Real>(first: u32, rest: [u32; 3], key: [u32; 2], y: &mut [R]) {
    let [b, c, d] = rest;
    let words = |i: usize| philox4x32([first + i as u32, b, c, d], key).map(|x| R::of(fraction(x).into()));
    let (fours, last) = y.as_chunks_mut::<4>();
    for (i, y) in fours.iter_mut().enumerate() {
        *y = words(i);
    }
    last.iter_mut().zip(words(fours.len())).for_each(|(y, x)| *y = x);
}

/// Number `index` of a stream, uniform in [0, 1): a multiple of 2⁻²⁴. The kernel `philox_uniform` computes the same.
pub fn uniform(seed: u64, stream: u32, index: u64) -> f32 {
    let block = index / 4;
    let words =
        philox4x32([block as u32, (block >> 32) as u32, stream, 0], [seed as u32, (seed >> 32) as u32]);
    fraction(words[(index % 4) as usize])
}

/// The upper 24 bits of a word as a fraction in [0, 1).
#[inline(always)]
fn fraction(word: u32) -> f32 {
    (word >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the authors' Random123 (kat_vectors).
    #[test]
    fn known_answers() {
        let zeros = philox4x32([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox4x32([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let digits = philox4x32(pi, [0xa409_3822, 0x299f_31d0]);
        assert_eq!(digits, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn uniform_numbers_lie_in_the_unit_interval() {
        let numbers: Vec<f32> = (0..40_000).map(|i| uniform(7, 3, i)).collect();
        assert!(numbers.iter().all(|u| (0.0..1.0).contains(u)));
        let mean = numbers.iter().map(|u| f64::from(*u)).sum::<f64>() / 4e4;
        // Six standard deviations of the mean.
        assert!((mean - 0.5).abs() < 6.0 / (12.0 * 4e4f64).sqrt(), "{mean}");
    }
}
