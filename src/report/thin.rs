//! Thins the points of a line out to what a picture can show.

/// The stretches of `points` between gaps, with at most a few points for each of `columns` pixel columns.
///
/// `place` maps a point to the picture, with x from 0 to `columns`, or to None where it is a gap. In each column the first,
/// the last, the lowest and the highest point are kept, in their order. A gap within a column cannot be seen and is dropped.
pub(super) fn thin(
    points: &[(f64, f64)],
    columns: f64,
    place: impl Fn((f64, f64)) -> Option<(f64, f64)>,
) -> Vec<Vec<(f64, f64)>> {
    let strips = reduce(points.iter().map(|&p| place(p)), |_, (x, _)| x.floor() as i64);
    let len = strips.len();
    let most = 8 * columns as usize + 8;
    if len <= most {
        return stretches(strips.into_iter());
    }
    // Points that go to and fro are not reduced enough by columns. So they are cut into runs of equal length as well.
    let run = len.div_ceil(most / 4);
    stretches(reduce(strips.into_iter(), |i, _| (i / run) as i64).into_iter())
}

type Placed = Option<(f64, f64)>;

/// Replaces the points of each bucket by its extremes, one bucket after the other; None where a gap lies between two buckets.
fn reduce(points: impl Iterator<Item = Placed>, bucket: impl Fn(usize, (f64, f64)) -> i64) -> Vec<Placed> {
    let mut out = Vec::new();
    let mut current: Option<(i64, Extremes)> = None;
    let mut gap = false;
    for (i, point) in points.enumerate() {
        let Some(point) = point else {
            gap = true;
            continue;
        };
        let key = bucket(i, point);
        match &mut current {
            Some((k, extremes)) if *k == key => extremes.add(i, point),
            _ => {
                if let Some((_, extremes)) = current.replace((key, Extremes([(i, point); 4]))) {
                    extremes.write(&mut out);
                    if gap {
                        out.push(None);
                    }
                }
            }
        }
        gap = false;
    }
    if let Some((_, extremes)) = current {
        extremes.write(&mut out);
    }
    out
}

/// The first, lowest, highest and last point, each with its index.
struct Extremes([(usize, (f64, f64)); 4]);

impl Extremes {
    fn add(&mut self, i: usize, point: (f64, f64)) {
        let [_, lowest, highest, last] = &mut self.0;
        if point.1 < lowest.1.1 {
            *lowest = (i, point);
        }
        if point.1 > highest.1.1 {
            *highest = (i, point);
        }
        *last = (i, point);
    }

    fn write(mut self, out: &mut Vec<Placed>) {
        self.0.sort_by_key(|&(i, _)| i);
        let mut before = None;
        for (i, point) in self.0 {
            if before.replace(i) != Some(i) {
                out.push(Some(point));
            }
        }
    }
}

fn stretches(points: impl Iterator<Item = Placed>) -> Vec<Vec<(f64, f64)>> {
    let mut out = vec![Vec::new()];
    for point in points {
        match point {
            Some(point) => out.last_mut().expect("starts with one").push(point),
            None => out.push(Vec::new()),
        }
    }
    out.retain(|stretch| !stretch.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finite((x, y): (f64, f64)) -> Placed {
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    #[test]
    fn few_points_stay() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 5.0), (3.0, 4.0)];
        assert_eq!(thin(&points, 10.0, finite), [vec![(0.0, 1.0)], vec![(2.0, 5.0), (3.0, 4.0)]]);
        assert!(thin(&[], 10.0, finite).is_empty());
        assert!(thin(&[(f64::NAN, 1.0)], 10.0, finite).is_empty());
    }

    #[test]
    fn millions_of_points_to_and_fro_become_few() {
        let points: Vec<_> = (0..2_000_000).map(|i| (f64::from(i * 37 % 100), f64::from(i % 1013))).collect();
        let thinned = thin(&points, 100.0, finite).concat();
        assert!(thinned.len() <= 1000, "{}", thinned.len());
        assert!(thinned.iter().any(|p| p.1 == 0.0) && thinned.iter().any(|p| p.1 == 1012.0));
    }

    proptest! {
        #[test]
        fn extremes_and_order_stay(ys in prop::collection::vec(prop::num::f64::ANY, 1..3000)) {
            let n = ys.len() as f64;
            let points: Vec<_> = ys.iter().enumerate().map(|(i, &y)| (i as f64 * 50.0 / n, y)).collect();
            let kept = thin(&points, 50.0, finite).concat();
            prop_assert!(kept.len() <= 4 * 51);
            prop_assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for column in 0..51 {
                let extremes = |points: &[(f64, f64)]| {
                    let inside = points.iter().filter(|p| p.0.floor() as i32 == column && p.1.is_finite());
                    inside.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), p| (a.min(p.1), b.max(p.1)))
                };
                prop_assert_eq!(extremes(&points), extremes(&kept));
            }
        }
    }
}
