//! Drawings of a computation as a graph: the operations, the values between them, and the ways that gradients flow back.

use std::fmt::Write;

use super::chart::heading;
use super::layers::{Layout, Size, lay_out};
use super::scene::{Anchor, Ink, Scene, Shape, Text};
use super::text::{fit, width};

/// A graph of a computation, drawn from top to bottom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// The heading.
    pub title: String,
    /// Operations and values. Each comes after those that it depends on.
    pub nodes: Vec<GraphNode>,
    /// What is used by what.
    pub edges: Vec<Edge>,
}

/// An operation or a value.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphNode {
    /// A name that no other node has, of letters and digits.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// The text in its box, line by line.
    pub lines: Vec<String>,
}

/// What a node of a graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Something that is computed.
    Operation,
    /// A parameter of the model.
    Parameter,
    /// A value from outside.
    Input,
    /// A value that an operation has computed.
    Value,
    /// The value whose gradients are wanted.
    Loss,
}

/// An arrow of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The index of the node at which it begins.
    pub from: usize,
    /// The index of the node at which it ends: a later one.
    pub to: usize,
    /// Whether a gradient flows back along it.
    pub gradient: bool,
}

impl NodeKind {
    const ALL: [NodeKind; 5] =
        [NodeKind::Operation, NodeKind::Parameter, NodeKind::Input, NodeKind::Value, NodeKind::Loss];

    fn name(self) -> &'static str {
        match self {
            NodeKind::Operation => "operation",
            NodeKind::Parameter => "parameter",
            NodeKind::Input => "input",
            NodeKind::Value => "value",
            NodeKind::Loss => "loss",
        }
    }

    /// The colour and the width of its frame.
    fn frame(self) -> (Ink, f64) {
        match self {
            NodeKind::Operation => (Ink::Text, 1.75),
            NodeKind::Parameter => (Ink::Line(0), 1.5),
            NodeKind::Input => (Ink::Mark, 1.0),
            NodeKind::Value => (Ink::Axis, 1.0),
            NodeKind::Loss => (Ink::Text, 3.0),
        }
    }
}

/// The colour of gradients.
const GRADIENT: Ink = Ink::Line(1);
/// The distance between an edge and the gradient that flows back along it; and how far the latter is moved aside at most.
const BESIDE: f64 = 5.0;
const MOST_BESIDE: f64 = 12.0;
/// The width that a box needs for each edge that meets its upper or its lower side.
const EDGE: f64 = 26.0;
/// The height of a line of text in a box, and the margin of the box.
const LINE: f64 = 15.0;
const MARGIN: f64 = 9.0;
/// The widest text in a box.
const WIDEST: f64 = 240.0;
const LEGEND: f64 = 26.0;

impl Graph {
    /// The graph in DOT, the language of Graphviz.
    pub fn dot(&self) -> String {
        let mut out = format!(
            "digraph tape {{\n  label={}\n  labelloc=t\n  rankdir=TB\n  node [fontname=\"sans-serif\", fontsize=11, shape=box]\n",
            quoted(&self.title)
        );
        for node in &self.nodes {
            let style = match node.kind {
                NodeKind::Operation => "style=\"rounded,bold\"",
                NodeKind::Parameter => "style=solid, color=\"#0a66b8\"",
                NodeKind::Input => "style=dashed",
                NodeKind::Value => "style=solid, color=\"#8b939d\"",
                NodeKind::Loss => "style=bold, peripheries=2",
            };
            let (label, kind) = (quoted(&node.lines.join("\n")), node.kind.name());
            _ = writeln!(out, "  {} [label={label}, class=\"{kind}\", {style}]", node.id);
        }
        for edge in &self.edges {
            let [from, to] = [edge.from, edge.to].map(|index| &self.nodes[index].id);
            _ = writeln!(out, "  {from} -> {to}");
            if edge.gradient {
                _ = writeln!(
                    out,
                    "  {to} -> {from} [class=\"gradient\", style=dashed, color=\"#c2500b\", constraint=false]"
                );
            }
        }
        out + "}\n"
    }

    /// An SVG document. It is light or dark, as the reader's system is set.
    pub fn svg(&self) -> String {
        self.scene().framed(16.0).document()
    }

    fn scene(&self) -> Scene {
        let lines: Vec<Vec<String>> = self
            .nodes
            .iter()
            .map(|node| node.lines.iter().map(|line| fit(line, 12.0, WIDEST)).collect())
            .collect();
        let mut degrees = vec![[0; 2]; self.nodes.len()];
        for edge in &self.edges {
            degrees[edge.from][0] += 1;
            degrees[edge.to][1] += 1;
        }
        let size = |(lines, degrees): (&Vec<String>, &[usize; 2])| {
            let widest = lines.iter().map(|line| 12.0 * width(line) * 1.06 + 2.0 * MARGIN);
            let edges = degrees.iter().map(|degree| EDGE * *degree as f64);
            Size {
                width: widest.chain(edges).fold(42.0, f64::max).ceil(),
                height: LINE * lines.len() as f64 + MARGIN,
            }
        };
        let sizes: Vec<Size> = lines.iter().zip(&degrees).map(size).collect();
        let edges: Vec<_> = self.edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let Layout { width: across, height, boxes, edges } = lay_out(&sizes, &edges);
        let mut scene = Scene {
            width: across.max(520.0),
            height: 0.0,
            title: format!("{}: {} boxes, {} arrows", self.title, self.nodes.len(), self.edges.len()),
            shapes: Vec::new(),
        };
        let mut top = heading(&mut scene, &self.title);
        top += self.legend(&mut scene, top) + 14.0;
        scene.height = top + height + 4.0;
        let left = ((scene.width - across) / 2.0).round();
        let moved = |(x, y): (f64, f64)| (x + left, y + top);

        for (edge, points) in self.edges.iter().zip(edges) {
            let points: Vec<_> = points.into_iter().map(moved).collect();
            if edge.gradient {
                arrow(&mut scene, beside(&points), GRADIENT);
            }
            arrow(&mut scene, points, Ink::Muted);
        }
        for ((node, lines), (place, size)) in self.nodes.iter().zip(lines).zip(boxes.into_iter().zip(sizes)) {
            let (x, y) = moved(place);
            frame(&mut scene, (x - size.width / 2.0, y), size, node.kind);
            for (row, content) in lines.into_iter().enumerate() {
                let first = row == 0;
                scene.shapes.push(Shape::Text(Text {
                    x,
                    y: y + MARGIN / 2.0 + LINE * row as f64 + 11.0,
                    anchor: Anchor::Middle,
                    size: 12.0,
                    ink: if first { Ink::Text } else { Ink::Muted },
                    bold: first && matches!(node.kind, NodeKind::Operation | NodeKind::Loss),
                    mono: false,
                    content,
                }));
            }
        }
        scene
    }

    /// Draws what boxes and arrows mean, from `top` on. Returns the height that it takes.
    fn legend(&self, scene: &mut Scene, top: f64) -> f64 {
        let mut x = 0.0;
        let y = top + 8.0;
        for kind in NodeKind::ALL.into_iter().filter(|kind| self.nodes.iter().any(|node| node.kind == *kind))
        {
            frame(scene, (x + 1.0, y - 5.0), Size { width: 16.0, height: 11.0 }, kind);
            scene.text(x + 23.0, y + 5.0, Anchor::Start, Ink::Muted, kind.name());
            x += 23.0 + 12.0 * width(kind.name()) + 16.0;
        }
        if self.edges.iter().any(|edge| edge.gradient) {
            arrow(scene, vec![(x, y + 1.0), (x + 26.0, y + 1.0)], GRADIENT);
            scene.text(x + 33.0, y + 5.0, Anchor::Start, Ink::Muted, "gradient");
        }
        LEGEND
    }
}

fn frame(scene: &mut Scene, (x, y): (f64, f64), Size { width, height }: Size, kind: NodeKind) {
    let (ink, stroke) = kind.frame();
    let points = vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)];
    scene.shapes.push(Shape::Path { points, ink, width: stroke });
}

/// The same line backwards, moved to the right. The flatter the line lies, the farther it is moved, so that the distance stays.
fn beside(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let flatness = |pair: &[(f64, f64)]| {
        let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        dx.hypot(dy) / dy.abs().max(1.0)
    };
    let moved = (BESIDE * points.windows(2).map(flatness).fold(1.0, f64::max)).min(MOST_BESIDE);
    points.iter().rev().map(|(x, y)| (x + moved, *y)).collect()
}

/// A line with a head at its last point.
fn arrow(scene: &mut Scene, points: Vec<(f64, f64)>, ink: Ink) {
    let [.., (x, y), (end_x, end_y)] = points[..] else { return };
    let (dx, dy) = (end_x - x, end_y - y);
    let length = dx.hypot(dy).max(1e-9);
    let (dx, dy) = (dx / length, dy / length);
    // The head is as long as a dash, so that it is drawn whole.
    let wing = |side: f64| (end_x - 6.0 * dx - side * 3.0 * dy, end_y - 6.0 * dy + side * 3.0 * dx);
    scene.shapes.push(Shape::Path { points, ink, width: 1.25 });
    for side in [-1.0, 1.0] {
        scene.line((end_x, end_y), wing(side), ink, 1.25);
    }
}

/// A string of DOT. Line ends are written as `\n`, and other control characters become spaces.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::Document;

    use super::*;

    fn graph(label: &str) -> Graph {
        let node = |id: &str, kind, lines: &[&str]| GraphNode {
            id: id.into(),
            kind,
            lines: lines.iter().map(|line| (*line).into()).collect(),
        };
        Graph {
            title: "A step".into(),
            nodes: vec![
                node("v0", NodeKind::Input, &["input", "[3, 2] f32"]),
                node("v1", NodeKind::Parameter, &[label, "[2] f32"]),
                node("n0", NodeKind::Operation, &["multiply"]),
                node("v2", NodeKind::Loss, &["loss"]),
            ],
            edges: vec![
                Edge { from: 0, to: 2, gradient: false },
                Edge { from: 1, to: 2, gradient: true },
                Edge { from: 2, to: 3, gradient: true },
            ],
        }
    }

    #[test]
    fn every_box_and_arrow_is_there() {
        let svg = graph("w").svg();
        let document = Document::parse(&svg).unwrap();
        let texts: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("text"))
            .filter_map(|node| node.text())
            .collect();
        for text in ["A step", "input", "[3, 2] f32", "w", "multiply", "loss", "gradient"] {
            assert!(texts.contains(&text), "{text} of {texts:?}");
        }
        let paths = document.descendants().filter(|node| node.has_tag_name("path")).count();
        // Boxes in picture and legend; lines and two wings each of arrows, gradients and the legend's gradient.
        assert_eq!(paths, 4 + 4 + 3 * (3 + 2 + 1));
        assert!(svg.contains("prefers-color-scheme: dark") && svg.contains("--ground"));
    }

    #[test]
    fn dot_has_an_arrow_each_way_where_a_gradient_flows() {
        let dot = graph("a \"quoted\"\\ name").dot();
        assert!(
            dot.contains("v1 [label=\"a \\\"quoted\\\"\\\\ name\\n[2] f32\", class=\"parameter\""),
            "{dot}"
        );
        let gradients: Vec<_> = dot.lines().filter(|line| line.contains("class=\"gradient\"")).collect();
        assert_eq!(gradients.len(), 2);
        assert!(gradients[0].starts_with("  n0 -> v1 [") && gradients[1].starts_with("  v2 -> n0 ["));
        for edge in ["  v0 -> n0\n", "  v1 -> n0\n", "  n0 -> v2\n"] {
            assert!(dot.contains(edge), "{edge}{dot}");
        }
    }

    #[test]
    fn nothing_to_draw() {
        assert!(Document::parse(&Graph::default().svg()).is_ok());
        assert!(Graph::default().dot().ends_with("}\n"));
    }

    proptest! {
        #[test]
        fn any_name_makes_well_formed_files(label in any::<String>()) {
            let graph = graph(&label);
            prop_assert!(Document::parse(&graph.svg()).is_ok());
            // Quotes that are not escaped come in pairs, on each line.
            for line in graph.dot().lines() {
                let bare = line.replace("\\\\", "").replace("\\\"", "");
                prop_assert_eq!(bare.matches('"').count() % 2, 0, "{}", line);
            }
        }
    }
}
