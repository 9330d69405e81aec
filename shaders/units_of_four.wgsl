// For recurrent kernels: a thread has four neighbouring units at a time, as one vector. All sizes are multiples of four.

// Numbers of neighbouring units, as buffers hold them.
alias Wide = vec4<f32>;

fn element(x: Wide, i: u32) -> f32 {
    return x[i];
}

fn sigmoid_of_each(x: Wide) -> Wide {
    return vec4(sigmoid(x.x), sigmoid(x.y), sigmoid(x.z), sigmoid(x.w));
}

fn tanh_of_each(x: Wide) -> Wide {
    return vec4(tanh_rational(x.x), tanh_rational(x.y), tanh_rational(x.z), tanh_rational(x.w));
}

fn relu_of_each(x: Wide) -> Wide {
    let y = max(x, Wide(0.0));
    return vec4(keep_nan(x.x, y.x), keep_nan(x.y, y.y), keep_nan(x.z, y.z), keep_nan(x.w, y.w));
}
