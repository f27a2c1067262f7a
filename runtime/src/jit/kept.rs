//! What a program makes of parameters once, for all runs until one of them changes.
//!
//! In: parameters. Out: results of kernels, transformed taps and rearranged right operands, in the blocks that the plan laid out.
//! Kernels run as compiled code; the rest are calls of microkernels, kept as data.

use super::{Code, ieee};
use crate::codegen::{Context, EntryFn};
use crate::kernel::{Fused, Winograd};
use crate::memory::Params;
use crate::microkernels::gemm::{self, Isa, Operand, Terms};
use crate::microkernels::winograd::{self, Windows};
use crate::plan::{KeptContent, Location, Plan};

/// What is kept from run to run, and what makes it.
#[derive(Debug, Default)]
pub(super) struct KeptCode {
    /// Floats of results and taps, and of right operands.
    lens: [usize; 2],
    /// The smallest batch that reads right operands, and the smallest that repays them at once.
    batches: [usize; 2],
    /// Runs the kernels whose results are kept, if there are any.
    entry: Option<EntryFn>,
    taps: Vec<Taps>,
    panels: Vec<Panels>,
}

/// Where a right operand begins.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// In the parameters.
    Params(usize),
    /// Among results.
    Prepared(usize),
}

/// Taps that are transformed.
#[derive(Debug)]
struct Taps {
    isa: Isa,
    from: Source,
    windows: Windows,
    at: usize,
}

/// A right operand that is rearranged.
#[derive(Debug)]
struct Panels {
    isa: Isa,
    from: Source,
    cols: usize,
    terms: Terms,
    steps: [usize; 2],
    at: usize,
}

impl KeptCode {
    /// What a plan keeps, given the code that runs the kernels whose results are kept.
    pub(super) fn of(fused: &Fused, plan: &Plan, entry: Option<EntryFn>) -> KeptCode {
        let (isa, kept) = (plan.tiling.machine.isa, &plan.kept);
        let (lens, batches) = ([kept.prepared, kept.packed], [kept.read_from, kept.repaid_from]);
        let mut code = KeptCode { lens, batches, entry, ..KeptCode::default() };
        for part in kept.parts.iter().filter(|part| !matches!(part.content, KeptContent::Value(_))) {
            let (kernel, at) = (&fused.kernels[part.kernel], part.at);
            let dot = kernel.dot.as_ref().expect("what is rearranged is an operand of a product");
            let start = |at: usize| at.saturating_add_signed(dot.b_at.constant as isize);
            let from = match plan.places[dot.b.index()] {
                Some(Location::Param(index)) => Source::Params(start(plan.params[index])),
                Some(Location::Prepared(at)) => Source::Prepared(start(at)),
                place => unreachable!("it is a parameter or made of some, but lies at {place:?}"),
            };
            match &dot.winograd {
                Some(winograd) => code.taps.push(Taps { isa, from, windows: windows(winograd), at }),
                None => {
                    let [_, steps] = kernel.dot_steps().map(|steps| steps.map(|step| step as usize));
                    let terms = Terms::all(dot.inner().factor(), dot.order.piece);
                    code.panels.push(Panels { isa, from, cols: kernel.cols(), terms, steps, at });
                }
            }
        }
        code
    }

    /// Where the blocks begin that a run is given: what is prepared, and what is packed.
    ///
    /// # Panics
    /// If there is less than the plan says.
    pub(super) fn addresses(&self, params: &Params<'_>) -> [*const f32; 2] {
        let [prepared, packed] = match *params {
            Params::Prepared { prepared, packed, .. } => [Some(prepared), packed],
            Params::Own(_) | Params::Shared(_) => [None; 2],
        };
        let [results, panels] = self.lens;
        let holds = |floats: Option<&[f32]>, len: usize| floats.is_some_and(|floats| floats.len() >= len);
        assert!(results == 0 || holds(prepared, results), "what is made of parameters is there");
        assert!(packed.is_none() || holds(packed, panels), "so is what is packed");
        [prepared, packed].map(|floats| floats.map_or(std::ptr::null(), <[f32]>::as_ptr))
    }
}

/// Windows as the microkernel knows them, of which it looks at taps alone.
fn windows(winograd: &Winograd) -> Windows {
    let Winograd { size, extent, first, a, b, channels, cols, .. } = winograd;
    let [size, extent] = [size, extent].map(|sizes| sizes.map(|size| size as i64));
    let [channels, cols] = [*channels, *cols].map(|count| count as i64);
    Windows { images: 1, size, extent, first: *first, a: *a, b: *b, channels, cols, part: 1 }
}

impl Code {
    /// Whether it writes parameters.
    pub fn writes(&self) -> bool {
        self.needs.writes
    }

    /// Floats of what has to be [prepared](Code::prepare) before a run, and of what may be [packed](Code::pack).
    pub fn kept_lens(&self) -> [usize; 2] {
        self.kept.lens
    }

    /// The smallest batch that reads what is packed, and the smallest that repays packing before it runs.
    pub fn packs_from(&self) -> [usize; 2] {
        self.kept.batches
    }

    /// Makes what runs need of these parameters, with an arena for what comes in between.
    ///
    /// # Panics
    /// If the memory is not as large as the program's plan says.
    pub fn prepare(&self, arena: &mut [f32], params: &[f32], prepared: &mut [f32]) {
        let needs = &self.needs;
        assert!(arena.len() >= needs.arena && params.len() >= needs.params, "the plan's memory is there");
        assert!(prepared.len() >= self.kept.lens[0] && !needs.writes, "there is room for what is kept");
        if let Some(entry) = self.kept.entry {
            let _mode = ieee::IeeeMode::enter();
            let arena = arena.as_mut_ptr();
            let scratch = arena.wrapping_add(needs.values);
            let mut overflow = 0;
            // What is kept depends on neither inputs nor scalars, and writes no parameters.
            let status = entry(&Context {
                arena,
                params: params.as_ptr().cast_mut(),
                scalars: std::ptr::null(),
                table: self.table.as_ptr().cast(),
                inputs: std::ptr::null(),
                batch: 1,
                scratch,
                tiles: scratch,
                overflow: &raw mut overflow,
                prepared: prepared.as_mut_ptr(),
                packed: std::ptr::null(),
            });
            debug_assert_eq!(status, 0, "no loss is checked here");
        }
        for Taps { isa, from, windows, at } in &self.kept.taps {
            let b = from.address(params, prepared);
            let to = prepared[*at..].as_mut_ptr();
            // SAFETY: the program was compiled for this instruction set, the operand lies in its buffer, and the plan has room for
            // its transformed taps.
            unsafe { winograd::taps(*isa, windows, 0, windows.cols as usize, b, to) };
        }
    }

    /// Rearranges right operands, after [`Code::prepare`].
    ///
    /// # Panics
    /// As for [`Code::prepare`].
    pub fn pack(&self, params: &[f32], prepared: &[f32], packed: &mut [f32]) {
        let [results, panels] = self.kept.lens;
        assert!(params.len() >= self.needs.params && prepared.len() >= results, "the plan's memory is there");
        assert!(packed.len() >= panels, "there is room for what is packed");
        for Panels { isa, from, cols, terms, steps: [row, col], at } in &self.kept.panels {
            let b = Operand { ptr: from.address(params, prepared), row: *row, col: *col };
            let to = packed[*at..].as_mut_ptr();
            // SAFETY: as above, and room for its panels.
            unsafe { gemm::pack_b(*isa, *cols, *terms, b, to) };
        }
    }
}

impl Source {
    fn address(self, params: &[f32], prepared: &[f32]) -> *const f32 {
        match self {
            Source::Params(at) => params[at..].as_ptr(),
            Source::Prepared(at) => prepared[at..].as_ptr(),
        }
    }
}
