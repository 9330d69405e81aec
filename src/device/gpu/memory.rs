//! What happens where memory is short: buffers that are only kept for reuse are given up, and work that holds memory is
//! waited for.

use super::{Gpu, State};
use crate::error::{Error, Fault, Result};

impl Gpu {
    /// Runs what needs new memory. Where there is none, what is only kept for reuse is given up, and it is tried once
    /// more.
    pub(super) fn with_memory<T>(
        &self,
        state: &mut State,
        wanted: usize,
        attempt: impl Fn(&mut State) -> Result<T>,
    ) -> Result<T> {
        let short = |error: &Error| matches!(error, Error::Gpu(Fault::OutOfMemory { .. }));
        match attempt(state) {
            Err(error) if short(&error) => {}
            other => return other,
        }
        // What is recorded holds buffers too, until it has been done.
        self.submit_locked(state)?;
        self.give_up_spare(state);
        self.wait(state.in_flight.pop_back())?;
        attempt(state).map_err(|error| match short(&error) {
            true => Error::Gpu(Fault::OutOfMemory {
                device: self.info.name.clone(),
                wanted: wanted as u64,
                in_use: state.pool.bytes_in_use,
            }),
            false => error,
        })
    }

    /// Gives up what is only kept for reuse.
    pub(super) fn give_up_spare(&self, state: &mut State) {
        state.pool.clear();
        state.reads.staging.clear();
        state.uploads.give_up_large();
        state.pipelines.bind_groups.clear();
    }

    /// Makes room in the upload ring as far as waiting for submissions does it. The oldest is waited for first, so that the
    /// GPU has work left.
    pub(super) fn wait_for_room(&self, state: &mut State, bytes: usize) -> Result<()> {
        while !state.uploads.has_room(bytes) {
            let Some(oldest) = state.in_flight.pop_front() else { break };
            self.wait(Some(oldest))?;
        }
        Ok(())
    }

    /// Makes room in the upload ring, also by handing over what is recorded if need be.
    pub(super) fn make_room(&self, state: &mut State, bytes: usize) -> Result<()> {
        self.wait_for_room(state, bytes)?;
        if !state.uploads.has_room(bytes) {
            self.submit_locked(state)?;
            self.wait_for_room(state, bytes)?;
        }
        Ok(())
    }
}
