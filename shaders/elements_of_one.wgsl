// For elementwise kernels: a thread takes one element at a time.

alias Elements = f32;
const WIDE = 1u;
