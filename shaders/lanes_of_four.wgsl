// A lane of recurrent_lanes.wgsl that takes four units, where their number is a multiple of four.

alias Weights = vec4<f32>;
const WIDE = 4u;

fn element(x: Weights, i: u32) -> f32 {
    return x[i];
}
