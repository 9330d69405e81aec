//! What `bptt explain` shows: the numbers of a walk, and what launches cost.

#[path = "../common/mod.rs"]
mod common;

mod costs;
mod values;
