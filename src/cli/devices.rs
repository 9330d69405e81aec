//! `bptt devices`: lists the devices.

use bptt::device::{AdapterReport, adapters};
use bptt::error::Result;
use serde_json::{Map, Value, json};

use super::output::Output;

/// Options of `bptt devices`.
#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON object for each device
    #[arg(long)]
    json: bool,
}

/// The variables that keep bptt from using all that an adapter offers, which is what is listed.
const LESS: [(&str, &str, &str); 4] = [
    (
        "BPTT_DEFAULT_LIMITS",
        "1",
        "keeps to WebGPU's default limits, without f16, subgroups, timestamps and matrices",
    ),
    ("BPTT_UNIFORM_PARAMETERS", "1", "uses no immediates"),
    ("BPTT_PACKED_F16", "1", "uses no f16"),
    ("BPTT_COOPERATIVE", "0", "uses no cooperative matrices"),
];

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let adapters = adapters();
    let cpu_is_auto = adapters.iter().all(|adapter| !adapter.auto);
    let mark = |auto| if auto { "  <- auto" } else { "" };
    for (index, adapter) in adapters.iter().enumerate() {
        let AdapterReport { info, kind, limits, features, auto } = adapter;
        output.line(format!("{index}: {} ({}, {kind}){}", info.name, info.backend, mark(*auto)))?;
        output.line(format!("    {:28} {}", "driver", info.driver))?;
        for (name, value) in limits {
            output.line(format!("    {name:28} {value}"))?;
        }
        for (name, has) in features {
            output.line(format!("    {name:28} {}", if *has { "yes" } else { "no" }))?;
        }
        let limits: Map<String, Value> =
            limits.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        let features: Map<String, Value> =
            features.iter().map(|(name, has)| (name.to_string(), json!(has))).collect();
        output.event(&json!({
            "event": "device", "index": index, "name": info.name, "backend": info.backend, "driver": info.driver,
            "type": kind, "limits": limits, "features": features, "auto": auto,
        }))?;
    }
    output.line(format!("cpu: the CPU, with bptt's own code{}", mark(cpu_is_auto)))?;
    output.event(&json!({"event": "device", "name": "cpu", "type": "cpu", "auto": cpu_is_auto}))?;
    if adapters.is_empty() {
        output.line("No GPU driver was found. On Debian and Ubuntu: apt install mesa-vulkan-drivers")?;
    }
    for (name, value, says) in LESS {
        if std::env::var(name).is_ok_and(|set| set == value) {
            output.line(format!("{name}={value}: whatever is listed, bptt {says}"))?;
        }
    }
    match std::env::var("BPTT_DEVICE") {
        Ok(name) if !name.is_empty() => output.line(format!("BPTT_DEVICE={name} overrides auto")),
        _ => Ok(()),
    }
}
