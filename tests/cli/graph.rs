//! `bptt graph`: what it draws and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use bptt::device::Device;
use bptt::tape::{Tape, ValueKind};
use bptt::train::{Config, Experiment, Source, Stepper};
use roxmltree::Document;

use super::harness::{bptt, folder};

/// What a DOT file holds, as far as it is written here: of each box its kind and lines; arrows; gradients.
#[derive(Debug, Default)]
struct Dot {
    boxes: BTreeMap<String, (String, Vec<String>)>,
    arrows: BTreeSet<(String, String)>,
    gradients: BTreeSet<(String, String)>,
}

/// Parses a DOT file by its grammar: statements of an identifier, perhaps `->` and another, and attributes in brackets.
fn parse(text: &str) -> Dot {
    let body =
        text.strip_prefix("digraph tape {\n").and_then(|text| text.strip_suffix("}\n")).expect("a digraph");
    let mut dot = Dot::default();
    for line in body.lines() {
        let (statement, attributes) = match line.split_once(" [") {
            Some((statement, rest)) => {
                (statement.trim(), attributes(rest.strip_suffix(']').expect("a bracket")))
            }
            None => (line.trim(), BTreeMap::new()),
        };
        let is_id = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_alphabetic())
                && word.chars().all(|c| c.is_ascii_alphanumeric())
        };
        match statement.split(" -> ").collect::<Vec<_>>()[..] {
            [from, to] => {
                assert!(is_id(from) && is_id(to), "{line}");
                let gradient = attributes.get("class").is_some_and(|class| class == "gradient");
                let set = if gradient { &mut dot.gradients } else { &mut dot.arrows };
                assert!(set.insert((from.into(), to.into())), "twice: {line}");
            }
            ["node"] => {}
            [assignment] if attributes.is_empty() => assert!(assignment.contains('='), "{line}"),
            [id] => {
                assert!(is_id(id), "{line}");
                let lines = attributes["label"].split("\\n").map(String::from).collect();
                let before = dot.boxes.insert(id.into(), (attributes["class"].clone(), lines));
                assert_eq!(before, None, "twice: {line}");
            }
            _ => panic!("no statement: {line}"),
        }
    }
    dot
}

fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a closing quote"),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        found.insert(key.trim().to_string(), value.to_string());
        rest = after.trim_start_matches(',');
    }
    assert!(rest.trim().is_empty(), "{text}");
    found
}

/// The tape of a step, and the names of the model's parameters.
fn step(experiment: Experiment, change: impl Fn(&mut Config)) -> (Stepper, Vec<String>) {
    let mut config = Config::defaults(experiment);
    change(&mut config);
    let source = Source::read(&config).unwrap();
    let mut task = source.task(&Device::cpu(), &mut config).unwrap();
    let mut stepper = Stepper::new(&config.train, task.model().parameters()).unwrap();
    stepper.step(&mut *task, 0.1).unwrap();
    let names = task.model().parameters().names().map(|(name, _)| name.to_string()).collect();
    (stepper, names)
}

fn shape(tape: &Tape, var: bptt::tape::Var) -> String {
    format!("{:?} f32", tape.value_info(var).unwrap().shape)
}

/// Everything that the tape has is drawn, with its shape.
fn check(dot: &Dot, tape: &Tape, names: &[String]) {
    let of_kind = |kind: &str| -> BTreeSet<&str> {
        dot.boxes.values().filter(|(of, _)| of == kind).map(|(_, lines)| lines[0].as_str()).collect()
    };
    assert_eq!(of_kind("parameter"), names.iter().map(String::as_str).collect());
    let operations = dot.boxes.values().filter(|(kind, _)| kind == "operation").count();
    assert_eq!(operations, tape.nodes().len());
    let losses = dot.boxes.values().filter(|(kind, _)| kind == "loss").count();
    assert_eq!(losses, 1);
    // A parameter has one box, whatever the number of its values.
    let place = |var| {
        let (id, lines) = match tape.value_info(var).unwrap().kind {
            ValueKind::Parameter(name) => {
                let found = dot.boxes.iter().find(|(_, (_, lines))| lines[0] == name);
                found.map(|(id, (_, lines))| (id.clone(), lines)).unwrap()
            }
            _ => {
                let id = format!("v{}", var.index());
                (id.clone(), &dot.boxes[&id].1)
            }
        };
        assert_eq!(lines.last(), Some(&shape(tape, var)), "{var:?}");
        id
    };
    let mut arrows = BTreeSet::new();
    for (index, node) in tape.nodes().enumerate() {
        let id = format!("n{index}");
        assert_eq!(dot.boxes[&id], ("operation".into(), vec![node.name.into(), format!("node {index}")]));
        arrows.extend(node.inputs.iter().map(|input| (place(*input), id.clone())));
        arrows.extend(node.outputs.iter().map(|output| (id.clone(), place(*output))));
    }
    assert_eq!(dot.arrows, arrows);
    for (from, to) in &dot.gradients {
        assert!(
            dot.arrows.contains(&(to.clone(), from.clone())),
            "a gradient flows against an arrow: {from} {to}"
        );
    }
    // From the loss all parameters are reached, and nothing that is given from outside.
    let mut reached: BTreeSet<&str> =
        dot.boxes.iter().filter(|(_, (kind, _))| kind == "loss").map(|(id, _)| &**id).collect();
    while let Some((_, to)) =
        dot.gradients.iter().find(|(from, to)| reached.contains(&**from) && !reached.contains(&**to))
    {
        reached.insert(to);
    }
    for (id, (kind, lines)) in &dot.boxes {
        match kind.as_str() {
            "parameter" => assert!(reached.contains(&**id), "{lines:?}"),
            "input" => assert!(!reached.contains(&**id), "{lines:?}"),
            _ => {}
        }
    }
    assert_eq!(dot.gradients.iter().filter(|(from, _)| !reached.contains(&**from)).count(), 0);
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn every_node_and_parameter_is_drawn() {
    let folder = folder();
    for experiment in Experiment::ALL {
        let fit = |config: &mut Config| {
            if experiment == Experiment::Text {
                (config.train.batch, config.train.sequence) = (1, 16);
            }
        };
        let (stepper, names) = step(experiment, fit);
        bptt(folder.path(), &format!("graph {} --out tape.dot", experiment.name())).done();
        let dot = parse(&read(folder.path(), "tape.dot"));
        check(&dot, stepper.tape(), &names);

        bptt(folder.path(), &format!("graph {} --out tape.svg", experiment.name())).done();
        let svg = read(folder.path(), "tape.svg");
        let svg = Document::parse(&svg).unwrap();
        let texts: Vec<_> = svg
            .descendants()
            .filter(|node| node.has_tag_name("text"))
            .filter_map(|node| node.text())
            .collect();
        for line in dot.boxes.values().flat_map(|(_, lines)| lines) {
            assert!(texts.contains(&&**line), "{line} of {}", experiment.name());
        }
    }
}

#[test]
fn options_change_what_is_drawn() {
    let folder = folder();
    let says = bptt(folder.path(), "graph charseq --cell gru --layers 2 --linear --out deep.DOT --json");
    let done = says.events().pop().unwrap();
    let (stepper, names) = step(Experiment::Charseq, |config| {
        config.model.cell = bptt::nn::CellKind::Gru;
        config.model.layers = 2;
        config.model.linear = true;
    });
    check(&parse(&read(folder.path(), "deep.DOT")), stepper.tape(), &names);
    assert_eq!(done["nodes"], stepper.tape().nodes().len());
    assert_eq!(done["parameters"], names.len());
}

#[test]
fn what_cannot_be_drawn() {
    let folder = folder();
    let fails = |args: &str, code| bptt(folder.path(), args).failed(code).to_string();
    for name in ["tape.png", "tape", "svg"] {
        // Before any work: the data are not looked for.
        let says = fails(&format!("graph text --file none.txt --out {name}"), 2);
        assert_eq!(says, format!("--out {name}: name a file that ends with .svg or .dot"));
    }
    let says = fails("graph text --file none.txt --out nowhere/tape.svg", 3);
    assert!(says.starts_with("nowhere/tape.svg: cannot be written"), "{says}");
    assert!(fails("graph nothing", 2).contains("invalid value 'nothing'"));
    assert!(fails("graph hihello --device nonsense", 2).contains("nonsense"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
