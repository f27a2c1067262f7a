//! Whether the microkernels keep their sums in registers.
//!
//! In: the machine code of this process, from the functions that compiled programs call for products. Out: for either width of
//! registers, how many inner loops of multiply-adds there are, and how many of them touch the stack: that costs up to half the speed
//! and gives no warning. Nothing is timed. An error if more than an eighth do: at present a tenth, tiles of products over windows
//! whose first or last row has fewer terms, for which the machine has too few registers.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{File, read_to_string};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use gradloom_runtime::microkernels::{gemm, runs};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::Result;

/// Loops with fewer multiply-adds than this have too few sums to be a tile of one.
const LEAST: usize = 8;
/// How many functions are read at most.
const MOST_FUNCTIONS: usize = 2000;
/// How long a function is at most, in bytes.
const MOST_BYTES: usize = 1 << 16;
/// How many functions a table has at most: one for each instruction set.
const MOST_ENTRIES: usize = 8;
/// Between functions.
const PADDING: u8 = 0xcc;

/// What an inner loop does.
struct Loop {
    wide: bool,
    multiply_adds: usize,
    /// Registers of sums or factors that are written to the stack or read from it.
    spilled: usize,
}

pub fn count() -> Result<()> {
    let mut found: BTreeMap<bool, Vec<Loop>> = BTreeMap::new();
    for function in functions(&[gemm::gemm as *const () as u64, runs::product as *const () as u64])? {
        inner_loops(&function).for_each(|of| found.entry(of.wide).or_default().push(of));
    }
    let mut refused = Vec::new();
    println!("registers   inner loops   that spill   worst, accesses a multiply-add");
    for (wide, loops) in found {
        let registers = if wide { "zmm" } else { "ymm" };
        let spilling = loops.iter().filter(|of| of.spilled > 0).count();
        let worst = loops.iter().map(|of| of.spilled as f64 / of.multiply_adds as f64).fold(0.0, f64::max);
        println!("{registers:<9} {:>13} {spilling:>12} {worst:>32.2}", loops.len());
        if spilling > loops.len() / 8 {
            refused.push(format!("{spilling} of {} inner loops with {registers}", loops.len()));
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(format!("the stack is touched in {}", refused.join(" and ")).into()),
    }
}

/// The instructions of functions and of all that they call or jump to, directly or through tables.
fn functions(roots: &[u64]) -> Result<Vec<Vec<Instruction>>> {
    let memory = File::open("/proc/self/mem")?;
    let code = mapped_around(roots[0])?;
    let (mut found, mut known, mut waiting) = (Vec::new(), HashSet::new(), VecDeque::from(roots.to_vec()));
    while let Some(start) = waiting.pop_front().filter(|_| found.len() < MOST_FUNCTIONS) {
        if !known.insert(start) {
            continue;
        }
        let mut bytes = vec![PADDING; MOST_BYTES];
        // What is called may be past the end of what can be read.
        let Ok(len) = memory.read_at(&mut bytes, start) else { continue };
        let function = function(&bytes[..len], start);
        let end = function.last().map_or(start, Instruction::next_ip);
        let targets = function.iter().filter(|at| is_direct(at)).map(Instruction::near_branch_target);
        waiting.extend(targets.filter(|target| !(start..end).contains(target)));
        for table in function.iter().filter(|at| at.is_ip_rel_memory_operand()).map(Instruction::ip_rel_memory_address)
        {
            let mut entries = [0; 8 * MOST_ENTRIES];
            let len = memory.read_at(&mut entries, table).unwrap_or(0);
            let entries = entries[..len].chunks_exact(8);
            let entries = entries.map(|entry| u64::from_le_bytes(entry.try_into().expect("eight bytes")));
            waiting.extend(entries.take_while(|entry| code.contains(entry)));
        }
        found.push(function);
    }
    Ok(found)
}

/// What is mapped together with this address.
fn mapped_around(address: u64) -> Result<Range<u64>> {
    for line in read_to_string("/proc/self/maps")?.lines() {
        let ends = line.split_once(' ').and_then(|(ends, _)| ends.split_once('-'));
        let (start, end) = ends.ok_or("a line of /proc/self/maps has no addresses")?;
        let mapped = u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?;
        if mapped.contains(&address) {
            return Ok(mapped);
        }
    }
    Err("a function is mapped nowhere".into())
}

/// Instructions up to the padding after the last one.
fn function(bytes: &[u8], start: u64) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    for instruction in Decoder::with_ip(64, bytes, start, DecoderOptions::NONE).iter() {
        if instruction.is_invalid() {
            break;
        }
        instructions.push(instruction);
        let ends = matches!(
            instruction.flow_control(),
            FlowControl::Return
                | FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Exception
        );
        let next = (instruction.next_ip() - start) as usize;
        if ends && bytes.get(next).is_none_or(|byte| *byte == PADDING) {
            break;
        }
    }
    instructions
}

fn is_direct(at: &Instruction) -> bool {
    at.op_count() == 1 && at.op0_kind() == OpKind::NearBranch64
}

/// Loops without another loop in them, of wide registers.
fn inner_loops(function: &[Instruction]) -> impl Iterator<Item = Loop> {
    let place = |ip: u64| function.binary_search_by_key(&ip, Instruction::ip).ok();
    let backward =
        function.iter().enumerate().filter(|(_, at)| is_direct(at) && at.flow_control() != FlowControl::Call);
    let loops = backward.filter_map(|(last, at)| place(at.near_branch_target()).map(|first| (first, last)));
    let loops: Vec<(usize, usize)> = loops.filter(|(first, last)| first <= last).collect();
    let is_inner = |&&(first, last): &&(usize, usize)| {
        !loops.iter().any(|other| *other != (first, last) && first <= other.0 && other.1 <= last)
    };
    let inner: Vec<(usize, usize)> = loops.iter().filter(is_inner).copied().collect();
    inner.into_iter().filter_map(|(first, last)| of(&function[first..=last]))
}

fn of(body: &[Instruction]) -> Option<Loop> {
    let is_wide = |at: &Instruction| registers(at).any(Register::is_zmm);
    let is_vector = |at: &Instruction| registers(at).any(|register| register.is_ymm() || register.is_zmm());
    let adds = body.iter().filter(|at| is_vector(at) && is_multiply_add(at.mnemonic())).count();
    let on_stack = |at: &&Instruction| {
        let reads = (0..at.op_count()).any(|operand| at.op_kind(operand) == OpKind::Memory);
        reads && at.memory_base() == Register::RSP && is_vector(at)
    };
    let spilled = body.iter().filter(on_stack).count();
    (adds >= LEAST).then(|| Loop { wide: body.iter().any(is_wide), multiply_adds: adds, spilled })
}

fn is_multiply_add(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Vfmadd132ps | Mnemonic::Vfmadd213ps | Mnemonic::Vfmadd231ps)
}

fn registers(at: &Instruction) -> impl Iterator<Item = Register> {
    (0..at.op_count()).filter(|&operand| at.op_kind(operand) == OpKind::Register).map(|operand| at.op_register(operand))
}
