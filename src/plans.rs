//! Which way a kernel runs that can run in several: matrix products and recurrent kernels; and how recurrent layers one above the
//! other do. Cost models choose, which are pure
//! functions of shape and limits, unless a measurement on this adapter (`bptt tune`) has found a better way.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::device::DeviceInfo;
use crate::error::{Error, Result};
use crate::files::{json, read_whole, write_named};

/// Ways that were found by measurement: for a [`Site`], as text, the name of the way.
pub type Plans = BTreeMap<String, String>;

/// What a way is chosen for: a kernel, or layers, and the sizes that they compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// The kernel; of layers the operation, `lstm_layers` say.
    pub kernel: &'static str,
    /// All sizes that a way may depend on.
    pub shape: [u32; 6],
    /// Whether any of its arguments is stored in half precision.
    pub half: bool,
}

impl Site {
    /// Whether it is of layers, whose way decides which shapes their kernels get.
    pub fn is_of_layers(&self) -> bool {
        self.kernel.ends_with("_layers")
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel)?;
        self.shape.iter().try_for_each(|size| write!(f, " {size}"))?;
        f.write_str(if self.half { " half" } else { "" })
    }
}

/// The ways that a kernel could have run at a site, and the way it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The names of the ways.
    pub ways: Vec<String>,
    /// The name of the way taken.
    pub taken: String,
}

/// One of several ways to run a kernel.
pub(crate) trait Way: Copy {
    /// Its name among the ways of a site.
    fn name(&self) -> String;
}

/// The plans of a device.
#[derive(Debug, Default)]
pub(crate) struct PlanTable {
    /// Whether a site has to be looked up at all.
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plans: Plans,
    /// Of each site that was met, the place of the way that the plans name.
    found: HashMap<Site, Option<usize>>,
    /// While ways are recorded.
    seen: Option<BTreeMap<Site, Seen>>,
}

impl PlanTable {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, plans: Plans) {
        let mut state = self.state();
        *state = State { plans, seen: state.seen.take(), ..State::default() };
        self.active.store(!state.plans.is_empty() || state.seen.is_some(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Plans {
        self.state().plans.clone()
    }

    /// From now on ways are recorded.
    pub fn record(&self) {
        self.state().seen = Some(BTreeMap::new());
        self.active.store(true, Ordering::Relaxed);
    }

    /// Ends it: the sites that were met.
    pub fn recorded(&self) -> BTreeMap<Site, Seen> {
        let mut state = self.state();
        self.active.store(!state.plans.is_empty(), Ordering::Relaxed);
        state.seen.take().unwrap_or_default()
    }

    /// The way for a site: that of the plans, where they name one of `ways`, else `default`.
    pub fn choose<W: Way>(&self, site: Site, ways: impl Fn() -> Vec<W>, default: W) -> W {
        if !self.active.load(Ordering::Relaxed) {
            return default;
        }
        let mut state = self.state();
        let State { plans, found, seen } = &mut *state;
        let place = *found.entry(site).or_insert_with(|| {
            let name = plans.get(&site.to_string())?;
            ways().iter().position(|way| way.name() == *name)
        });
        let taken = place.map_or(default, |place| ways()[place]);
        if let Some(seen) = seen {
            seen.entry(site).or_insert_with(|| Seen {
                ways: ways().iter().map(Way::name).collect(),
                taken: taken.name(),
            });
        }
        taken
    }
}

/// The file of plans: those of each adapter with its driver.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlansFile {
    format: u32,
    adapters: BTreeMap<String, Plans>,
}

/// The largest file of plans that is read.
const MAX_BYTES: u64 = 64 << 20;

/// The plans that a file holds for an adapter with its driver; none where there is no such file.
///
/// # Errors
/// [`Error::Data`] when it is not as [`save_plans`] wrote it.
pub fn load_plans(path: &Path, adapter: &DeviceInfo) -> Result<Plans> {
    Ok(read(path)?.adapters.remove(&adapter.to_string()).unwrap_or_default())
}

/// Adds plans of an adapter with its driver to a file, in place of those that it holds for the same sites.
///
/// # Errors
/// [`Error::Data`] when the file cannot be written, or holds something else.
pub fn save_plans(path: &Path, adapter: &DeviceInfo, plans: &Plans) -> Result<()> {
    let mut file = read(path)?;
    file.adapters.entry(adapter.to_string()).or_default().extend(plans.clone());
    let text = serde_json::to_string_pretty(&file).expect("plans are plain text");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::data(folder, format!("cannot be made: {error}")))?;
    }
    write_named(path, text.as_bytes())
}

fn read(path: &Path) -> Result<PlansFile> {
    if !path.exists() {
        return Ok(PlansFile { format: 1, ..PlansFile::default() });
    }
    let bad = |message: String| Error::data(path, format!("{message}: remove it, and run bptt tune again"));
    let file: PlansFile = json::parse(&read_whole(path, MAX_BYTES)?)
        .map_err(|error| bad(format!("holds no plans of bptt: {error}")))?;
    match file.format {
        1 => Ok(file),
        format => Err(bad(format!("format must be 1, got {format}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Named(&'static str);

    impl Way for Named {
        fn name(&self) -> String {
            self.0.into()
        }
    }

    const SITE: Site = Site { kernel: "kernel", shape: [1, 2, 3, 4, 5, 6], half: false };
    const OTHER: Site = Site { kernel: "kernel", shape: [1, 2, 3, 4, 5, 7], half: true };

    fn ways() -> Vec<Named> {
        vec![Named("slow"), Named("fast")]
    }

    fn plans(name: &str) -> Plans {
        Plans::from([(SITE.to_string(), name.to_string())])
    }

    #[test]
    fn plans_are_followed_where_they_name_a_way() {
        let table = PlanTable::default();
        let choose = |site| table.choose(site, ways, Named("default"));
        assert_eq!(choose(SITE), Named("default"));
        table.set(plans("fast"));
        assert_eq!((choose(SITE), choose(OTHER)), (Named("fast"), Named("default")));
        // What was found for the old plans is forgotten with them.
        table.set(plans("slow"));
        assert_eq!((choose(SITE), table.get()), (Named("slow"), plans("slow")));
        table.set(plans("of another device"));
        assert_eq!(choose(SITE), Named("default"));
        table.set(Plans::new());
        assert_eq!(choose(SITE), Named("default"));
    }

    #[test]
    fn sites_are_recorded_with_the_way_taken() {
        let table = PlanTable::default();
        table.set(plans("fast"));
        table.record();
        for site in [SITE, OTHER, SITE] {
            table.choose(site, ways, Named("slow"));
        }
        let seen = |taken: &str| Seen { ways: vec!["slow".into(), "fast".into()], taken: taken.into() };
        assert_eq!(table.recorded(), BTreeMap::from([(SITE, seen("fast")), (OTHER, seen("slow"))]));
        assert_eq!(table.recorded(), BTreeMap::new());
    }

    #[test]
    fn files_hold_the_plans_of_each_adapter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/plans.json");
        let adapter = |name: &str| DeviceInfo {
            name: name.into(),
            backend: "vulkan".into(),
            driver: "1".into(),
            software: false,
        };
        let [one, two] = ["one", "two"].map(adapter);
        assert_eq!(load_plans(&path, &one).unwrap(), Plans::new());
        save_plans(&path, &one, &plans("slow")).unwrap();
        let other = Plans::from([(OTHER.to_string(), "slow".to_string())]);
        save_plans(&path, &one, &other).unwrap();
        save_plans(&path, &two, &plans("fast")).unwrap();
        let mut both = plans("slow");
        both.extend(other);
        assert_eq!(
            (load_plans(&path, &one).unwrap(), load_plans(&path, &two).unwrap()),
            (both, plans("fast"))
        );
        for (text, says) in [
            ("{", "holds no plans of bptt"),
            ("[]", "holds no plans of bptt"),
            (r#"{"format": 2, "adapters": {}}"#, "format must be 1, got 2"),
        ] {
            std::fs::write(&path, text).unwrap();
            for result in [load_plans(&path, &one).map(drop), save_plans(&path, &one, &plans("slow"))] {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(says) && error.ends_with("run bptt tune again"), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "what is not understood stays");
        }
    }
}
