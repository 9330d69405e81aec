// For recurrent kernels: a thread has one unit at a time.

// Numbers of neighbouring units, as buffers hold them.
alias Wide = f32;

fn element(x: Wide, i: u32) -> f32 {
    return x;
}

fn sigmoid_of_each(x: Wide) -> Wide {
    return sigmoid(x);
}

fn tanh_of_each(x: Wide) -> Wide {
    return tanh_rational(x);
}

fn relu_of_each(x: Wide) -> Wide {
    return keep_nan(x, max(x, 0.0));
}
