//! The kernels of a program, with the code of each kind once: layers that are alike differ in their offsets alone.
//!
//! Kernels of one canonical form are known to be alike before any code is emitted. Of those that differ in form the functions are
//! compared too: forms say more than code depends on.

use std::hash::Hasher;

use cranelift_codegen::ir::{Function, Inst, UserExternalName};
use rustc_hash::{FxHashMap, FxHasher};

use super::canonical::{Canonical, Offset};
use super::lanes::Constants;
use super::wide::WideFunctions;
use super::{CodegenInput, Common, Numbers, Target, kernel};

/// The kernels of a program as code and offsets.
#[derive(Debug)]
pub struct Kernels {
    /// The functions that differ, in the order of the kernels that they were emitted for.
    pub functions: Vec<Function>,
    /// For each kernel, the first one of the same code, and where its own offsets stand in the table of constants, in
    /// bytes.
    pub calls: Vec<(usize, i32)>,
    /// The table of constants.
    pub constants: Constants,
    /// The functions with wide vectors that they call.
    pub wide: WideFunctions,
}

impl Kernels {
    /// The kernels that functions were emitted for, in the order of the functions.
    pub fn emitted(&self) -> impl Iterator<Item = usize> {
        self.calls.iter().enumerate().filter(|(index, (first, _))| index == first).map(|(index, _)| index)
    }
}

/// Emits the kernels of a program, and passes on each function with its number as soon as it is known to be the first of its kind.
pub fn kernels(program: CodegenInput<'_>, target: Target, mut found_new: impl FnMut(usize, &Function)) -> Kernels {
    let mut constants = Constants::default();
    let mut wide = WideFunctions::default();
    let mut functions: Vec<Function> = Vec::new();
    let mut firsts: Vec<usize> = Vec::new();
    let mut known: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
    let mut emitted: FxHashMap<u64, Vec<Emitted>> = FxHashMap::default();
    let mut calls = Vec::new();
    let CodegenInput { fused, plan, .. } = program;
    let (scalars, max_batch) = (&fused.slots.scalars[..], plan.max_batch);
    let common = Common { numbers: Numbers::of(fused), target, scalars, max_batch };
    for index in 0..fused.kernels.len() {
        let (canonical, own) = Canonical::of(program, index);
        let of_digest = emitted.entry(canonical.digest()).or_default();
        let form = of_digest.iter().position(|other| other.canonical == canonical).unwrap_or_else(|| {
            let (function, offsets) = kernel(&canonical, common, index, &mut constants, &mut wide);
            let alike = known.entry(operations(&function)).or_default();
            let found = alike.iter().copied().find(|&other| same_code(&functions[other], &function));
            let place = found.unwrap_or_else(|| {
                found_new(functions.len(), &function);
                alike.push(functions.len());
                functions.push(function);
                firsts.push(index);
                functions.len() - 1
            });
            of_digest.push(Emitted { canonical, place, offsets });
            of_digest.len() - 1
        });
        let Emitted { place, offsets, .. } = &of_digest[form];
        let offsets = offsets.iter().map(|&offset| match offset {
            Offset::Own(number) => own[number],
            Offset::Common(bytes) => bytes,
        });
        calls.push((firsts[*place], constants.list(&offsets.collect::<Vec<i64>>())));
    }
    Kernels { functions, calls, constants, wide }
}

/// A form for which code was emitted.
struct Emitted {
    canonical: Canonical,
    /// The function, by its place among those that differ.
    place: usize,
    /// What it reads from the list of its kernel.
    offsets: Vec<Offset>,
}

/// A number for what a function does, but for what it does it to: functions that are alike have it in common, and few others do.
fn operations(function: &Function) -> u64 {
    let mut hasher = FxHasher::default();
    let all = (0..function.dfg.num_insts() as u32).map(Inst::from_u32);
    all.for_each(|inst| hasher.write_u8(function.dfg.insts[inst].opcode() as u8));
    hasher.finish()
}

/// Whether two functions do the same and call the same.
fn same_code(f: &Function, g: &Function) -> bool {
    let called = |f: &Function| f.params.user_named_funcs().values().cloned().collect::<Vec<UserExternalName>>();
    f.stencil == g.stencil && called(f) == called(g)
}
