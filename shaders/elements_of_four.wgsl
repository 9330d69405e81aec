// For elementwise kernels: a thread takes four neighbouring elements at a time, as one vector, which a GPU loads at once.
// Their number is a multiple of four.

alias Elements = vec4<f32>;
const WIDE = 4u;

fn keep_nan_of_each(x: Elements, y: Elements) -> Elements {
    return vec4(keep_nan(x.x, y.x), keep_nan(x.y, y.y), keep_nan(x.z, y.z), keep_nan(x.w, y.w));
}
