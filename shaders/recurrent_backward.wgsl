// The pass of rnn_backward, lstm_backward and gru_backward: the order of the steps, and what their sums multiply W_hh
// with: the rows of da of the step that was computed before, of inner() elements. Twin: Steps::backward in
// src/cpu/steps.rs.

// How many steps a chain is behind the one that begins first: of layers that is the uppermost.
fn behind(chain: u32) -> u32 {
    return (p.chains - 1u - chain) * p.stagger;
}

// The step at a place in the pass.
fn step_of(place: u32, chain: u32) -> Step {
    let reverse = reverse_of(chain);
    let time = select(p.time - 1u - place, place, reverse == 1u);
    let later = select(time + 1u, time - 1u, reverse == 1u);
    let first = place == 0u;
    return Step(chain, time, time + reverse, time + 1u - reverse, later, first, p.fresh == 1u && first);
}

// Where the factors of a row of the batch begin, for `source`.
fn sources_of(row: u32, step: Step) -> u32 {
    let first = step.chain * rows_apart(p.time * p.batch);
    return (first + step.later * p.batch + row) * inner();
}
