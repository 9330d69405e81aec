// The pass of rnn_backward, lstm_backward and gru_backward: which steps a launch makes, and what its sums multiply W_hh
// with: the rows of da of the step that was computed before, of inner() elements. Twin: Steps::backward in
// src/cpu/steps.rs.

// The s-th of the p.steps steps of this launch.
fn step_of(s: u32, direction: u32) -> Step {
    let reverse = p.reverse ^ direction;
    let start = select(p.start, p.time - 1u - p.start, direction == 1u);
    let time = select(start - s, start + s, reverse == 1u);
    let later = select(time + 1u, time - 1u, reverse == 1u);
    let first = select(time + 1u == p.time, time == 0u, reverse == 1u);
    return Step(direction, time, time + reverse, time + 1u - reverse, later, first, p.fresh == 1u && first);
}

// Where the factors of a row of the batch begin, for `source`.
fn sources_of(row: u32, step: Step) -> u32 {
    let first = step.direction * rows_apart(p.time * p.batch);
    return (first + step.later * p.batch + row) * inner();
}
