// What the passes and the ways of a recurrent kernel have in common: a step, and the sums that belong to a unit. A
// recurrent kernel is put together of five files: the cell (rnn_forward.wgsl, say), its pass (recurrent_forward.wgsl or
// recurrent_backward.wgsl), this one, the way in which the sums are computed (recurrent_tiles.wgsl, recurrent_lanes.wgsl
// or recurrent_held.wgsl), and how many units a thread takes at once (units_of_one.wgsl or units_of_four.wgsl, by which
// Wide is a number or a vector of four). The cell gives inner(), over how many numbers a sum goes, and finish(), which a
// way calls with the sums of a unit, or of four. A way gives hand_on(), by which finish() leaves what the next step
// multiplies. Twin: src/cpu/steps.rs.

struct Step {
    // Of which chain it is, counted from 0.
    chain: u32,
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

// A launch takes p.chains chains of steps side by side, each in workgroups of its own, since none waits for another:
// - the two directions of a layer, where p.stagger is 0: the second makes the mirrored steps, from the other end;
// - else layers one above the other, each p.stagger steps behind the one that it depends on (behind() of the pass).
// The workgroups of a launch begin with chain p.lowest: below it none has a step to make.
//
// The places in the pass of the steps that a chain makes in this launch: from x on, before y. There are none where it has
// not begun yet, or has ended.
fn places_of(chain: u32) -> vec2<u32> {
    let begin = p.start - i32(behind(chain));
    let end = begin + i32(p.steps);
    return vec2(u32(clamp(begin, 0, i32(p.time))), u32(clamp(end, 0, i32(p.time))));
}

// 1 where a chain goes from the last step to the first.
fn reverse_of(chain: u32) -> u32 {
    return select(p.reverse, p.reverse ^ chain, p.stagger == 0u);
}

// What is of a chain lies together: each one's part of an array, [D, ..] of D chains, begins as many rows after the one before
// as that has, rounded up so that it is aligned: to a multiple of 128 numbers, a row being a multiple of H of them.
fn rows_apart(rows: u32) -> u32 {
    let step = 128u >> min(countTrailingZeros(p.hidden), 7u);
    return select(rows, (rows + step - 1u) / step * step, p.chains > 1u);
}

// The rows of [D, T, B, ..], of which each chain has the T·B first ones of its part.
fn rows_of_steps() -> u32 {
    return p.chains * rows_apart(p.time * p.batch);
}

// The row of a step: of [D, T, B, ..].
fn row_of_step(step: Step, row: u32) -> u32 {
    return step.chain * rows_apart(p.time * p.batch) + step.time * p.batch + row;
}

// The row of the state in a slot: of [D, T+1, B, ..].
fn row_of_slot(step: Step, slot: u32, row: u32) -> u32 {
    return step.chain * rows_apart((p.time + 1u) * p.batch) + slot * p.batch + row;
}

// The row of what goes from step to step: of [D, B, ..].
fn row_of_carried(step: Step, row: u32) -> u32 {
    return step.chain * rows_apart(p.batch) + row;
}

// The row of a step's output: of [T, B, D, ..], where directions are side by side; of layers as of any step.
fn row_of_output(step: Step, row: u32) -> u32 {
    let beside = (step.time * p.batch + row) * p.chains + step.chain;
    return select(row_of_step(step, row), beside, p.stagger == 0u);
}

// The first number of a chain's weights: of [D, inner(), COLUMNS·H].
fn first_weight(chain: u32) -> u32 {
    return chain * inner() * COLUMNS * p.hidden;
}

// Whether the sequence of a row has ended before the step.
fn has_ended(step: Step, row: u32) -> bool {
    return p.ragged == 1u && i32(step.time) >= lengths[row];
}

// How many elements of type Wide n numbers are.
fn wide(n: u32) -> u32 {
    return n / WIDE;
}

// The sums of WIDE neighbouring units: one for each of the COLUMNS columns of the weights that belong to a unit.
alias Sums = array<Wide, COLUMNS>;
