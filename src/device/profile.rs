//! What a device does, recorded between [`Device::start_profile`](super::Device::start_profile) and
//! [`Device::finish_profile`](super::Device::finish_profile): the time by kernel and, where it is asked for, each launch and
//! what the host did meanwhile.
//!
//! All times are seconds on the host's clock since the profile was started. A GPU has a clock of its own; `gpu/clocks.rs`
//! says how its times are brought to the host's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

use super::{Arg, Values};
use crate::kernel::{Access, Plan, Storage};

/// How much a profile keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The time by kernel.
    Kernels,
    /// Also each launch and each span of the host. Memory grows with them, so that this is for some steps only.
    Launches,
    /// Also the numbers that each launch's arguments hold after it. Slow, because each launch is waited for.
    Values,
}

/// What a device did while it was profiled.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The time by kernel, longest first.
    pub kernels: Vec<KernelTime>,
    /// The launches, in order; none with [`Detail::Kernels`].
    pub launches: Vec<Launch>,
    /// What the host did; as above.
    pub spans: Vec<Span>,
    /// Submissions to the GPU.
    pub submits: u64,
    /// By how many seconds the GPU's launches may in truth be later than their times say; 0 on the CPU, which has the host's
    /// clock.
    pub clock_error: f64,
}

/// The time spent in one kernel while profiling.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel's name.
    pub kernel: &'static str,
    /// How often it was launched.
    pub launches: u64,
    /// Time in all launches together: by the GPU's own clock, or by the host's on the CPU device.
    pub seconds: f64,
}

/// A launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Kernel, variant and grid.
    pub plan: Plan,
    /// The parameters in 32-bit words, in the order of the kernel's declaration.
    pub params: Vec<u32>,
    /// The bytes of each argument, in the order of the kernel's declaration; 0 of one that is absent.
    pub bytes: Vec<u64>,
    /// The types of the arguments, in the same order.
    pub storage: Storage,
    /// What each argument held after the launch, nothing of one that is absent. Empty unless [`Detail::Values`] was asked for.
    pub values: Vec<Values>,
    /// When the host recorded it.
    pub recorded: f64,
    /// When it began to run.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// The innermost span that the host was in when it recorded the launch, as an index into [`Profile::spans`].
    pub span: Option<usize>,
}

impl Launch {
    /// The bytes of the arguments that it reads, and of those that it writes; of one that it updates both.
    pub fn traffic(&self) -> (u64, u64) {
        let of = |not: Access| {
            let args = self.plan.kernel.args.iter().zip(&self.bytes);
            args.filter(|(declared, _)| declared.access != not).map(|(_, bytes)| bytes).sum()
        };
        (of(Access::Write), of(Access::Read))
    }
}

/// A stretch of time of the host.
#[derive(Clone, Debug)]
pub struct Span {
    /// The operation's name, or what was given to [`Device::span`](super::Device::span).
    pub name: &'static str,
    /// What part of a tape's work it is.
    pub work: Work,
    /// The span that it is inside of, as an index into [`Profile::spans`].
    pub parent: Option<usize>,
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
}

/// What part of a tape's work is done. Nodes are those of [`Tape::nodes`](crate::tape::Tape::nodes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// An operation is computed; `None`: one that needs no gradient, and so has no node.
    Forward(Option<usize>),
    /// The gradients of a node's inputs are computed.
    Backward(usize),
    /// Anything else.
    Other,
}

impl Profile {
    /// The spans that a launch was recorded in, innermost first.
    pub fn spans_of(&self, launch: &Launch) -> impl Iterator<Item = &Span> {
        let first = launch.span.map(|index| &self.spans[index]);
        std::iter::successors(first, |span| span.parent.map(|index| &self.spans[index]))
    }

    /// The part of a tape's work that a launch is of, and the operation's name.
    pub fn work(&self, launch: &Launch) -> Option<(Work, &'static str)> {
        let span = self.spans_of(launch).find(|span| span.work != Work::Other)?;
        Some((span.work, span.name))
    }
}

/// Records a profile. While it is off, each call costs one relaxed load.
#[derive(Default)]
pub(crate) struct Recorder {
    on: AtomicBool,
    /// How many pauses have begun and not ended.
    pauses: AtomicU32,
    recording: Mutex<Option<Recording>>,
}

struct Recording {
    detail: Detail,
    begin: Instant,
    /// Only spans of the thread that began the profile are recorded, so that they lie inside each other.
    thread: ThreadId,
    times: BTreeMap<&'static str, (u64, f64)>,
    launches: Vec<Launch>,
    spans: Vec<Span>,
    /// The spans that have not ended, outermost first.
    open: Vec<usize>,
    last: Last,
    submits: u64,
    clock_error: f64,
}

/// Where the recording stood when something last happened on the tape or to a span. What was recorded since then belongs to
/// the operation that is pushed next.
#[derive(Clone, Copy, Default)]
struct Last {
    at: f64,
    launches: usize,
    spans: usize,
}

impl Recorder {
    pub fn start(&self, detail: Detail) {
        *self.lock() = Some(Recording {
            detail,
            begin: Instant::now(),
            thread: std::thread::current().id(),
            times: BTreeMap::new(),
            launches: Vec::new(),
            spans: Vec::new(),
            open: Vec::new(),
            last: Last::default(),
            submits: 0,
            clock_error: 0.0,
        });
        self.on.store(true, Ordering::Release);
    }

    pub fn finish(&self) -> Profile {
        self.on.store(false, Ordering::Release);
        self.lock().take().map(Recording::finish).unwrap_or_default()
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether launches and submissions are recorded now.
    pub fn counts(&self) -> bool {
        self.is_on() && self.pauses.load(Ordering::Relaxed) == 0
    }

    /// Counts a submission.
    pub fn submitted(&self) {
        if self.counts()
            && let Some(recording) = &mut *self.lock()
        {
            recording.submits += 1;
        }
    }

    /// Whether the numbers of each launch's arguments are wanted.
    pub fn keeps_values(&self) -> bool {
        self.counts() && self.lock().as_ref().is_some_and(|recording| recording.detail == Detail::Values)
    }

    /// What the arguments of the last launch hold after it.
    pub fn keep_values(&self, values: Vec<Values>) {
        if let Some(launch) = self.lock().as_mut().and_then(|recording| recording.launches.last_mut()) {
            launch.values = values;
        }
    }

    /// Keeps a launch that is recorded now. Gives its number, for [`Recorder::ran`].
    pub fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> usize {
        self.lock().as_mut().map_or(0, |recording| recording.launch(plan, params, args, recording.now()))
    }

    /// Keeps a launch that began at `begin` and has just ended.
    pub fn launched(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>], begin: Instant) {
        let end = Instant::now();
        self.took(plan.kernel.name, (end - begin).as_secs_f64());
        let [start, end] = [begin, end].map(|at| self.seconds(at));
        let index = self.lock().as_mut().map_or(0, |recording| recording.launch(plan, params, args, start));
        self.ran(index, [start, end]);
    }

    /// Adds the time that a launch of a kernel took.
    pub fn took(&self, kernel: &'static str, seconds: f64) {
        if let Some(recording) = &mut *self.lock() {
            let entry = recording.times.entry(kernel).or_default();
            entry.0 += 1;
            entry.1 += seconds;
        }
    }

    /// Tells when a launch ran.
    pub fn ran(&self, launch: usize, [start, end]: [f64; 2]) {
        let mut guard = self.lock();
        if let Some(launch) = guard.as_mut().and_then(|recording| recording.launches.get_mut(launch)) {
            (launch.start, launch.end) = (start, end);
        }
    }

    /// A moment on the profile's axis.
    pub fn seconds(&self, at: Instant) -> f64 {
        self.lock()
            .as_ref()
            .map_or(0.0, |recording| at.saturating_duration_since(recording.begin).as_secs_f64())
    }

    pub fn set_clock_error(&self, seconds: f64) {
        if let Some(recording) = &mut *self.lock() {
            recording.clock_error = seconds;
        }
    }

    /// Begins a span of what the device itself does.
    pub fn inner_span(&self, name: &'static str) -> OpenSpan<'_> {
        OpenSpan(self.open(name, Work::Other, false))
    }

    fn open(&self, name: &'static str, work: Work, outer: bool) -> Option<Open<'_>> {
        if !self.is_on() {
            return None;
        }
        self.with_spans(|recording| {
            let (now, index) = (recording.now(), recording.spans.len());
            let parent = recording.open.last().copied();
            recording.spans.push(Span { name, work, parent, start: now, end: now });
            recording.open.push(index);
            if outer {
                recording.remember();
            }
            Open { recorder: self, begin: recording.begin, index, outer }
        })
    }

    /// A value has been put on the tape from outside: what was done before is no part of the operation that comes.
    pub fn value(&self) {
        if self.is_on() {
            self.with_spans(Recording::remember);
        }
    }

    /// An operation has been computed: a span since whatever was before on the tape, with all launches in it.
    pub fn operation(&self, name: &'static str, node: Option<usize>) {
        if self.is_on() {
            self.with_spans(|recording| recording.operation(name, node));
        }
    }

    /// Does something with the recording, if it keeps spans and this is their thread.
    fn with_spans<T>(&self, f: impl FnOnce(&mut Recording) -> T) -> Option<T> {
        let mut guard = self.lock();
        let recording = guard
            .as_mut()
            .filter(|recording| recording.detail != Detail::Kernels && recording.is_of_this_thread())?;
        Some(f(recording))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    fn now(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    fn is_of_this_thread(&self) -> bool {
        self.thread == std::thread::current().id()
    }

    fn launch(&mut self, plan: &Plan, params: &[u8], args: &[Arg<'_>], recorded: f64) -> usize {
        if self.detail != Detail::Kernels {
            let mut storage = plan.kernel.widest();
            for (stored, arg) in storage.iter_mut().zip(args) {
                *stored = arg.view.map_or(*stored, |view| view.buffer.dtype());
            }
            let span = self.open.last().copied().filter(|_| self.is_of_this_thread());
            self.launches.push(Launch {
                plan: *plan,
                params: params.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect(),
                bytes: args.iter().map(Arg::bytes).collect(),
                storage,
                values: Vec::new(),
                recorded,
                start: recorded,
                end: recorded,
                span,
            });
        }
        self.launches.len().saturating_sub(1)
    }

    fn remember(&mut self) {
        self.last = Last { at: self.now(), launches: self.launches.len(), spans: self.spans.len() };
    }

    fn operation(&mut self, name: &'static str, node: Option<usize>) {
        let Last { at, launches, spans } = self.last;
        let (index, parent) = (self.spans.len(), self.open.last().copied());
        for span in self.spans[spans..].iter_mut().filter(|span| span.parent == parent) {
            span.parent = Some(index);
        }
        for launch in self.launches[launches..].iter_mut().filter(|launch| launch.span == parent) {
            launch.span = Some(index);
        }
        let end = self.now();
        self.spans.push(Span { name, work: Work::Forward(node), parent, start: at, end });
        self.remember();
    }

    fn close(&mut self, index: usize) {
        let now = self.now();
        // A span inside it that its caller forgot to end is ended too.
        while let Some(open) = self.open.pop() {
            self.spans[open].end = now;
            if open == index {
                break;
            }
        }
    }

    fn finish(mut self) -> Profile {
        if let Some(outermost) = self.open.first().copied() {
            self.close(outermost);
        }
        let time = |(kernel, (launches, seconds))| KernelTime { kernel, launches, seconds };
        let mut kernels: Vec<KernelTime> = self.times.into_iter().map(time).collect();
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let Recording { launches, spans, submits, clock_error, .. } = self;
        Profile { kernels, launches, spans, submits, clock_error }
    }
}

/// A pause in a profile, which ends when this is dropped: launches and submissions are left out.
#[must_use = "the pause ends when it is dropped"]
pub struct Pause<'a>(Option<&'a Recorder>);

impl<'a> Pause<'a> {
    pub(super) fn begin(recorder: Option<&'a Recorder>) -> Self {
        if let Some(recorder) = recorder {
            recorder.pauses.fetch_add(1, Ordering::Relaxed);
        }
        Pause(recorder)
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if let Some(recorder) = self.0 {
            recorder.pauses.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A span that ends when this is dropped.
#[must_use = "the span ends when it is dropped"]
pub struct OpenSpan<'a>(Option<Open<'a>>);

struct Open<'a> {
    recorder: &'a Recorder,
    /// The recording, by when it began.
    begin: Instant,
    index: usize,
    /// Whether its ends separate operations of the tape. Those of the device's own spans, in the middle of an operation, do not.
    outer: bool,
}

impl<'a> OpenSpan<'a> {
    /// Begins a span of what the tape or its user does.
    pub(super) fn begin(recorder: Option<&'a Recorder>, name: &'static str, work: Work) -> Self {
        OpenSpan(recorder.and_then(|recorder| recorder.open(name, work, true)))
    }
}

impl Drop for OpenSpan<'_> {
    fn drop(&mut self) {
        let Some(Open { recorder, begin, index, outer }) = self.0.take() else { return };
        recorder.with_spans(|recording| {
            if recording.begin == begin && recording.open.contains(&index) {
                recording.close(index);
                if outer {
                    recording.remember();
                }
            }
        });
    }
}
