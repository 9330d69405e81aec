//! A walk through two tensors at once, with a stride for each dimension of each: how the kernels copy and binary find elements.

/// The most dimensions of a walk.
pub const MAX_RANK: usize = 6;

/// For each dimension, the innermost first: its size, and the elements from one index to the next in the two tensors.
pub type Walk = [[u32; 3]; MAX_RANK];

/// A dimension that is not needed.
const NONE: [u32; 3] = [1, 0, 0];

/// The walk along one dimension of `count` elements, which are neighbours in both tensors.
pub fn flat(count: u32) -> Walk {
    let mut walk = [NONE; MAX_RANK];
    walk[0] = [count, 1, 1];
    walk
}

/// The walk through `shape`, outermost first, with these strides in the two tensors. Dimensions that can be walked as one
/// become one: kernels then divide less.
pub fn collapsed(shape: &[usize], left: &[usize], right: &[usize]) -> Walk {
    let mut walk = [NONE; MAX_RANK];
    let mut rank = 0;
    for ((n, left), right) in shape.iter().zip(left).zip(right).rev() {
        let [n, left, right] = [n, left, right].map(|x| *x as u32);
        if n == 1 {
            continue;
        }
        if rank > 0 {
            let [inner, l, r] = walk[rank - 1];
            if [left, right] == [inner.wrapping_mul(l), inner.wrapping_mul(r)] {
                walk[rank - 1][0] *= n;
                continue;
            }
        }
        walk[rank] = [n, left, right];
        rank += 1;
    }
    walk
}

/// Where element i of the walk lies in the two tensors.
pub fn places(walk: &Walk, i: u32) -> [usize; 2] {
    let (mut rest, mut at) = (i, [0, 0]);
    for [n, left, right] in walk {
        if rest == 0 {
            break;
        }
        at[0] += (rest % n * left) as usize;
        at[1] += (rest % n * right) as usize;
        rest /= n;
    }
    at
}

/// The strides of a dense tensor of that shape.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_that_lie_together_become_one() {
        assert_eq!(collapsed(&[2, 3, 4], &[12, 4, 1], &[12, 4, 1]), flat(24));
        assert_eq!(collapsed(&[2, 1, 4], &[4, 4, 1], &[0, 0, 0])[..2], [[8, 1, 0], NONE]);
        assert_eq!(collapsed(&[2, 1, 4], &[5, 5, 1], &[0, 0, 0])[..2], [[4, 1, 0], [2, 5, 0]]);
        assert_eq!(collapsed(&[2, 3, 4], &[0, 4, 1], &[12, 4, 1])[..3], [[12, 1, 1], [2, 0, 12], NONE]);
    }
}
