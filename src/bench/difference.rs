//! How far results in half precision are from those in 32 bits.

use super::Case;
use crate::device::Device;
use crate::error::Result;
use crate::parameters::Precision;

/// Steps after which results are compared. In training, each weight has then changed several times. A kernel alone computes
/// the same in each step.
const STEPS: usize = 10;

/// How much half precision changes what a case computes: ‖x − y‖ / ‖y‖, where y is a result in 32 bits and x the same result
/// in half precision, on the same device after ten steps with the same data. Where a case has several results, it is the
/// largest of the differences. The result of training is the loss. Where y is not finite, nothing is compared.
///
/// # Errors
/// Those of the case's steps.
pub fn difference(device: &Device, case: &Case, precision: Precision) -> Result<f64> {
    let results = |precision| {
        let mut bench = (case.prepare)(device, precision)?;
        for _ in 0..STEPS {
            bench.step()?;
        }
        bench.results()
    };
    let [wide, half] = [results(Precision::F32)?, results(precision)?];
    let largest = |most: f64, x: f64| if most.is_nan() || most > x { most } else { x };
    Ok(half.iter().zip(&wide).map(|(x, y)| relative(x, y)).fold(0.0, largest))
}

/// ‖x − y‖ / ‖y‖ over the places where y is finite.
fn relative(x: &[f64], y: &[f64]) -> f64 {
    let finite = || x.iter().zip(y).filter(|(_, y)| y.is_finite());
    let error: f64 = finite().map(|(x, y)| (x - y).powi(2)).sum();
    let all: f64 = finite().map(|(_, y)| y.powi(2)).sum();
    if error == 0.0 { 0.0 } else { (error / all).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn the_difference_is_a_share_of_what_should_be() {
        assert_eq!(relative(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert_eq!(relative(&[3.0, 9.0], &[3.0, 4.0]), 1.0);
        assert_eq!(relative(&[0.0], &[0.0]), 0.0);
        assert_eq!(relative(&[1.0], &[0.0]), f64::INFINITY);
        assert_eq!(relative(&[f64::INFINITY], &[1.0]), f64::INFINITY);
        assert!(relative(&[f64::NAN], &[1.0]).is_nan());
        // Where the result in 32 bits is not finite, there is nothing to compare.
        assert_eq!(relative(&[f64::NAN, 1.0], &[f64::NAN, 1.0]), 0.0);
        assert_eq!(relative(&[2.0, 1.0], &[f64::INFINITY, 1.0]), 0.0);
    }
}
