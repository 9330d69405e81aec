// A thread of an elementwise kernel that takes one element at a time.

alias Elements = f32;
const WIDE = 1u;
