// The steps of a launch of a recurrent kernel, in order: what they have in common in every schedule.

struct Step {
    time: u32,
    // The slots of the states before and after the step.
    before: u32,
    after: u32,
    // In a backward pass, the step whose gradients were computed before.
    later: u32,
    // Whether it is the first of all, so that nothing arrives from a step before.
    first: bool,
    // Whether nothing arrives from outside either: what is carried, or the initial state, is 0 and not in memory.
    fresh: bool,
}

// COLUMNS sums for a unit: its columns of the weights.
alias Sums = array<f32, COLUMNS>;

// Step s of p.steps of a forward pass.
fn forward_step(s: u32) -> Step {
    let time = select(p.start + s, p.start - s, p.reverse == 1u);
    let fresh = p.fresh == 1u && s == 0u;
    return Step(time, time + p.reverse, time + 1u - p.reverse, 0u, fresh, fresh);
}

// Step s of p.steps of a backward pass through `steps` in all.
fn backward_step(s: u32, steps: u32) -> Step {
    let time = select(p.start - s, p.start + s, p.reverse == 1u);
    let later = select(time + 1u, time - 1u, p.reverse == 1u);
    let first = select(time + 1u == steps, time == 0u, p.reverse == 1u);
    return Step(time, time + p.reverse, time + 1u - p.reverse, later, first, p.fresh == 1u && first);
}
