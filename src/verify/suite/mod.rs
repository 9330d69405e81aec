//! All checks of one device, an [`Item`] at a time: what `bptt check` runs on a user's own GPU. In every [`Precision`] it checks
//!
//! - every kernel of the table in every variant that the device can take, each case against the bounded reference, some cases
//!   twice for equal bits;
//! - conversions between precisions;
//! - the gradients of all operations and of whole layers;
//! - every way of running recurrent layers;
//! - training steps, which must repeat bit for bit;
//! - models, which must learn.
//!
//! A GPU is checked as it comes, and again with the least that bptt runs on ([`GpuOptions::LEAST`]). With a [`Sabotage`] the suite
//! shows that it can fail.

mod kernels;
mod report;
mod whole;

use std::time::Instant;

use serde::Serialize;

use super::{Row, Size, TABLE};
use crate::device::{Device, GpuOptions, Sabotage, adapters};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Processor};
use crate::nearby::instead;
use crate::parameters::Precision;

pub use report::{Ending, write_report};

/// One line of the table that `bptt check` prints.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// A kernel in all its variants.
    Kernel(&'static Row),
    /// Conversions of numbers to half precision and back.
    Conversions,
    /// Gradients: the reference's against finite differences, the device's against the reference's.
    Gradients,
    /// Recurrent layers in every way in which the device can run them.
    Schedules,
    /// The same training twice.
    Repeatability,
    /// A model of each kind that must learn.
    Learning,
}

impl Item {
    /// Every item.
    pub fn all() -> impl Iterator<Item = Item> {
        let whole =
            [Item::Conversions, Item::Gradients, Item::Schedules, Item::Repeatability, Item::Learning];
        TABLE.iter().map(Item::Kernel).chain(whole)
    }

    /// Its name: a kernel's is the kernel's.
    pub fn name(self) -> &'static str {
        match self {
            Item::Kernel(row) => row.kernel.name,
            Item::Conversions => "conversions",
            Item::Gradients => "gradients",
            Item::Schedules => "schedules",
            Item::Repeatability => "repeatability",
            Item::Learning => "learning",
        }
    }
}

/// The names that `asked` means: the equal one, else all that begin with it.
///
/// # Errors
/// [`Error::Argument`] where there is none: it has the names that are like it, else all.
pub fn named(asked: &str, names: &[&'static str]) -> Result<Vec<&'static str>> {
    if let Some(name) = names.iter().find(|name| **name == asked) {
        return Ok(vec![*name]);
    }
    let found: Vec<_> = names.iter().copied().filter(|name| name.starts_with(asked)).collect();
    if !asked.is_empty() && !found.is_empty() {
        return Ok(found);
    }
    Err(Error::argument("check", format!("no name begins with '{asked}'; {}", instead(asked, names))))
}

/// What was found of one thing that an item tries, such as a variant of a kernel, a computation or a model.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// What was tried.
    pub of: String,
    /// On which device: as it comes, with the least limits, or the reference.
    pub on: &'static str,
    /// In which precision.
    pub precision: Precision,
    /// How many cases were run.
    pub cases: u32,
    /// The largest error as a share of what it may be; in JSON null where that is infinite.
    pub worst: f64,
    /// How many cases failed.
    pub failed: u32,
    /// The first of them.
    pub failure: Option<Failure>,
}

/// A case that failed. A row of [`TABLE`] makes it again from seed and size.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// What was found, what was expected, with which parameters.
    pub message: String,
    /// The case's seed.
    pub seed: u64,
    /// The size of a kernel's case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The workgroups of a kernel's launch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<[u32; 3]>,
}

impl Trial {
    fn new(of: impl Into<String>, on: &'static str, precision: Precision) -> Trial {
        Trial { of: of.into(), on, precision, cases: 0, worst: 0.0, failed: 0, failure: None }
    }

    /// Adds a case: its error as a share of what it may be, and what it is to be reported with if that is more than 1.
    fn add(&mut self, share: f64, failure: impl FnOnce() -> Failure) {
        // What is not a number is beyond every limit.
        let share = if share.is_nan() { f64::INFINITY } else { share };
        self.cases += 1;
        self.worst = self.worst.max(share);
        if share > 1.0 {
            self.failed += 1;
            self.failure.get_or_insert_with(failure);
        }
    }
}

/// What was found of an item.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The item's name.
    pub name: &'static str,
    /// All that it tried.
    pub trials: Vec<Trial>,
    /// How long it took.
    pub seconds: f64,
}

impl Finding {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.trials.iter().all(|trial| trial.failure.is_none())
    }

    /// Cases that were run.
    pub fn cases(&self) -> u32 {
        self.trials.iter().map(|trial| trial.cases).sum()
    }

    /// The largest error as a share of what it may be.
    pub fn worst(&self) -> f64 {
        self.trials.iter().fold(0.0, |worst, trial| worst.max(trial.worst))
    }
}

/// How a suite checks.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Minutes in place of seconds.
    pub full: bool,
    /// What is made wrong on purpose.
    pub sabotage: Option<Sabotage>,
}

/// The relative error of a slight sabotage. The suite finds it in every kernel of the table.
pub const OFF: f32 = 1e-5;

/// How much is tried.
struct Effort {
    /// Cases of a kernel's variant, on the device as it comes and on the least one: in f32, f16, bf16.
    cases: [[u32; 3]; 2],
    /// Seeds of a computation.
    seeds: u64,
}

/// The quick check tries half precision only on the device as it comes. The device with the least limits has no `f16`: it stores
/// F16 as all devices store BF16, but for the conversions, which have an item of their own. (A pipeline takes a software
/// adapter 1 MB and some hundredths of a second.)
const QUICK: Effort = Effort { cases: [[10, 5, 5], [5, 0, 0]], seeds: 1 };
const FULL: Effort = Effort { cases: [[500, 200, 200], [500, 200, 200]], seeds: 8 };

impl Effort {
    /// Cases of a kernel's variant on a device.
    fn wanted(&self, device: usize, precision: Precision) -> u32 {
        self.cases[device][precision as usize]
    }
}

type Open = dyn Fn() -> Result<Device>;

/// The checks of one device.
pub struct Suite {
    open: Box<Open>,
    options: Options,
    /// The device as it comes; of a GPU also the same with the least limits.
    devices: Vec<Device>,
}

/// What the devices of a suite are called.
const AS_IT_COMES: &str = "device";
const LEAST: &str = "least limits";

impl Suite {
    /// The checks of the device that `open` opens. After a fault it is called again.
    ///
    /// # Errors
    /// Those of `open`; [`Error::Gpu`] when the adapter cannot be opened a second time.
    pub fn new(open: impl Fn() -> Result<Device> + 'static, options: Options) -> Result<Suite> {
        let open = Box::new(open);
        let devices = opened(&*open, &options)?;
        Ok(Suite { open, options, devices })
    }

    /// The device as it comes.
    pub fn device(&self) -> &Device {
        &self.devices[0]
    }

    /// How it checks.
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn effort(&self) -> &'static Effort {
        if self.options.full { &FULL } else { &QUICK }
    }

    /// The devices with what they are called.
    fn devices(&self) -> impl Iterator<Item = (&'static str, &Device)> {
        [AS_IT_COMES, LEAST].into_iter().zip(&self.devices)
    }

    /// Checks an item.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault. But a fault in a kernel's own case is part of the finding.
    pub fn check(&mut self, item: Item) -> Result<Finding> {
        let start = Instant::now();
        let trials = match item {
            Item::Kernel(row) => kernels::trials(self, row)?,
            Item::Conversions => whole::conversions(self)?,
            Item::Gradients => whole::gradients(self)?,
            Item::Schedules => whole::schedules(self)?,
            Item::Repeatability => whole::repeatability(self)?,
            Item::Learning => whole::learning(self)?,
        };
        Ok(Finding { name: item.name(), trials, seconds: start.elapsed().as_secs_f64() })
    }

    /// After a fault in a kernel's case, makes sure that there are devices to go on with: the same if they still answer.
    ///
    /// # Errors
    /// The fault, where a new device does not answer either.
    fn revive(&mut self, fault: &Error) -> Result<()> {
        if self.devices.iter().all(answers) {
            return Ok(());
        }
        self.devices = opened(&*self.open, &self.options).map_err(|_| fault.clone())?;
        if self.devices.iter().all(answers) { Ok(()) } else { Err(fault.clone()) }
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Suite({:?})", self.devices)
    }
}

fn opened(open: &Open, options: &Options) -> Result<Vec<Device>> {
    let device = open()?;
    let mut devices = vec![device.clone()];
    if device.limits().processor != Processor::Cpu {
        let index = adapters().iter().position(|adapter| adapter.info == *device.info());
        let index = index.expect("a GPU was made of an adapter");
        devices.push(Device::gpu(&index.to_string(), &GpuOptions::LEAST)?);
    }
    Ok(match &options.sabotage {
        Some(sabotage) => devices.iter().map(|device| device.sabotaged(sabotage.clone())).collect(),
        None => devices,
    })
}

/// Whether a device still takes work.
fn answers(device: &Device) -> bool {
    let asked =
        || device.allocate(Dtype::F32, 1).and_then(|buffer| device.read_back(buffer.view(0, 1))?.wait());
    asked().is_ok()
}
