// For elementwise kernels: a thread takes four neighbouring elements at a time, as one vector, which a GPU loads at once.
// Their number is a multiple of four.

alias Elements = vec4<f32>;
const WIDE = 4u;
