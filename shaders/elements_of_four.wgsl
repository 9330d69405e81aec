// A thread of an elementwise kernel that takes four neighbours at a time, where their number is a multiple of four.

alias Elements = vec4<f32>;
const WIDE = 4u;
