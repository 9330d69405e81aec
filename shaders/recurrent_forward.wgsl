// The pass of rnn_forward, lstm_forward and gru_forward: the order of the steps, and what their sums multiply W_hhᵀ with:
// the rows of the state before the step, of inner() elements. Twin: Steps::forward in src/cpu/steps.rs.

// How many steps a chain is behind the one that begins first: of layers that is the lowest.
fn behind(chain: u32) -> u32 {
    return chain * p.stagger;
}

// The step at a place in the pass.
fn step_of(place: u32, chain: u32) -> Step {
    let reverse = reverse_of(chain);
    let time = select(place, p.time - 1u - place, reverse == 1u);
    let fresh = p.fresh == 1u && place == 0u;
    return Step(chain, time, time + reverse, time + 1u - reverse, 0u, fresh, fresh);
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
