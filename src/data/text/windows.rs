//! A short text as one batch: every window of it.

use crate::error::{Error, Result};

/// Every window of a text, each beginning one character after the one before; and the targets, which are the same windows one
/// character later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The windows, batch-major: `[batch, time]`.
    pub inputs: Vec<i32>,
    /// The token after each input: `[batch, time]`.
    pub targets: Vec<i32>,
    /// How many windows there are.
    pub batch: usize,
    /// How many tokens a window has.
    pub time: usize,
}

impl Windows {
    /// The `tokens.len() - time` windows of `time` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] where `time` is 0 or there are fewer than `time + 1` tokens.
    pub fn new(tokens: &[i32], time: usize) -> Result<Self> {
        if time == 0 || tokens.len() <= time {
            let len = tokens.len();
            let message = format!("a window has 1 or more characters, fewer than the text: {time} of {len}");
            return Err(Error::argument("windows", message));
        }
        let cut = |tokens: &[i32]| tokens.windows(time).flatten().copied().collect();
        Ok(Self {
            inputs: cut(&tokens[..tokens.len() - 1]),
            targets: cut(&tokens[1..]),
            batch: tokens.len() - time,
            time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap() {
        let windows = Windows::new(&[1, 2, 3, 4, 5], 3).unwrap();
        assert_eq!((windows.batch, windows.time), (2, 3));
        assert_eq!(windows.inputs, [1, 2, 3, 2, 3, 4]);
        assert_eq!(windows.targets, [2, 3, 4, 3, 4, 5]);
        for (tokens, time) in [(0, 0), (5, 0), (0, 1), (3, 3), (3, usize::MAX)] {
            assert!(Windows::new(&vec![0; tokens], time).is_err(), "{tokens} tokens, windows of {time}");
        }
    }
}
