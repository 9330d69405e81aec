// A forward pass: which steps it makes, and what they multiply with W_hhᵀ: the rows of h, of inner() elements.

// Step s of p.steps.
fn step_of(s: u32) -> Step {
    let time = select(p.start + s, p.start - s, p.reverse == 1u);
    let fresh = p.fresh == 1u && s == 0u;
    return Step(time, time + p.reverse, time + 1u - p.reverse, 0u, fresh, fresh);
}

fn multiplies(step: Step) -> bool {
    return !step.fresh;
}

fn row_of(row: u32, step: Step) -> u32 {
    return p.base + (step.before * p.batch + row) * inner();
}

fn source(i: u32) -> f32 {
    return load_h(i);
}
