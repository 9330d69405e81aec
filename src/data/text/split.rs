//! Which tokens are for training and which for validation, and which batch and sequence fit them.

use std::ops::Range;

/// The share of a text, at its end, that is kept for validation.
pub const HELD_OUT: f64 = 0.1;

/// Whether `tokens` are enough for one chunk. A stream needs one token more than its inputs: the last target.
pub(super) fn holds(tokens: usize, batch: usize, sequence: usize) -> bool {
    batch.saturating_mul(sequence.saturating_add(1)) <= tokens
}

/// The places of the tokens for training and, from the end, of the share `held_out` for validation, rounded down.
pub fn split(tokens: usize, held_out: f64) -> (Range<usize>, Range<usize>) {
    let training = tokens - held_out_of(tokens, held_out);
    (0..training, training..tokens)
}

/// How many of `tokens` are held out. A share outside 0 to 1 counts as the nearer of the two.
fn held_out_of(tokens: usize, held_out: f64) -> usize {
    ((tokens as f64 * held_out) as usize).min(tokens)
}

/// A batch and a sequence that fit a text of that many tokens, of which the share [`HELD_OUT`] is for validation: each part
/// must hold one chunk or more.
///
/// What was asked for is kept where it fits. If it does not, the batch is halved until it does, down to 1. Only then the
/// sequence is halved, because gradients reach no further back than it. None where not even single tokens fit: below 20.
pub fn fit(tokens: usize, batch: usize, sequence: usize) -> Option<(usize, usize)> {
    let validation = held_out_of(tokens, HELD_OUT);
    let smaller = validation.min(tokens - validation);
    let (mut batch, mut sequence) = (batch, sequence);
    while !holds(smaller, batch, sequence) {
        match (batch, sequence) {
            (2.., _) => batch /= 2,
            (_, 2..) => sequence /= 2,
            _ => return None,
        }
    }
    Some((batch, sequence))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Text, Unit};
    use super::*;

    #[test]
    fn splits_off_the_end() {
        assert_eq!(split(19, HELD_OUT), (0..18, 18..19));
        assert_eq!(split(19, 0.0), (0..19, 19..19));
        assert_eq!(split(19, 2.0), (0..0, 0..19));
    }

    #[test]
    fn fit_shrinks_the_batch_first() {
        assert_eq!(fit(20_800, 32, 64), Some((32, 64)));
        assert_eq!(fit(20_799, 32, 64), Some((16, 64)));
        assert_eq!(fit(180, 32, 64), Some((1, 16)));
        assert_eq!(fit(20, 32, 64), Some((1, 1)));
        assert_eq!(fit(19, 32, 64), None);
        assert_eq!(fit(0, usize::MAX, usize::MAX), None);
    }

    proptest! {
        #[test]
        fn both_parts_hold_what_fits(tokens in 0usize..5_000, batch in 1usize..100, sequence in 1usize..200) {
            let text = Text::from_text(&"a".repeat(tokens), Unit::Characters);
            let (training, validation) = split(tokens, HELD_OUT);
            let holds = |part: &Range<usize>, b, s| text.streams(part.clone(), b, s).is_ok();
            let Some((b, s)) = fit(tokens, batch, sequence) else {
                prop_assert!(!holds(&validation, 1, 1));
                return Ok(());
            };
            prop_assert!(holds(&training, b, s) && holds(&validation, b, s));
            prop_assert_eq!((b, s) == (batch, sequence), holds(&validation, batch, sequence));
        }
    }
}
