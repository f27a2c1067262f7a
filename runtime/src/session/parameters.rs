//! Parameters, with what the program of predictions has made of them.
//!
//! In: a program, and how many rows are predicted. Out: the parameters for its run. Whoever writes parameters has to ask for
//! them here, and what was made of them is forgotten: no prediction finds what belongs to others.
//!
//! Results of kernels and transformed taps are made by the first prediction that needs them. Rearranged right operands are copies
//! that no run has to have: they are made by a batch that repays them itself, or once a second prediction comes that would read them,
//! so that who trains between predictions of a few rows pays for none; and not at all if there is no memory for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::buffer::{Buffer, no_memory};
use crate::compile::Program;
use crate::error::{BuildError, RunError};
use crate::memory::Params;

/// Parameters of one program of predictions, and of any others.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    floats: Buffer,
    prepared: OnceLock<Buffer>,
    /// None in it if there is no memory.
    packed: OnceLock<Option<Buffer>>,
    /// Whether there was a prediction that would have read what is packed.
    asked: AtomicBool,
    /// Room for what is to be prepared.
    room: Mutex<Option<Buffer>>,
}

impl From<Buffer> for Parameters {
    fn from(floats: Buffer) -> Parameters {
        Parameters { floats, ..Parameters::default() }
    }
}

impl Parameters {
    pub(super) fn len(&self) -> usize {
        self.floats.len()
    }

    pub(super) fn floats(&self) -> &[f32] {
        self.floats.floats()
    }

    /// The parameters, to be changed: what was made of them is forgotten.
    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        if let Some(prepared) = self.prepared.take() {
            *self.room.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
        }
        if self.packed.get().is_some() {
            self.packed = OnceLock::new();
        }
        *self.asked.get_mut() = false;
        self.floats.floats_mut()
    }

    /// The same parameters in memory of their own, with room for what is made of them, or `None` if there is none.
    pub(super) fn try_clone(&self) -> Option<Parameters> {
        let of_room = || self.room.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Buffer::len);
        let room = self.prepared.get().map(Buffer::len).or_else(of_room);
        let room = room.map(|len| Buffer::new(len).ok_or(())).transpose().ok()?;
        Some(Parameters { room: Mutex::new(room), ..Parameters::from(self.floats.try_clone()?) })
    }

    /// Puts others in their place. The room for what is made of them stays.
    pub(super) fn replace(&mut self, floats: Buffer) {
        self.floats_mut();
        self.floats = floats;
    }

    /// Makes room for what a program makes of them.
    ///
    /// # Errors
    /// No memory for it.
    pub(super) fn make_room(&mut self, program: &Program) -> Result<(), BuildError> {
        let [len, _] = program.code.kept_lens();
        if len > 0 && self.prepared.get().is_none() {
            let room = Buffer::new(len).ok_or_else(|| no_memory("what predictions make of the parameters", len))?;
            *self.room.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(room);
        }
        Ok(())
    }

    /// The parameters for predictions of so many rows at a time, always with the same program.
    ///
    /// # Errors
    /// No memory for what the program makes of them.
    pub(super) fn of_prediction(
        &self,
        program: &Program,
        arena: &mut [f32],
        rows: usize,
    ) -> Result<Params<'_>, RunError> {
        let (params, code) = (self.floats.floats(), &program.code);
        let [len, packed_len] = code.kept_lens();
        if len + packed_len == 0 {
            return Ok(Params::Shared(params));
        }
        let prepared = match self.prepared.get() {
            Some(prepared) => prepared,
            None => {
                // Others wait, and find it made.
                let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
                match self.prepared.get() {
                    Some(prepared) => prepared,
                    None => {
                        let made = room.take().or_else(|| Buffer::new(len));
                        let mut made = made.ok_or(RunError::NoMemory { what: "what is made of the parameters" })?;
                        code.prepare(arena, params, made.floats_mut());
                        self.prepared.get_or_init(|| made)
                    }
                }
            }
        };
        let prepared = prepared.floats();
        let [read_from, repaid_from] = code.packs_from();
        let packed = match self.packed.get() {
            Some(packed) => packed.as_ref(),
            None if rows < read_from => None,
            None if rows >= repaid_from || self.asked.swap(true, Ordering::Relaxed) => {
                let make = || {
                    let mut packed = Buffer::new(packed_len)?;
                    code.pack(params, prepared, packed.floats_mut());
                    Some(packed)
                };
                self.packed.get_or_init(make).as_ref()
            }
            None => None,
        };
        Ok(Params::Prepared { params, prepared, packed: packed.map(Buffer::floats) })
    }
}
