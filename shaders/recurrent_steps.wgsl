// What the passes and the ways of a recurrent kernel have in common: a step, and the sums that belong to a unit. A
// recurrent kernel is put together of five files: the cell (rnn_forward.wgsl, say), its pass (recurrent_forward.wgsl or
// recurrent_backward.wgsl), this one, the way in which the sums are computed (recurrent_tiles.wgsl, recurrent_lanes.wgsl
// or recurrent_held.wgsl), and how many units a thread takes at once (units_of_one.wgsl or units_of_four.wgsl, by which
// Wide is a number or a vector of four). The cell gives inner(), over how many numbers a sum goes, and finish(), which a
// way calls with the sums of a unit, or of four. A way gives hand_on(), by which finish() leaves what the next step
// multiplies. Twin: src/cpu/recurrence.rs.

struct Step {
    // t.
    time: u32,
    // The slots of the states before and after the step.
    before: u32,
    after: u32,
    // In a backward pass, the step that was computed before this one: t + 1, or in reverse t - 1.
    later: u32,
    // Whether there is nothing to multiply: at the first of all steps, forward only where the initial state is 0 and not
    // in memory.
    first: bool,
    // Whether what it begins with (the initial state; backward, dh and dc) is 0 and not in memory.
    fresh: bool,
}

// How many elements of type Wide n numbers are.
fn wide(n: u32) -> u32 {
    return n / WIDE;
}

// The sums of WIDE neighbouring units: one for each of the COLUMNS columns of the weights that belong to a unit.
alias Sums = array<Wide, COLUMNS>;
