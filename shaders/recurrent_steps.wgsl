// A step of a recurrent kernel, and the sums that it takes: what passes and schedules have in common.

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
