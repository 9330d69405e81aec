//! Times of the GPU's clock on the host's clock.
//!
//! Nothing reads both clocks at once. All that is known of a submission is that it began after the host had handed it over,
//! and had ended when the host saw its results. So each submission gives two bounds of the difference between the clocks,
//! the host's time less the GPU's:
//! - it is at least the time of handing over less the first tick;
//! - it is at most the time when the end was known less the last tick.
//!
//! The lower bounds are near to the truth, because an idle GPU begins at once. The upper ones are not, because the host learns
//! late of an end. So the greatest lower bound is taken for the difference. The submission that began soonest is then shown
//! as if it had begun in the moment when it was handed over, and everything on the GPU may in truth be later than shown, by
//! no more than the distance to the least upper bound.

/// A submission's times.
#[derive(Clone, Debug)]
pub struct Submission {
    /// When it was handed over, in the host's seconds.
    pub handed: f64,
    /// When the host knew that it had ended.
    pub known: f64,
    /// The GPU's ticks before and after each launch.
    pub ticks: Vec<[u64; 2]>,
    /// The seconds of a tick.
    pub second: f64,
}

/// Begin and end of each submission's launches, in the host's seconds, and by how much they may be too early.
pub fn align(submissions: &[Submission]) -> (Vec<Vec<[f64; 2]>>, f64) {
    // Ticks count from the first one: a 64-bit float holds no nanoseconds since 1970.
    let epoch = submissions.iter().flat_map(|submission| &submission.ticks).map(|pair| pair[0]).min();
    let epoch = epoch.unwrap_or_default();
    let bounds: Vec<[f64; 2]> = submissions
        .iter()
        .map(|submission| {
            let seconds = |tick: u64| tick.saturating_sub(epoch) as f64 * submission.second;
            let first = submission.ticks.iter().map(|pair| seconds(pair[0])).fold(f64::INFINITY, f64::min);
            let last = submission.ticks.iter().map(|pair| seconds(pair[1])).fold(0.0, f64::max);
            [submission.handed - first, submission.known - last]
        })
        .collect();
    let least = bounds.iter().map(|bounds| bounds[0]).fold(f64::NEG_INFINITY, f64::max);
    let most = bounds.iter().map(|bounds| bounds[1]).fold(f64::INFINITY, f64::min);
    // Clocks that run apart may leave no common difference: then each submission has its own, within its bounds.
    let error = match most >= least {
        true => most - least,
        false => bounds.iter().map(|[low, high]| high - low).fold(0.0, f64::max),
    };
    let place = |(submission, [low, high]): (&Submission, &[f64; 2])| {
        let offset = least.min(*high).max(*low);
        let seconds = |tick: u64| tick.saturating_sub(epoch) as f64 * submission.second + offset;
        // A clock that was set back is no reason for a launch to end before it began.
        submission.ticks.iter().map(|[start, end]| [seconds(*start), seconds(*end.max(start))]).collect()
    };
    let times = submissions.iter().zip(&bounds).map(place).collect();
    (times, if error.is_finite() { error } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// A submission of launches that truly ran at these microseconds of the host, by a clock that is so many microseconds
    /// ahead and ticks each of them.
    fn submission(handed: f64, known: f64, ran: &[[u64; 2]], ahead: u64) -> Submission {
        let ticks = ran.iter().map(|pair| pair.map(|us| us + ahead)).collect();
        Submission { handed: handed * 1e-6, known: known * 1e-6, ticks, second: 1e-6 }
    }

    #[test]
    fn the_submission_that_began_soonest_began_when_it_was_handed_over() {
        let ahead = 1 << 60;
        let all = [
            submission(100.0, 900.0, &[[140, 150], [150, 170]], ahead),
            submission(1000.0, 1105.0, &[[1010, 1100]], ahead),
            submission(1050.0, 1500.0, &[[1100, 1200]], ahead),
        ];
        let (times, error) = align(&all);
        // Ten microseconds too early, which is within what is said: fifteen.
        assert!(near(times[1][0][0], 1000e-6) && near(times[1][0][1], 1090e-6), "{times:?}");
        assert!(
            near(times[0][0][0], 130e-6) && near(times[0][1][0], 140e-6) && near(times[2][0][0], 1090e-6)
        );
        assert!(near(error, 15e-6), "{error}");
    }

    #[test]
    fn clocks_that_run_apart_keep_each_launch_between_handing_over_and_end() {
        let all = [
            submission(100.0, 150.0, &[[110, 140]], 5000),
            submission(1000.0, 1050.0, &[[1010, 1040]], 9000),
        ];
        let (times, error) = align(&all);
        for (times, submission) in times.iter().zip(&all) {
            let [start, end] = times[0];
            assert!(start >= submission.handed - 1e-9 && end <= submission.known + 1e-9, "{times:?}");
            assert!(near(end - start, 30e-6));
        }
        assert!(near(error, 20e-6), "{error}");
    }

    #[test]
    fn nothing_was_submitted() {
        assert_eq!(align(&[]), (Vec::new(), 0.0));
    }
}
