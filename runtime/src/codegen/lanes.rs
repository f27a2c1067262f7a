//! The scalar instruction set as CLIF: a register is up to four vectors of four lanes, or one number.
//!
//! Four vectors are worked on operation by operation, so that the latency of one hides behind the others; Cranelift keeps
//! that order at `opt_level = none`. Constants lie in a table, four times each, and are read right where they are used:
//! there a read folds into the operation.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Opcode, Type, Value, types};
use cranelift_frontend::FunctionBuilder;
use rustc_hash::FxHashMap;

use crate::scalar::{Cmp, Reg, Scalar};

/// How many elements a register stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// One number.
    One,
    /// This many vectors of four lanes, at most four.
    Vectors(usize),
}

impl Width {
    pub(super) fn parts(self) -> usize {
        match self {
            Width::One => 1,
            Width::Vectors(count) => count,
        }
    }
}

/// The constants of a program, each four times, in the order of first use, and lists of numbers among them.
#[derive(Clone, Debug, Default)]
pub struct Constants {
    /// The bit patterns.
    pub words: Vec<u32>,
    known: FxHashMap<u32, i32>,
}

impl Constants {
    /// The byte offset of a constant in the table.
    pub fn offset(&mut self, bits: u32) -> i32 {
        let words = &mut self.words;
        *self.known.entry(bits).or_insert_with(|| {
            words.extend([bits; 4]);
            (words.len() * 4 - 16) as i32
        })
    }

    /// Appends a list of 64-bit numbers, and gives its byte offset.
    pub fn list(&mut self, numbers: &[i64]) -> i32 {
        let at = 4 * self.words.len() as i32;
        self.words.extend(numbers.iter().flat_map(|&number| [number as u32, (number >> 32) as u32]));
        self.words.resize(self.words.len().next_multiple_of(4), 0);
        at
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug)]
enum Held {
    Values([Value; 4]),
    /// A constant, by its place in the table; an integer if the flag is set.
    Constant {
        bits: u32,
        integer: bool,
    },
    /// Memory that is read where it is used: address, byte offset of the first vector.
    Memory {
        address: Value,
        offset: i32,
        integer: bool,
    },
}

/// The emitter of one straight piece of code.
pub struct Lanes<'a, 'f> {
    /// Where instructions go.
    pub fb: &'a mut FunctionBuilder<'f>,
    /// The program's constants.
    pub constants: &'a mut Constants,
    /// The address of the table of constants.
    pub table: Value,
    /// Whether the machine has fused multiply-add.
    pub fma: bool,
    width: Width,
    held: Vec<Held>,
}

/// Memory of the program: always there, aligned to four bytes.
pub fn memory() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Memory that nobody writes while the program runs.
pub fn constant_memory() -> MemFlagsData {
    MemFlagsData::new().with_notrap().with_readonly().with_can_move().with_aligned()
}

impl<'a, 'f> Lanes<'a, 'f> {
    /// Starts a piece of code.
    pub fn new(
        fb: &'a mut FunctionBuilder<'f>,
        constants: &'a mut Constants,
        table: Value,
        fma: bool,
        width: Width,
    ) -> Self {
        Lanes { fb, constants, table, fma, width, held: Vec::new() }
    }

    /// The CLIF type of one part of a float or integer.
    fn ty(&self, integer: bool) -> Type {
        match (self.width, integer) {
            (Width::One, false) => types::F32,
            (Width::One, true) => types::I32,
            (Width::Vectors(_), false) => types::F32X4,
            (Width::Vectors(_), true) => types::I32X4,
        }
    }

    fn hold(&mut self, held: Held) -> Reg {
        self.held.push(held);
        Reg(self.held.len() as u32 - 1)
    }

    /// A register that holds the same value in every part and lane.
    pub fn splat(&mut self, value: Value) -> Reg {
        let value = match self.width {
            Width::One => value,
            Width::Vectors(_) => {
                let ty = self.fb.func.dfg.value_type(value).by(4).expect("a vector of four lanes exists");
                self.fb.ins().splat(ty, value)
            }
        };
        self.spread(value)
    }

    /// A register of which every part is this value, which has the width of a part.
    pub fn spread(&mut self, part: Value) -> Reg {
        self.hold(Held::Values([part; 4]))
    }

    /// A register with these parts.
    pub fn parts(&mut self, part: &dyn Fn(&mut FunctionBuilder<'f>, usize) -> Value) -> Reg {
        let mut values = None;
        for index in 0..self.width.parts() {
            let value = part(self.fb, index);
            values.get_or_insert([value; 4])[index] = value;
        }
        self.hold(Held::Values(values.expect("a register has parts")))
    }

    /// A register of one vector of numbers, with its lanes in another order.
    pub fn reordered(&mut self, reg: Reg, order: [u8; 4]) -> Reg {
        let vector = self.part(reg, 0);
        let bytes = cast(self.fb, types::I8X16, vector);
        let mask: Vec<u8> = order.iter().flat_map(|lane| (0..4).map(move |byte| 4 * lane + byte)).collect();
        let mask = self.fb.func.dfg.immediates.push(ConstantData::from(&mask[..]));
        let bytes = self.fb.ins().shuffle(bytes, bytes, mask);
        let vector = cast(self.fb, types::F32X4, bytes);
        self.spread(vector)
    }

    /// A register in memory, read where it is used: at once unless `lazy`.
    pub fn load(&mut self, address: Value, offset: i32, integer: bool, lazy: bool) -> Reg {
        let held = Held::Memory { address, offset, integer };
        if lazy {
            return self.hold(held);
        }
        let values = self.all(held);
        self.hold(Held::Values(values))
    }

    /// A register of elements so many bytes apart, loaded one by one.
    pub fn load_apart(&mut self, address: Value, step: i64, integer: bool) -> Reg {
        if self.width == Width::One {
            return self.load(address, 0, integer, false);
        }
        let (one, vector) = if integer { (types::I32, types::I32X4) } else { (types::F32, types::F32X4) };
        self.parts(&|fb, part| {
            let first = fb.ins().iadd_imm_s(address, 4 * step * part as i64);
            let number = fb.ins().load(one, memory(), first, 0);
            let start = fb.ins().scalar_to_vector(vector, number);
            (1..4u8).fold(start, |vector, lane| {
                let at = fb.ins().iadd_imm_s(first, step * i64::from(lane));
                let number = fb.ins().load(one, memory(), at, 0);
                fb.ins().insertlane(vector, number, lane)
            })
        })
    }

    /// Writes a register to memory.
    pub fn store(&mut self, reg: Reg, address: Value, offset: i32) {
        for part in 0..self.width.parts() {
            let value = self.part(reg, part);
            self.fb.ins().store(memory(), value, address, offset + 16 * part as i32);
        }
    }

    fn all(&mut self, held: Held) -> [Value; 4] {
        let first = self.fetch(held, 0);
        let mut values = [first; 4];
        for (part, value) in values.iter_mut().enumerate().take(self.width.parts()).skip(1) {
            *value = self.fetch(held, part);
        }
        values
    }

    fn fetch(&mut self, held: Held, part: usize) -> Value {
        match held {
            Held::Values(values) => values[part],
            Held::Constant { bits, integer } => {
                let offset = self.constants.offset(bits);
                let ty = self.ty(integer);
                self.fb.ins().load(ty, constant_memory(), self.table, offset)
            }
            Held::Memory { address, offset, integer } => {
                let ty = self.ty(integer);
                self.fb.ins().load(ty, memory(), address, offset + 16 * part as i32)
            }
        }
    }

    /// One part of a register.
    pub fn part(&mut self, reg: Reg, part: usize) -> Value {
        self.fetch(self.held[reg.0 as usize], part)
    }

    /// The result of what `emit` writes for each part. Called through a pointer: this is compiled once for each number of operands,
    /// not once for each operation.
    fn map<const N: usize>(
        &mut self,
        operands: [Reg; N],
        emit: &dyn Fn(&mut FunctionBuilder<'f>, [Value; N]) -> Value,
    ) -> Reg {
        if self.width.parts() > 1 && operands.iter().all(|&operand| self.is_repeated(operand)) {
            let operands = operands.map(|operand| self.part(operand, 0));
            let value = emit(self.fb, operands);
            return self.spread(value);
        }
        let mut values: Option<[Value; 4]> = None;
        for part in 0..self.width.parts() {
            let operands = operands.map(|operand| self.part(operand, part));
            let value = emit(self.fb, operands);
            values.get_or_insert([value; 4])[part] = value;
        }
        self.hold(Held::Values(values.expect("a register has parts")))
    }

    /// Whether all parts of a register are known to be one value.
    fn is_repeated(&self, reg: Reg) -> bool {
        match self.held[reg.0 as usize] {
            Held::Values(values) => values[..self.width.parts()].iter().all(|&value| value == values[0]),
            Held::Constant { .. } => true,
            Held::Memory { .. } => false,
        }
    }

    fn vector(&self) -> bool {
        self.width != Width::One
    }

    /// Whether a comparison may read memory only where that is aligned to 16 bytes: vectors without AVX.
    fn compares_aligned(&self) -> bool {
        self.vector() && !self.fma
    }

    fn compare(&mut self, condition: FloatCC, x: Reg, y: Reg) -> Reg {
        let aligned = self.compares_aligned();
        self.map([x, y], &|fb, [x, y]| compared(fb, aligned, condition, x, y))
    }

    fn constant_float(&self, reg: Reg) -> Option<f32> {
        match self.held[reg.0 as usize] {
            Held::Constant { bits, integer: false } => Some(f32::from_bits(bits)),
            _ => None,
        }
    }

    /// Whether it is known not to be NaN.
    fn is_number(&self, reg: Reg) -> bool {
        self.constant_float(reg).is_some_and(|c| !c.is_nan())
    }

    fn bitcast(&mut self, x: Reg, integer: bool) -> Reg {
        if let Held::Constant { bits, .. } = self.held[x.0 as usize] {
            return self.hold(Held::Constant { bits, integer });
        }
        let ty = self.ty(integer);
        self.map([x], &|fb, [x]| cast(fb, ty, x))
    }
}

fn cast(fb: &mut FunctionBuilder<'_>, ty: Type, x: Value) -> Value {
    if fb.func.dfg.value_type(x) == ty {
        return x;
    }
    let flags = match ty.is_vector() {
        true => MemFlagsData::new().with_endianness(Endianness::Little),
        false => MemFlagsData::new(),
    };
    fb.ins().bitcast(ty, flags, x)
}

/// A comparison. Cranelift folds a load into `cmpps` even where that wants its memory `aligned`, as it does for no other instruction,
/// unless another operation is in between: one that moves nothing.
fn compared(fb: &mut FunctionBuilder<'_>, aligned: bool, condition: FloatCC, x: Value, y: Value) -> Value {
    let [x, y] = [x, y].map(|value| {
        let loads = |inst| fb.func.dfg.insts[inst].opcode() == Opcode::Load;
        match aligned && fb.func.dfg.value_def(value).inst().is_some_and(loads) {
            true => {
                let (ty, bits) = (fb.func.dfg.value_type(value), cast(fb, types::I32X4, value));
                cast(fb, ty, bits)
            }
            false => value,
        }
    });
    fb.ins().fcmp(condition, x, y)
}

fn choose(fb: &mut FunctionBuilder<'_>, vector: bool, mask: Value, x: Value, y: Value) -> Value {
    match vector {
        false => fb.ins().select(mask, x, y),
        true => {
            let ty = fb.func.dfg.value_type(x);
            let mask = cast(fb, ty, mask);
            fb.ins().bitselect(mask, x, y)
        }
    }
}

macro_rules! float_ops {
    ($($method:ident($($x:ident),*) $instruction:ident;)*) => {$(
        fn $method(&mut self, $($x: Reg),*) -> Reg {
            self.map([$($x),*], &|fb, [$($x),*]| fb.ins().$instruction($($x),*))
        }
    )*};
}

impl Scalar for Lanes<'_, '_> {
    fn float(&mut self, c: f64) -> Reg {
        self.hold(Held::Constant { bits: (c as f32).to_bits(), integer: false })
    }

    fn int(&mut self, c: i32) -> Reg {
        self.hold(Held::Constant { bits: c as u32, integer: true })
    }

    float_ops! {
        add(x, y) fadd;
        sub(x, y) fsub;
        mul(x, y) fmul;
        div(x, y) fdiv;
        neg(x) fneg;
        abs(x) fabs;
        sqrt(x) sqrt;
        round(x) nearest;
        and(p, q) band;
        or(p, q) bor;
        int_add(x, y) iadd;
        int_sub(x, y) isub;
        int_mul(x, y) imul;
        int_and(x, y) band;
        int_or(x, y) bor;
        int_xor(x, y) bxor;
    }

    fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        if self.fma {
            return self.map([x, y, z], &|fb, [x, y, z]| fb.ins().fma(x, y, z));
        }
        let product = self.mul(x, y);
        self.add(product, z)
    }

    fn cmp(&mut self, op: Cmp, x: Reg, y: Reg) -> Reg {
        let condition = match op {
            Cmp::Eq => FloatCC::Equal,
            Cmp::Ne => FloatCC::NotEqual,
            Cmp::Lt => FloatCC::LessThan,
            Cmp::Le => FloatCC::LessThanOrEqual,
            Cmp::Gt => FloatCC::GreaterThan,
            Cmp::Ge => FloatCC::GreaterThanOrEqual,
        };
        self.compare(condition, x, y)
    }

    fn int_eq(&mut self, x: Reg, y: Reg) -> Reg {
        self.map([x, y], &|fb, [x, y]| fb.ins().icmp(IntCC::Equal, x, y))
    }

    fn not(&mut self, p: Reg) -> Reg {
        let vector = self.vector();
        self.map([p], &|fb, [p]| match vector {
            true => fb.ins().bnot(p),
            false => {
                let zero = fb.ins().iconst(types::I8, 0);
                fb.ins().icmp(IntCC::Equal, p, zero)
            }
        })
    }

    fn select(&mut self, mask: Reg, x: Reg, y: Reg) -> Reg {
        let vector = self.vector();
        self.map([mask, x, y], &|fb, [mask, x, y]| choose(fb, vector, mask, x, y))
    }

    fn max(&mut self, x: Reg, y: Reg) -> Reg {
        // Where the first can't be NaN, one comparison does: false for NaN, so that the second is taken.
        if self.is_number(x) {
            let (vector, aligned) = (self.vector(), self.compares_aligned());
            return self.map([x, y], &|fb, [x, y]| {
                let less = compared(fb, aligned, FloatCC::LessThan, y, x);
                choose(fb, vector, less, x, y)
            });
        }
        // "Less" is one instruction for vectors, and takes the second if either is NaN.
        let (vector, aligned) = (self.vector(), self.compares_aligned());
        let larger = self.map([x, y], &|fb, [x, y]| {
            let less = compared(fb, aligned, FloatCC::LessThan, y, x);
            choose(fb, vector, less, x, y)
        });
        let nan = self.cmp(Cmp::Ne, x, x);
        self.select(nan, x, larger)
    }

    fn min(&mut self, x: Reg, y: Reg) -> Reg {
        // Written with "less", which is one instruction for vectors.
        if self.is_number(x) {
            let (vector, aligned) = (self.vector(), self.compares_aligned());
            return self.map([x, y], &|fb, [x, y]| {
                let less = compared(fb, aligned, FloatCC::LessThan, x, y);
                choose(fb, vector, less, x, y)
            });
        }
        let less = self.cmp(Cmp::Lt, x, y);
        let nan = self.cmp(Cmp::Ne, x, x);
        let take = self.or(less, nan);
        self.select(take, x, y)
    }

    fn to_int(&mut self, x: Reg) -> Reg {
        let ty = self.ty(true);
        self.map([x], &|fb, [x]| fb.ins().fcvt_to_sint_sat(ty, x))
    }

    fn to_float(&mut self, x: Reg) -> Reg {
        let ty = self.ty(false);
        self.map([x], &|fb, [x]| fb.ins().fcvt_from_sint(ty, x))
    }

    fn bits(&mut self, x: Reg) -> Reg {
        self.bitcast(x, true)
    }

    fn from_bits(&mut self, x: Reg) -> Reg {
        self.bitcast(x, false)
    }

    fn shl(&mut self, x: Reg, bits: u32) -> Reg {
        self.map([x], &|fb, [x]| {
            let bits = fb.ins().iconst(types::I32, i64::from(bits));
            fb.ins().ishl(x, bits)
        })
    }

    fn sar(&mut self, x: Reg, bits: u32) -> Reg {
        self.map([x], &|fb, [x]| {
            let bits = fb.ins().iconst(types::I32, i64::from(bits));
            fb.ins().sshr(x, bits)
        })
    }

    fn shr(&mut self, x: Reg, bits: u32) -> Reg {
        self.map([x], &|fb, [x]| {
            let bits = fb.ins().iconst(types::I32, i64::from(bits));
            fb.ins().ushr(x, bits)
        })
    }
}
