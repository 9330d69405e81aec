// What the passes and the ways of a recurrent kernel have in common: a step, and the sums that belong to a unit. A
// recurrent kernel is put together of four files: the cell (rnn_forward.wgsl, say), its pass (recurrent_forward.wgsl or
// recurrent_backward.wgsl), this one, and the way in which the sums are computed (recurrent_tiles.wgsl or
// recurrent_lanes.wgsl). The cell tells the others inner(), over how many elements a sum goes, and gives finish(). Twin:
// src/cpu/recurrence.rs.

struct Step {
    // t.
    time: u32,
    // The slots of the states before and after the step.
    before: u32,
    after: u32,
    // In a backward pass, the step that was computed before this one: t + 1, or in reverse t - 1.
    later: u32,
    // Whether it is the first of all, so that there are no sums to compute.
    first: bool,
    // Whether what it begins with (the initial state; backward, dh and dc) is 0 and not in memory.
    fresh: bool,
}

// The sums of a unit: one for each of the COLUMNS columns of the weights that belong to it.
alias Sums = array<f32, COLUMNS>;
