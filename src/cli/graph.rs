//! `bptt graph`: draws the computation of a training step, as the tape has recorded it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use bptt::error::Result;
use bptt::report::{Edge, Graph, GraphNode, NodeKind};
use bptt::tape::{NodeInfo, Tape, ValueInfo, ValueKind, Var};
use bptt::train::{Stepper, write_file};
use serde_json::json;

use super::experiment::{ExperimentArgs, Prepared, ending};
use super::output::Output;

/// Options of `bptt graph`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// The file: .svg for a picture, .dot for Graphviz
    #[arg(long, value_name = "FILE", default_value = "tape.svg", help_heading = "Run")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long, help_heading = "Run")]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let ending = ending(&args.out, &["svg", "dot"])?;
    let Prepared { config, mut task, .. } = args.experiment.prepare(output)?;
    let mut stepper = Stepper::new(&config.train, task.model().parameters())?;
    let (loss, _) = stepper.step(&mut *task, config.train.lr)?;
    let title = format!("A training step of {}", config.experiment.name());
    let graph = graph(stepper.tape(), loss, title)?;
    let text = if ending == "svg" { graph.svg() } else { graph.dot() };
    write_file(&args.out, text.as_bytes())?;

    let count = |kind| graph.nodes.iter().filter(|node| node.kind == kind).count();
    let (path, nodes) = (args.out.display().to_string(), count(NodeKind::Operation));
    let parameters = count(NodeKind::Parameter);
    output.line(format!("{path}: {nodes} operations, {parameters} parameters"))?;
    output.event(&json!({"event": "done", "out": path, "nodes": nodes, "parameters": parameters}))
}

/// The graph of what a tape holds: its operations, the values that they take and give, and all parameters. A parameter has one box,
/// also where it is used more than once.
fn graph(tape: &Tape, loss: Var, title: String) -> Result<Graph> {
    let reached = reached(tape, loss)?;
    let graph = Graph { title, ..Graph::default() };
    let mut drawn = Drawn { tape, loss, reached, graph, places: HashMap::new() };
    for (index, NodeInfo { name, inputs, outputs }) in tape.nodes().enumerate() {
        let inputs = inputs.into_iter().map(|input| drawn.value(input)).collect::<Result<Vec<_>>>()?;
        let lines = vec![name.to_string(), format!("node {index}")];
        let node = drawn.add(format!("n{index}"), NodeKind::Operation, lines);
        for (from, gradient) in inputs {
            let edge = Edge { from, to: node, gradient };
            // An operation may take a value twice, as in x · x.
            if !drawn.graph.edges.contains(&edge) {
                drawn.graph.edges.push(edge);
            }
        }
        for output in outputs {
            let (to, gradient) = drawn.value(output)?;
            drawn.graph.edges.push(Edge { from: node, to, gradient });
        }
    }
    for var in tape.values() {
        if matches!(tape.value_info(var)?.kind, ValueKind::Parameter(_)) {
            drawn.value(var)?;
        }
    }
    Ok(drawn.graph)
}

/// The numbers of the values to which the loss's gradient flows back. To a final state that nothing takes, say, none flows.
fn reached(tape: &Tape, loss: Var) -> Result<HashSet<usize>> {
    let mut reached = HashSet::from([loss.index()]);
    let nodes: Vec<NodeInfo> = tape.nodes().collect();
    for NodeInfo { inputs, outputs, .. } in nodes.iter().rev() {
        if outputs.iter().any(|output| reached.contains(&output.index())) {
            for input in inputs {
                if tape.requires_grad(*input)? {
                    reached.insert(input.index());
                }
            }
        }
    }
    Ok(reached)
}

struct Drawn<'t> {
    tape: &'t Tape,
    loss: Var,
    reached: HashSet<usize>,
    graph: Graph,
    /// The box of each value, by its number, and of each parameter, by its name.
    places: HashMap<String, usize>,
}

impl Drawn<'_> {
    /// The index of a value's box, and whether a gradient flows to the value.
    fn value(&mut self, var: Var) -> Result<(usize, bool)> {
        let ValueInfo { shape, dtype, kind, .. } = self.tape.value_info(var)?;
        let reached = self.reached.contains(&var.index());
        let id = format!("v{}", var.index());
        let key = match &kind {
            ValueKind::Parameter(name) => name.clone(),
            _ => id.clone(),
        };
        if let Some(place) = self.places.get(&key) {
            return Ok((*place, reached));
        }
        let size = format!("{shape:?} {}", format!("{dtype:?}").to_lowercase());
        let (kind, mut lines) = match kind {
            ValueKind::Parameter(name) => (NodeKind::Parameter, vec![name]),
            ValueKind::Input => (NodeKind::Input, vec!["input".into()]),
            ValueKind::Output if var == self.loss => (NodeKind::Loss, vec!["loss".into()]),
            ValueKind::Output => (NodeKind::Value, vec![]),
        };
        lines.push(size);
        let place = self.add(id, kind, lines);
        self.places.insert(key, place);
        Ok((place, reached))
    }

    fn add(&mut self, id: String, kind: NodeKind, lines: Vec<String>) -> usize {
        self.graph.nodes.push(GraphNode { id, kind, lines });
        self.graph.nodes.len() - 1
    }
}
