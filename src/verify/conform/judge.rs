//! Whether what was computed is what a case expects.

use super::format::{Stored, Tensors, malformed};
use super::training::Computed;
use crate::error::Result;
use crate::parameters::Precision;

/// Of each kind of result, named by the second part of its key, the limit of ‖got − expected‖ relative to ‖expected‖, in the
/// order of [`Precision::ALL`].
const LIMITS: [(&str, [f64; 3]); 7] = [
    ("output", [2e-5, 6.0 * F16, 6.0 * BF16]),
    ("h_n", [2e-5, 6.0 * F16, 6.0 * BF16]),
    ("c_n", [2e-5, 6.0 * F16, 6.0 * BF16]),
    ("loss", [2e-5, 6.0 * F16, 6.0 * BF16]),
    ("grad", [2e-4, 24.0 * F16, 24.0 * BF16]),
    ("grad_norm", [2e-4, 24.0 * F16, 24.0 * BF16]),
    ("param", [1e-3, 24.0 * F16, 24.0 * BF16]),
];
/// What a number is off by, relatively, when it is stored.
const F16: f64 = 1.0 / (1 << 11) as f64;
const BF16: f64 = 1.0 / (1 << 8) as f64;
/// The limit's share for each element, whatever is expected: that of numbers near 0.
const EACH: [f64; 3] = [1e-6, F16 / 64.0, BF16 / 64.0];

/// The outcome of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The result with the largest error: its key, without `expect.`.
    pub worst: String,
    /// That error as a share of its limit: infinite for a NaN or a result that is not there or of another shape.
    pub share: f64,
    /// What disagrees, if anything.
    pub disagreements: Vec<String>,
    /// Of each kind of result, in the order of the README's table, the largest share.
    pub kinds: Vec<(&'static str, f64)>,
}

impl Verdict {
    /// Whether all results agree.
    pub fn passed(&self) -> bool {
        self.disagreements.is_empty()
    }
}

/// Compares results with all `expect.*` of a case: ‖got − expected‖ ≤ limit·‖expected‖ + 1e-6·√n in the 2-norm over each
/// tensor of n elements.
///
/// # Errors
/// [`Error::Argument`](crate::error::Error::Argument) when the case expects nothing, or something that is no result.
pub fn judge(tensors: &Tensors, computed: &Computed, precision: Precision) -> Result<Verdict> {
    let mut verdict =
        Verdict { worst: String::new(), share: 0.0, disagreements: Vec::new(), kinds: Vec::new() };
    for (key, expected) in tensors.with_prefix("expect.") {
        let kind = key.split('.').next().unwrap_or(key);
        let Some((kind, limits)) = LIMITS.iter().find(|(name, _)| *name == kind) else {
            return Err(malformed(format!("expect.{key} is no result")));
        };
        let limit = [limits[precision as usize], EACH[precision as usize]];
        let Stored::Floats(shape, expected) = expected else {
            return Err(malformed(format!("expect.{key} must hold floats")));
        };
        let (share, disagreement) = match computed.get(&format!("expect.{key}")) {
            None => (f64::INFINITY, Some("was not computed".into())),
            Some((got, _)) if got != shape => {
                (f64::INFINITY, Some(format!("shape {got:?}, expected {shape:?}")))
            }
            Some((_, got)) => compare(got, expected, limit),
        };
        match verdict.kinds.iter_mut().find(|(name, _)| name == kind) {
            Some((_, most)) => *most = most.max(share),
            None => verdict.kinds.push((kind, share)),
        }
        verdict.disagreements.extend(disagreement.map(|what| format!("{key}: {what}")));
        if share > verdict.share || verdict.worst.is_empty() {
            (verdict.worst, verdict.share) = (key.into(), share);
        }
    }
    match verdict.worst.is_empty() {
        true => Err(malformed("the case expects nothing: there are no tensors expect.*")),
        false => Ok(verdict),
    }
}

/// The error as a share of its limit, and what is to be said of it where it is too large or no number.
fn compare(got: &[f32], expected: &[f32], [relative, each]: [f64; 2]) -> (f64, Option<String>) {
    let differences = got.iter().zip(expected).map(|(got, want)| f64::from(*got) - f64::from(*want));
    let error = norm(differences);
    let limit =
        relative * norm(expected.iter().map(|x| f64::from(*x))) + each * (expected.len() as f64).sqrt();
    if error == 0.0 {
        (0.0, None)
    } else if !error.is_finite() {
        (f64::INFINITY, Some("the error is not finite".into()))
    } else {
        let too_large = format!("error {error:.3e} over the limit {limit:.3e}");
        (error / limit, (error > limit).then_some(too_large))
    }
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::compare;

    const LIMIT: [f64; 2] = [2e-5, 1e-6];

    #[test]
    fn nothing_agrees_that_differs() {
        let (share, disagreement) = compare(&[1.0, 2.0], &[1.0, 2.0], LIMIT);
        assert_eq!((share, disagreement), (0.0, None));
        // The limit is 2e-5·1 + 1e-6.
        let (share, disagreement) = compare(&[1.0 + 1e-5], &[1.0], LIMIT);
        assert!((0.4..0.6).contains(&share) && disagreement.is_none(), "{share}");
        let (share, disagreement) = compare(&[1.0 + 3e-5], &[1.0], LIMIT);
        assert!((1.2..1.6).contains(&share) && disagreement.is_some(), "{share}");
        for (got, want) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN), (f32::INFINITY, 1.0)] {
            let (share, disagreement) = compare(&[got], &[want], LIMIT);
            assert!(share == f64::INFINITY && disagreement.is_some(), "{got} {want}");
        }
    }
}
