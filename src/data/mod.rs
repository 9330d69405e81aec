//! What models are trained on: [`text`].

pub mod text;
