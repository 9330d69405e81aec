// The pass of rnn_forward, lstm_forward and gru_forward: which steps a launch makes, and what its sums multiply W_hhᵀ
// with: the rows of the state before the step, of inner() elements. Twin: Steps::forward in src/cpu/steps.rs.

// The s-th of the p.steps steps of this launch.
fn step_of(s: u32, direction: u32) -> Step {
    let reverse = p.reverse ^ direction;
    let start = select(p.start, p.time - 1u - p.start, direction == 1u);
    let time = select(start + s, start - s, reverse == 1u);
    let fresh = p.fresh == 1u && s == 0u;
    return Step(direction, time, time + reverse, time + 1u - reverse, 0u, fresh, fresh);
}

// Whether there are sums to compute: a state of 0 has none.
fn multiplies(step: Step) -> bool {
    return !step.fresh;
}

// Where the factors of a row of the batch begin, for `source`.
fn sources_of(row: u32, step: Step) -> u32 {
    return p.base + row_of_slot(step, step.before, row) * inner();
}

// The i-th element of what holds the factors of the sums.
fn source(i: u32) -> Wide {
    return load_h(i);
}
