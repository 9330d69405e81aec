// For recurrent_lanes.wgsl: a lane has four neighbouring units, as one vector. Their number H is a multiple of four.

alias Weights = vec4<f32>;
const WIDE = 4u;

fn element(x: Weights, i: u32) -> f32 {
    return x[i];
}
