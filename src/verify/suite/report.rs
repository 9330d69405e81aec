//! The findings as a file to attach to a bug report.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Finding, Suite};
use crate::device::{Device, adapters};
use crate::error::Result;
use crate::files::write_named;

/// How far a suite has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// The item of this name is being checked. If the machine hangs, the file shows in which item.
    Checking(&'a str),
    /// All that was asked for has been checked.
    Done,
    /// It had to stop.
    Stopped(&'a str),
}

/// What is known of a device.
fn facts(device: &Device) -> Value {
    let (info, limits) = (device.info(), device.limits());
    let mut facts = json!({
        "name": info.name, "backend": info.backend, "driver": info.driver, "software": info.software, "limits": limits,
    });
    if let Some(adapter) = adapters().into_iter().find(|adapter| adapter.info == *info) {
        let limits: Map<String, Value> =
            adapter.limits.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let features: Map<String, Value> =
            adapter.features.into_iter().map(|(name, has)| (name.into(), has.into())).collect();
        let f16 = device.native_f16().map(|native| if native { "native" } else { "packed" }).ok();
        facts["adapter"] = json!({"type": adapter.kind, "limits": limits, "features": features});
        facts["f16"] = f16.into();
    }
    facts
}

/// Writes what was found so far, whole or not at all.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when the file cannot be written.
pub fn write_report(file: &Path, suite: &Suite, findings: &[Finding], ending: Ending<'_>) -> Result<()> {
    let failed = findings.iter().any(|finding| !finding.passed());
    let (checking, stopped) = match ending {
        Ending::Checking(name) => (Some(name), None),
        Ending::Done => (None, None),
        Ending::Stopped(why) => (None, Some(why)),
    };
    let verdict = match ending {
        _ if failed => "fail",
        Ending::Done => "pass",
        _ => "unfinished",
    };
    let options = suite.options();
    let document = json!({
        "format": 1, "version": env!("CARGO_PKG_VERSION"), "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH, "device": facts(suite.device()), "full": options.full,
        "sabotaged": options.sabotage.as_ref().map(|sabotage| &sabotage.kernels),
        "verdict": verdict, "checking": checking, "stopped": stopped, "findings": findings,
    });
    write_named(file, format!("{document:#}\n").as_bytes())
}
