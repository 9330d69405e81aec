// A backward pass: which steps it makes, and which rows of gradients they multiply with W_hh: those of the step before, of
// inner() elements.

// Step s of p.steps.
fn step_of(s: u32) -> Step {
    let time = select(p.start - s, p.start + s, p.reverse == 1u);
    let later = select(time + 1u, time - 1u, p.reverse == 1u);
    let first = select(time + 1u == p.time, time == 0u, p.reverse == 1u);
    return Step(time, time + p.reverse, time + 1u - p.reverse, later, first, p.fresh == 1u && first);
}

fn row_of(row: u32, step: Step) -> u32 {
    return (step.later * p.batch + row) * inner();
}
