//! Whether what was computed is what a case expects.

use super::format::{Stored, Tensors, malformed};
use super::training::Computed;
use crate::error::Result;
use crate::parameters::Precision;

/// For each kind of result, named by the second part of its key, the limit of ‖got − expected‖ relative to ‖expected‖: in 32 bits,
/// and in half precision as a multiple of what a number loses when it is stored. tests/conformance/README.md says why.
const LIMITS: [(&str, f64, f64); 7] = [
    ("output", 2e-5, 8.0),
    ("h_n", 2e-5, 8.0),
    ("c_n", 2e-5, 8.0),
    ("loss", 2e-5, 8.0),
    ("grad", 2e-4, GRADIENT),
    ("grad_norm", 2e-4, GRADIENT),
    (PARAM, 1e-3, GRADIENT),
];
const GRADIENT: f64 = 16.0;
const PARAM: &str = "param";
/// What the limit allows for each element whatever is expected, so that results near 0 have a limit too.
const EACH: f64 = 1e-6;

/// What a number loses at most when it is stored in half precision, as a share of it.
fn lost(precision: Precision) -> Option<f64> {
    match precision {
        Precision::F32 => None,
        Precision::F16 => Some(1.0 / f64::from(1 << 11)),
        Precision::BF16 => Some(1.0 / f64::from(1 << 8)),
    }
}

/// The outcome of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The result with the largest error: its key, without `expect.`.
    pub worst: String,
    /// That error as a share of its limit; infinite for a NaN, and for a result that is missing or of another shape.
    pub share: f64,
    /// What disagrees, if anything.
    pub disagreements: Vec<String>,
    /// The largest share of each kind of result.
    pub kinds: Vec<(&'static str, f64)>,
}

impl Verdict {
    /// Whether all results agree.
    pub fn passed(&self) -> bool {
        self.disagreements.is_empty()
    }

    /// Adds what was found of a result.
    fn add(&mut self, key: &str, kind: &'static str, (share, disagreement): (f64, Option<String>)) {
        match self.kinds.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, most)) => *most = most.max(share),
            None => self.kinds.push((kind, share)),
        }
        self.disagreements.extend(disagreement.map(|what| format!("{key}: {what}")));
        if share > self.share || self.worst.is_empty() {
            (self.worst, self.share) = (key.into(), share);
        }
    }
}

/// Compares results with all `expect.*` of a case: ‖got − expected‖ ≤ limit·‖expected‖ + 1e-6·√n in the 2-norm over each
/// tensor of n elements. In half precision gradients that nearly cancel are held to the size of all, and parameters, all
/// together, to how far they were to move.
///
/// # Errors
/// [`Error::Argument`](crate::error::Error::Argument) when the case expects nothing, or something that is no result.
pub fn judge(tensors: &Tensors, computed: &Computed, precision: Precision) -> Result<Verdict> {
    let mut verdict =
        Verdict { worst: String::new(), share: 0.0, disagreements: Vec::new(), kinds: Vec::new() };
    let lost = lost(precision);
    let gradients: Vec<f32> = match lost {
        None => Vec::new(),
        Some(_) => tensors.with_prefix("expect.grad.").flat_map(|(_, g)| g.as_floats()).copied().collect(),
    };
    let mean = norm(&gradients) / (gradients.len().max(1) as f64).sqrt();
    // Of all parameters: what they are, what they should be, and what they were.
    let mut moved: [Vec<f32>; 3] = Default::default();
    for (key, expected) in tensors.with_prefix("expect.") {
        let kind = key.split('.').next().unwrap_or(key);
        let Some(&(kind, relative, multiple)) = LIMITS.iter().find(|(name, ..)| *name == kind) else {
            return Err(malformed(format!("expect.{key} is no result")));
        };
        let Stored::Floats(shape, expected) = expected else {
            return Err(malformed(format!("expect.{key} must hold floats")));
        };
        let root = (expected.len() as f64).sqrt();
        let compared = match (computed.get(&format!("expect.{key}")), lost) {
            (None, _) => (f64::INFINITY, Some("was not computed".into())),
            (Some((got, _)), _) if got != shape => {
                (f64::INFINITY, Some(format!("shape {got:?}, expected {shape:?}")))
            }
            (Some((_, got)), Some(_)) if kind == PARAM => {
                let [all, should, were] = &mut moved;
                all.extend(got);
                should.extend(expected);
                were.extend(tensors.floats(key)?.1);
                continue;
            }
            (Some((_, got)), Some(lost)) => {
                let size = if kind == "grad" { norm(expected).max(mean * root) } else { norm(expected) };
                compare(got, expected, multiple * lost * size + EACH * root)
            }
            (Some((_, got)), None) => compare(got, expected, relative * norm(expected) + EACH * root),
        };
        verdict.add(key, kind, compared);
    }
    let [all, should, were] = &moved;
    if let Some(lost) = lost.filter(|_| !all.is_empty()) {
        let limit = 2.0 * (GRADIENT * lost).sqrt() * distance(should, were);
        verdict.add(PARAM, PARAM, compare(all, should, limit + EACH * (all.len() as f64).sqrt()));
    }
    match verdict.worst.is_empty() {
        true => Err(malformed("the case expects nothing: there are no tensors expect.*")),
        false => Ok(verdict),
    }
}

/// The error as a share of its limit; and where it is too large or no number, what is wrong.
fn compare(got: &[f32], expected: &[f32], limit: f64) -> (f64, Option<String>) {
    let error = distance(got, expected);
    if error == 0.0 {
        (0.0, None)
    } else if !error.is_finite() {
        (f64::INFINITY, Some("the error is not finite".into()))
    } else {
        let too_large = format!("error {error:.3e} over the limit {limit:.3e}");
        (error / limit, (error > limit).then_some(too_large))
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    root_of_squares(a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

fn norm(x: &[f32]) -> f64 {
    root_of_squares(x.iter().map(|x| f64::from(*x)))
}

fn root_of_squares(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::compare;

    const LIMIT: f64 = 2e-5 + 1e-6;

    #[test]
    fn nothing_agrees_that_differs() {
        let (share, disagreement) = compare(&[1.0, 2.0], &[1.0, 2.0], LIMIT);
        assert_eq!((share, disagreement), (0.0, None));
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
