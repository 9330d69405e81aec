// For recurrent_lanes.wgsl: a lane has one unit.

alias Weights = f32;
const WIDE = 1u;

fn element(x: Weights, i: u32) -> f32 {
    return x;
}
