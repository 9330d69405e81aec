//! Pictures, and the page of a training run, as pure functions of data: nothing here knows of models, training or files.
//!
//! A [`Chart`], a [`HeatMap`] or a [`Graph`] is laid out as a scene of lines, texts and images. A scene is then written as SVG
//! or painted as PNG on white. The colours of an SVG are CSS custom properties, so that a page can show it in light and in dark.
//! [`html`] puts pictures into one page that needs no script and asks no host for anything. Equal input gives equal bytes.

mod axis;
mod chart;
mod graph;
mod heat_map;
mod layers;
mod marks;
mod page;
mod png;
mod scene;
mod text;
mod thin;

pub use chart::{Chart, Line};
pub use graph::{Edge, Graph, GraphNode, NodeKind};
pub use heat_map::HeatMap;
pub use page::{Block, Report, Section, html};
