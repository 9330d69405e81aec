//! The layout of a directed graph in layers from top to bottom, by Sugiyama's method:
//!
//! 1. Each box gets a layer, by the longest path that leads to it.
//! 2. Edges that pass layers are cut into pieces of one layer each.
//! 3. Each layer is ordered so that few edges cross: by the mean place of the neighbours (barycentres).
//! 4. Boxes get their coordinates across, near their neighbours.

/// A box to be placed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub width: f64,
    pub height: f64,
}

/// Where boxes and edges lie.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    pub width: f64,
    pub height: f64,
    /// The x of each box's centre, and the y of its top.
    pub boxes: Vec<(f64, f64)>,
    /// The points of each edge, from the lower side of its first box to the upper side of its second.
    pub edges: Vec<Vec<(f64, f64)>>,
}

/// The distance between two boxes side by side.
const ACROSS: f64 = 18.0;
/// The distance between two layers.
const DOWN: f64 = 54.0;
/// The width kept free for an edge that passes a layer.
const PASSAGE: f64 = 14.0;
/// How many passes look for fewer crossings; and as many for better coordinates.
const PASSES: usize = 12;

/// A box, or the piece of an edge that passes a layer.
struct Place {
    layer: usize,
    size: Size,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Lays out boxes and the edges between them, which are pairs of indices. Edges lead from boxes to later ones.
pub(super) fn lay_out(sizes: &[Size], edges: &[(usize, usize)]) -> Layout {
    let layers = layers_of(sizes.len(), edges);
    let mut places: Vec<Place> = sizes
        .iter()
        .zip(&layers)
        .map(|(size, layer)| Place { layer: *layer, size: *size, x: 0.0, above: vec![], below: vec![] })
        .collect();
    let chains: Vec<Vec<usize>> = edges.iter().map(|edge| chain(&mut places, *edge)).collect();
    let mut rows = vec![Vec::new(); layers.iter().map(|layer| layer + 1).max().unwrap_or(0)];
    for (index, place) in places.iter().enumerate() {
        rows[place.layer].push(index);
    }
    order(&places, &mut rows);
    spread(&mut places, &rows);

    let mut tops = Vec::with_capacity(rows.len());
    let mut y = 0.0;
    for row in &rows {
        tops.push(y);
        y += row.iter().map(|index| places[*index].size.height).fold(0.0, f64::max) + DOWN;
    }
    let height = (y - DOWN).max(0.0);
    let row_height = |layer: usize| tops.get(layer + 1).map_or(height, |next| next - DOWN) - tops[layer];
    // A box lies in the middle of its row.
    let top = |place: &Place| tops[place.layer] + (row_height(place.layer) - place.size.height) / 2.0;
    let width = places.iter().map(|place| place.x + place.size.width / 2.0).fold(0.0, f64::max);
    let boxes: Vec<_> = places[..sizes.len()].iter().map(|place| (place.x, top(place))).collect();
    let points = |(chain, (from, to)): (&Vec<usize>, &(usize, usize))| {
        let (lower, upper) = (&places[*from], &places[*to]);
        let leaves = port(&places, lower, &lower.below, chain[1]);
        let arrives = port(&places, upper, &upper.above, chain[chain.len() - 2]);
        let mut points = vec![(leaves, top(lower) + lower.size.height)];
        for piece in &chain[1..chain.len() - 1] {
            let Place { x, layer, .. } = &places[*piece];
            points.extend([(*x, tops[*layer]), (*x, tops[*layer] + row_height(*layer))]);
        }
        points.push((arrives, top(upper)));
        points
    };
    let edges = chains.iter().zip(edges).map(points).collect();
    Layout { width, height, boxes, edges }
}

/// The layer of each box: below all boxes that lead to it. A box to which nothing leads stands just above the first to which it
/// leads.
fn layers_of(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut sorted = edges.to_vec();
    sorted.sort();
    let mut layers = vec![0; count];
    for (from, to) in &sorted {
        assert!(from < to, "edges lead to later boxes");
        layers[*to] = layers[*to].max(layers[*from] + 1);
    }
    for index in 0..count {
        let is_source = edges.iter().all(|(_, to)| *to != index);
        let first = edges.iter().filter(|(from, _)| *from == index).map(|(_, to)| layers[*to]).min();
        if let (true, Some(first)) = (is_source, first) {
            layers[index] = first - 1;
        }
    }
    layers
}

/// Cuts an edge into pieces of one layer. Returns the indices of its places: the first box, the pieces, and the last box.
fn chain(places: &mut Vec<Place>, (from, to): (usize, usize)) -> Vec<usize> {
    let mut chain = vec![from];
    for layer in places[from].layer + 1..places[to].layer {
        let size = Size { width: PASSAGE, height: 0.0 };
        places.push(Place { layer, size, x: 0.0, above: vec![], below: vec![] });
        chain.push(places.len() - 1);
    }
    chain.push(to);
    for pair in chain.windows(2) {
        places[pair[0]].below.push(pair[1]);
        places[pair[1]].above.push(pair[0]);
    }
    chain
}

/// Orders each row so that few edges cross: by the mean place of the neighbours in the row before it. Passes go down and up in
/// turn. The best order that was seen is taken.
fn order(places: &[Place], rows: &mut [Vec<usize>]) {
    let mut best = rows.to_vec();
    let mut fewest = crossings(places, rows);
    for pass in 0..PASSES {
        let downwards = pass % 2 == 0;
        for step in 1..rows.len() {
            let row = if downwards { step } else { rows.len() - 1 - step };
            let fixed = positions(places.len(), &rows[if downwards { row - 1 } else { row + 1 }]);
            let own = positions(places.len(), &rows[row]);
            let centre = |index: &usize| {
                let place = &places[*index];
                let neighbours = if downwards { &place.above } else { &place.below };
                // Where there is no neighbour, the place stays about where it is.
                mean(neighbours.iter().map(|neighbour| fixed[*neighbour])).unwrap_or(own[*index])
            };
            rows[row].sort_by(|a, b| centre(a).total_cmp(&centre(b)));
        }
        let found = crossings(places, rows);
        if found < fewest {
            (fewest, best) = (found, rows.to_vec());
        }
    }
    rows.clone_from_slice(&best);
}

/// For each member of a row, its place in the row, from 0 to 1.
fn positions(count: usize, row: &[usize]) -> Vec<f64> {
    let mut positions = vec![0.0; count];
    for (place, index) in row.iter().enumerate() {
        positions[*index] = (place as f64 + 0.5) / row.len() as f64;
    }
    positions
}

fn crossings(places: &[Place], rows: &[Vec<usize>]) -> usize {
    let between = |pair: &[Vec<usize>]| {
        let lower = positions(places.len(), &pair[1]);
        let ends: Vec<Vec<f64>> =
            pair[0].iter().map(|index| places[*index].below.iter().map(|to| lower[*to]).collect()).collect();
        let against = |(left, ends_of): (usize, &Vec<f64>)| {
            let right = ends[left + 1..].iter().flatten();
            right.map(|end| ends_of.iter().filter(|own| *own > end).count()).sum::<usize>()
        };
        ends.iter().enumerate().map(against).sum::<usize>()
    };
    rows.windows(2).map(between).sum()
}

/// Gives every member of a row its x: as near as possible to the mean of its neighbours, but in the row's order, and with room
/// between the members.
fn spread(places: &mut [Place], rows: &[Vec<usize>]) {
    for pass in 0..=PASSES {
        for step in 0..rows.len() {
            let row = &rows[if pass % 2 == 0 { step } else { rows.len() - 1 - step }];
            let wish = |index: &usize| {
                let Place { above, below, x, .. } = &places[*index];
                let neighbours = match (pass, pass % 2) {
                    (PASSES, _) => above.iter().chain(below),
                    (_, 0) => above.iter().chain(&[]),
                    _ => below.iter().chain(&[]),
                };
                mean(neighbours.map(|neighbour| places[*neighbour].x)).unwrap_or(*x)
            };
            let wishes: Vec<f64> = row.iter().map(wish).collect();
            let sizes: Vec<f64> = row.iter().map(|index| places[*index].size.width).collect();
            for (index, x) in row.iter().zip(apart(&wishes, &sizes)) {
                places[*index].x = x;
            }
        }
    }
    let left = places.iter().map(|place| place.x - place.size.width / 2.0).fold(f64::INFINITY, f64::min);
    places.iter_mut().for_each(|place| place.x = (place.x - left).round());
}

/// The centres nearest to the wishes, in the sense of least squares, that keep the order of the boxes and the room between them.
///
/// A centre less the room that the boxes to its left need must not be smaller than the same of the box before. To find such
/// numbers near given ones is an isotonic regression, which is computed by pooling adjacent violators.
fn apart(wishes: &[f64], widths: &[f64]) -> Vec<f64> {
    let mut room = 0.0;
    let mut rooms = Vec::with_capacity(widths.len());
    for (i, width) in widths.iter().enumerate() {
        if i > 0 {
            room += (widths[i - 1] + width) / 2.0 + ACROSS;
        }
        rooms.push(room);
    }
    // The sums and counts of stretches that share one value, their mean.
    let mut stretches: Vec<(f64, usize)> = Vec::new();
    for (wish, room) in wishes.iter().zip(&rooms) {
        stretches.push((wish - room, 1));
        while let [.., (a, m), (b, n)] = stretches[..]
            && a / m as f64 > b / n as f64
        {
            stretches.pop();
            *stretches.last_mut().expect("there were two") = (a + b, m + n);
        }
    }
    let values = stretches.iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / *count as f64, *count));
    values.zip(&rooms).map(|(value, room)| value + room).collect()
}

/// The x at which an edge meets the side of a box. All edges that meet the side share it evenly, in the order of the places
/// to which they lead.
fn port(places: &[Place], place: &Place, side: &[usize], neighbour: usize) -> f64 {
    let mut side = side.to_vec();
    side.sort_by(|a, b| places[*a].x.total_cmp(&places[*b].x));
    let at = side.iter().position(|index| *index == neighbour).expect("it is a neighbour");
    place.x + place.size.width * ((at + 1) as f64 / (side.len() + 1) as f64 - 0.5)
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0), |(sum, count), x| (sum + x, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOX: Size = Size { width: 60.0, height: 30.0 };

    #[test]
    fn a_chain_is_a_column_and_a_fork_a_row() {
        let chain = lay_out(&[BOX; 3], &[(0, 1), (1, 2)]);
        assert!(chain.boxes.iter().all(|(x, _)| *x == chain.boxes[0].0), "{chain:?}");
        assert_eq!(chain.height, 3.0 * BOX.height + 2.0 * DOWN);
        let fork = lay_out(&[BOX; 3], &[(0, 2), (1, 2)]);
        assert_eq!(fork.boxes[0].1, fork.boxes[1].1);
        assert_eq!(fork.boxes[2].0, (fork.boxes[0].0 + fork.boxes[1].0) / 2.0, "{fork:?}");
    }

    #[test]
    fn what_can_be_drawn_without_crossings_is() {
        // Two chains given in opposite orders, and an edge past a layer.
        let edges = [(0, 3), (1, 2), (2, 4), (3, 5), (0, 5)];
        let layout = lay_out(&[BOX; 6], &edges);
        let side = |index: usize| layout.boxes[index].0;
        assert_eq!(side(0) < side(1), side(3) < side(2), "{layout:?}");
        assert_eq!(side(3) < side(2), side(5) < side(4), "{layout:?}");
    }

    #[test]
    fn the_nearest_places_that_keep_apart() {
        let near = |a: Vec<f64>, b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near(apart(&[0.0, 100.0], &[10.0; 2]), &[0.0, 100.0]));
        assert!(near(apart(&[50.0, 50.0], &[10.0; 2]), &[36.0, 64.0]));
        assert!(near(apart(&[80.0, 20.0, 500.0], &[10.0; 3]), &[36.0, 64.0, 500.0]));
    }

    proptest! {
        #[test]
        fn boxes_touch_neither_each_other_nor_passing_edges(
            widths in prop::collection::vec(20.0..200.0f64, 1..14),
            pairs in prop::collection::vec((0..14usize, 0..14usize), 0..24),
        ) {
            let count = widths.len();
            let sizes: Vec<Size> = widths.iter().map(|width| Size { width: *width, height: 30.0 }).collect();
            let mut edges: Vec<_> = pairs
                .iter()
                .map(|(a, b)| (a % count, b % count))
                .filter(|(a, b)| a != b)
                .map(|(a, b)| (a.min(b), a.max(b)))
                .collect();
            edges.sort();
            edges.dedup();
            let layout = lay_out(&sizes, &edges);
            let frame = |index: usize| {
                let ((x, top), Size { width, height }) = (layout.boxes[index], sizes[index]);
                (x - width / 2.0, x + width / 2.0, top, top + height)
            };
            for one in 0..count {
                let (left, right, top, bottom) = frame(one);
                prop_assert!(left >= -1.0 && right <= layout.width + 1.0 && top >= 0.0 && bottom <= layout.height);
                for other in 0..one {
                    let (l, r, t, b) = frame(other);
                    prop_assert!(right < l || r < left || bottom < t || b < top, "{one} and {other}: {layout:?}");
                }
                // The straight pieces with which edges pass a layer.
                for points in &layout.edges {
                    for pair in points[1..points.len() - 1].chunks_exact(2) {
                        let x = pair[0].0;
                        let beside = x < left || x > right || pair[1].1 < top || pair[0].1 > bottom;
                        prop_assert!(beside, "an edge crosses {one}: {layout:?}");
                    }
                }
            }
            for ((from, to), points) in edges.iter().zip(&layout.edges) {
                let ((a, b, _, bottom), (c, d, top, _)) = (frame(*from), frame(*to));
                let (first, last) = (points[0], points[points.len() - 1]);
                prop_assert!(first.0 > a && first.0 < b && first.1 == bottom, "{from} to {to}");
                prop_assert!(last.0 > c && last.0 < d && last.1 == top, "{from} to {to}");
                prop_assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1), "edges go down: {points:?}");
            }
        }
    }
}
