//! The code of a program as text, for a fixed machine, so that it reads the same everywhere.

use cranelift_codegen::Context;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::settings::Configurable;

use super::{Registers, finish_isa, target};
use crate::codegen::{CodegenInput, Import, Numbers, entry, kernels, prepare};
use crate::error::BuildError;
use crate::kernel::Fused;
use crate::plan::plan;
use crate::tiling::{Isa, Keep, Machine, tile};

/// Which text of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Cranelift's intermediate language.
    Clif,
    /// Machine code.
    Asm,
}

/// The code of a program as text, for x86-64 with AVX2 and FMA, whatever machine this is. A long entry runs with registers
/// that were given in one pass, and is shown as it would be otherwise.
pub fn text(fused: &Fused, max_batch: usize, text: Text) -> Result<String, BuildError> {
    text_keeping(fused, max_batch, Keep::Nothing, text)
}

/// The same of a program that keeps this from run to run.
pub fn text_keeping(fused: &Fused, max_batch: usize, keep: Keep, text: Text) -> Result<String, BuildError> {
    let mut builder = isa_by_name("x86_64-unknown-linux-gnu")?;
    for flag in ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_avx", "has_avx2", "has_fma"] {
        builder.enable(flag).map_err(|error| BuildError::Machine(error.to_string()))?;
    }
    text_of(fused, max_batch, keep, text, builder)
}

/// The instruction set of this name, without extensions; an error if this build of Cranelift has no code for it.
pub fn isa_by_name(triple: &str) -> Result<cranelift_codegen::isa::Builder, BuildError> {
    let triple = triple.parse().map_err(|_| BuildError::Machine(format!("no machine is called {triple}")))?;
    cranelift_codegen::isa::lookup(triple).map_err(|error| BuildError::Machine(error.to_string()))
}

/// Whether a machine has vectors wider than those of Cranelift.
fn has_wide_vectors(isa: &dyn TargetIsa) -> bool {
    let has = |name: &str| isa.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool() == Some(true));
    has("has_avx2") && has("has_fma")
}

/// The code of a program as text, for a given machine.
pub fn text_for(
    fused: &Fused,
    max_batch: usize,
    text: Text,
    builder: cranelift_codegen::isa::Builder,
) -> Result<String, BuildError> {
    text_of(fused, max_batch, Keep::Nothing, text, builder)
}

/// The same of a program that keeps this from run to run.
fn text_of(
    fused: &Fused,
    max_batch: usize,
    keep: Keep,
    text: Text,
    builder: cranelift_codegen::isa::Builder,
) -> Result<String, BuildError> {
    let isa = finish_isa(builder, Registers::Well)?;
    let wide_vectors = has_wide_vectors(&*isa);
    let machine = Machine { wide_vectors, ..Machine::of(Isa::Avx2) };
    let plan = plan(fused, tile(fused, max_batch, machine).keeping(fused, keep))?;
    let program = CodegenInput { fused, plan: &plan, timed: false };
    let mut kernels = kernels(program, target(&*isa), |_, _| ());
    let entry = entry(program, &kernels, target(&*isa));
    let numbers = Numbers::of(fused).with_wide(kernels.wide.code.len());
    let prepare = prepare(program, &kernels, target(&*isa), numbers.shared(0));
    let heading = entry_heading(Numbers::of(fused), kernels.functions.iter().chain([&entry]));
    let mut functions = std::mem::take(&mut kernels.functions).into_iter();
    let print = |function: Function| -> Result<String, BuildError> {
        match text {
            Text::Clif => Ok(function.display().to_string()),
            Text::Asm => {
                let mut context = Context::for_function(function);
                context.set_disasm(true);
                let code = context.compile(&*isa, &mut Default::default());
                let code = code.map_err(|error| BuildError::Machine(error.inner.to_string()))?;
                Ok(code.vcode.clone().unwrap_or_default())
            }
        }
    };
    let mut result = String::new();
    for (index, &(code, list)) in kernels.calls.iter().enumerate() {
        result.push_str(&kernel_heading(fused, index));
        if code == index {
            result.push_str(&print(functions.next().expect("every kind of code has a function"))?);
        } else {
            result.push_str(&format!("; the code of kernel {code}, its offsets at byte {list} of the table\n"));
        }
        result.push('\n');
    }
    for (index, body) in kernels.wide.bodies.iter().enumerate() {
        let number = Numbers::of(fused).wide(index);
        result.push_str(&format!("; u0:{number}: a run of elements, {} at a time\n{body}\n", machine.tile.lanes));
    }
    result.push_str(&heading);
    result.push_str(&print(entry)?);
    result.push('\n');
    if let Some(prepare) = prepare {
        result.push_str(&format!("; when a parameter has changed, calls the same\n{}\n", print(prepare)?));
    }
    Ok(result)
}

/// What a kernel is and whose work it does.
fn kernel_heading(fused: &Fused, index: usize) -> String {
    let kernel = &fused.kernels[index];
    let mut layers: Vec<&str> = Vec::new();
    for layer in kernel.origins().map(|origin| &*origin.layer) {
        if !layer.is_empty() && !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    format!("; kernel {index}: {}  # {}\n", kernel.extents(), layers.join(" "))
}

/// What the numbers of called functions mean, those that kernels call among them.
fn entry_heading<'a>(numbers: Numbers, functions: impl Iterator<Item = &'a Function>) -> String {
    let mut heading = "; entry, calls kernel n as u0:n and\n".to_string();
    let names = functions.flat_map(|function| function.params.user_named_funcs().values());
    let called: Vec<u32> = names.map(|name| name.index).collect();
    for import in Import::ALL {
        let number = numbers.import(import);
        if called.contains(&number) {
            heading.push_str(&format!(";   u0:{number} {}\n", import.symbol()));
        }
    }
    heading
}
