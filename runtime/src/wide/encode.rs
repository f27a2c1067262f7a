//! Instructions of x86-64 as bytes: VEX with 256 bits, EVEX with 512. Intel, Software Developer's Manual, volume 2, 2.3 and 2.7.

/// How wide vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// 256 bits, 16 registers, masks in vectors.
    Vex,
    /// 512 bits, 32 registers, masks in registers of their own.
    Evex,
}

/// The prefix that belongs to an opcode.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prefix {
    None = 0,
    P66 = 1,
    F3 = 2,
}

/// The table that an opcode is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Map {
    M0F = 1,
    M0F38 = 2,
    M0F3A = 3,
}

/// An operation: its place in the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op(pub(super) Prefix, pub(super) Map, pub(super) u8);

/// A general register, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpr(pub(super) u8);

pub(super) const RAX: Gpr = Gpr(0);
pub(super) const RSP: Gpr = Gpr(4);
pub(super) const RSI: Gpr = Gpr(6);
pub(super) const RDI: Gpr = Gpr(7);
pub(super) const R15: Gpr = Gpr(15);

/// The last operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Reg(u8),
    /// Elements so many bytes from a register, and from the position in the run or in the rows.
    Run(Gpr, i32),
    /// Elements so many bytes from a register, and from the position among the columns.
    Column(Gpr, i32),
    /// A vector so many bytes from a register.
    At(Gpr, i32),
    /// One number so many bytes from a register, in every lane. EVEX alone.
    Each(Gpr, i32),
    /// A constant of the function, so many bytes after the first.
    Constant(Constant, u32),
}

/// What a constant has in its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    /// The same bits in all: with EVEX once in memory, with VEX in full.
    Each(u32),
    /// Integers that count from this one.
    Count(u32),
}

/// Code that is being written.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) form: Form,
    pub(super) bytes: Vec<u8>,
    /// Where a constant's distance from the end of its instruction has to be added.
    uses: Vec<(usize, usize, u32)>,
    /// The constants so far, and where each lies.
    constants: Vec<u8>,
    places: Vec<(Constant, u32)>,
}

impl Code {
    pub(super) fn new(form: Form) -> Code {
        Code { form, bytes: Vec::new(), uses: Vec::new(), constants: Vec::new(), places: Vec::new() }
    }

    /// A constant as an operand.
    pub(super) fn constant(&mut self, constant: Constant) -> Operand {
        let known = self.places.iter().find(|(other, _)| *other == constant);
        let place = known.map(|&(_, place)| place).unwrap_or_else(|| {
            let place = self.constants.len() as u32;
            let lanes = match self.form {
                Form::Vex => 8,
                Form::Evex => 16,
            };
            let words: Vec<u32> = match constant {
                Constant::Each(bits) if self.form == Form::Evex => vec![bits],
                Constant::Each(bits) => vec![bits; lanes],
                Constant::Count(first) => (first..).take(lanes).collect(),
            };
            self.constants.extend(words.into_iter().flat_map(u32::to_le_bytes));
            self.places.push((constant, place));
            place
        });
        Operand::Constant(constant, place)
    }

    /// An instruction of vectors: `reg`, `second` (15 inverted where there is none) and the last operand.
    pub(super) fn vector(
        &mut self,
        Op(prefix, map, opcode): Op,
        reg: u8,
        second: u8,
        last: Operand,
        immediate: Option<u8>,
    ) {
        self.masked((prefix, map, opcode), reg, second, last, 0, immediate);
    }

    /// The same under a mask register, or with none if it is 0.
    pub(super) fn masked(
        &mut self,
        (prefix, map, opcode): (Prefix, Map, u8),
        reg: u8,
        second: u8,
        last: Operand,
        mask: u8,
        immediate: Option<u8>,
    ) {
        let (low, high) = match last {
            Operand::Reg(register) => (register >> 3 & 1, register >> 4 & 1),
            Operand::Run(base, _) | Operand::Column(base, _) | Operand::At(base, _) | Operand::Each(base, _) => {
                (base.0 >> 3 & 1, 0)
            }
            Operand::Constant(..) => (0, 0),
        };
        let inverted = |bit: u8| bit ^ 1;
        match self.form {
            Form::Vex => {
                debug_assert!(reg < 16 && second < 16 && mask == 0 && high == 0 && !matches!(last, Operand::Each(..)));
                let first = inverted(reg >> 3) << 7 | 1 << 6 | inverted(low) << 5 | map as u8;
                let next = (!second & 15) << 3 | 1 << 2 | prefix as u8;
                self.bytes.extend([0xc4, first, next]);
            }
            Form::Evex => {
                let first = inverted(reg >> 3 & 1) << 7
                    | inverted(high) << 6
                    | inverted(low) << 5
                    | inverted(reg >> 4 & 1) << 4;
                let next = (!second & 15) << 3 | 1 << 2 | prefix as u8;
                // What spreads a number reads no more than that anyway.
                let spreads = opcode == BROADCAST.2 && matches!(map, M0F38);
                let broadcast =
                    u8::from(!spreads && matches!(last, Operand::Each(..) | Operand::Constant(Constant::Each(_), _)));
                let third = 0b10 << 5 | broadcast << 4 | inverted(second >> 4 & 1) << 3 | mask;
                self.bytes.extend([0x62, first | map as u8, next, third]);
            }
        }
        self.bytes.push(opcode);
        self.operand(reg, last, usize::from(immediate.is_some()));
        self.bytes.extend(immediate);
    }

    /// An instruction of mask registers, all of 16 bits.
    pub(super) fn masks(&mut self, opcode: u8, to: u8, x: u8, y: Option<u8>) {
        let (x, y) = y.map_or((0, x), |y| (x, y));
        let two = u8::from(opcode != KNOT);
        self.bytes.extend([0xc5, 1 << 7 | (!x & 15) << 3 | two << 2, opcode, 0b11 << 6 | to << 3 | y]);
    }

    /// The last operand; `after` bytes of the instruction follow it.
    fn operand(&mut self, reg: u8, operand: Operand, after: usize) {
        let reg = (reg & 7) << 3;
        match operand {
            Operand::Reg(register) => self.bytes.push(0b11 << 6 | reg | register & 7),
            Operand::Run(base, offset) => self.indexed(reg, base, RAX, offset),
            Operand::Column(base, offset) => self.indexed(reg, base, RSI, offset),
            Operand::At(base, offset) | Operand::Each(base, offset) => self.near(reg, base, offset),
            Operand::Constant(_, place) => {
                self.bytes.push(reg | 0b101);
                let at = self.bytes.len();
                self.uses.push((at, at + 4 + after, place));
                self.bytes.extend([0; 4]);
            }
        }
    }

    fn indexed(&mut self, reg: u8, base: Gpr, index: Gpr, offset: i32) {
        self.bytes.extend([0b10 << 6 | reg | 0b100, index.0 << 3 | base.0 & 7]);
        self.bytes.extend(offset.to_le_bytes());
    }

    fn near(&mut self, reg: u8, base: Gpr, offset: i32) {
        self.bytes.push(0b10 << 6 | reg | base.0 & 7);
        if base.0 & 7 == RSP.0 {
            self.bytes.push(0b100 << 3 | 0b100);
        }
        self.bytes.extend(offset.to_le_bytes());
    }

    /// A prefetch of the line that lies so many bytes from a register and the position in the run.
    pub(super) fn prefetch(&mut self, base: Gpr, offset: i32, to_write: bool) {
        if base.0 >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.extend([0x0f, if to_write { 0x0d } else { 0x18 }]);
        self.indexed(1 << 3, base, RAX, offset);
    }

    /// `to = [base + offset]`, 64 bits.
    pub(super) fn load(&mut self, to: Gpr, base: Gpr, offset: i32) {
        self.bytes.extend([0x48 | to.0 >> 3 << 2 | base.0 >> 3, 0x8b]);
        self.near((to.0 & 7) << 3, base, offset);
    }

    /// `x = x + by`.
    pub(super) fn add(&mut self, x: Gpr, by: i32) {
        self.bytes.extend([0x48 | x.0 >> 3, 0x81, 0b11 << 6 | x.0 & 7]);
        self.bytes.extend(by.to_le_bytes());
    }

    /// `[rdi + place] = count`, 64 bits.
    pub(super) fn set_count(&mut self, place: i32, count: i32) {
        self.bytes.extend([0x48, 0xc7]);
        self.near(0, RDI, place);
        self.bytes.extend(count.to_le_bytes());
    }

    /// `[rdi + place] = [rdi + place] + by`, 64 bits of an address or 32 of a number.
    pub(super) fn add_to_argument(&mut self, place: i32, by: i32, is_address: bool) {
        if is_address {
            self.bytes.push(0x48);
        }
        self.bytes.push(0x81);
        self.near(0, RDI, place);
        self.bytes.extend(by.to_le_bytes());
    }

    /// `[rdi + place] = [rdi + place] - 1`, and back to `start` unless that is 0.
    pub(super) fn count_down(&mut self, place: i32, start: usize) {
        self.bytes.extend([0x48, 0xff]);
        self.near(1 << 3, RDI, place);
        self.bytes.extend([0x0f, 0x85]);
        self.back(start);
    }

    /// `rax = 0`.
    pub(super) fn clear_position(&mut self) {
        self.bytes.extend([0x31, 0xc0]);
    }

    /// `rsi = 0`.
    pub(super) fn clear_column(&mut self) {
        self.bytes.extend([0x31, 0xf6]);
    }

    /// `rax = rsi`.
    pub(super) fn start_column(&mut self) {
        self.bytes.extend([0x48, 0x89, 0b11 << 6 | RSI.0 << 3 | RAX.0]);
    }

    /// `rax = rax + [rdi + step]`, and back to `start` unless that was the last of the rows that `r15` counts.
    pub(super) fn next_row(&mut self, step: i32, start: usize) {
        self.bytes.extend([0x48, 0x03]);
        self.near(RAX.0 << 3, RDI, step);
        // dec r15; jne start
        self.bytes.extend([0x49, 0xff, 0xcf, 0x0f, 0x85]);
        self.back(start);
    }

    /// `rsi = rsi + by`, and back to `start` while it is below `[rdi + end]`.
    pub(super) fn next_column(&mut self, by: i32, end: i32, start: usize) {
        self.add(RSI, by);
        self.bytes.extend([0x48, 0x3b]);
        self.near(RSI.0 << 3, RDI, end);
        self.bytes.extend([0x0f, 0x82]);
        self.back(start);
    }

    /// How far it is back to `start`, after the opcode of a jump.
    fn back(&mut self, start: usize) {
        let distance = start as i64 - (self.bytes.len() as i64 + 4);
        self.bytes.extend((distance as i32).to_le_bytes());
    }

    pub(super) fn push(&mut self, x: Gpr) {
        self.bytes.extend([0x40 | x.0 >> 3, 0x50 | x.0 & 7]);
    }

    pub(super) fn pop(&mut self, x: Gpr) {
        self.bytes.extend([0x40 | x.0 >> 3, 0x58 | x.0 & 7]);
    }

    /// The number of the element at the position, in every lane.
    pub(super) fn position(&mut self, to: u8) {
        // mov r15d, eax; shr r15d, 2
        self.bytes.extend([0x41, 0x89, 0xc7, 0x41, 0xc1, 0xef, 2]);
        match self.form {
            Form::Evex => self.vector(Op(Prefix::P66, Map::M0F38, 0x7c), to, 0, Operand::Reg(R15.0), None),
            Form::Vex => {
                // vmovd xmm, r15d has 128 bits.
                self.bytes.extend([
                    0xc4,
                    (to >> 3 ^ 1) << 7 | 1 << 6 | Map::M0F as u8,
                    0b1111 << 3 | Prefix::P66 as u8,
                    0x6e,
                ]);
                self.bytes.push(0b11 << 6 | (to & 7) << 3 | R15.0 & 7);
                self.vector(Op(Prefix::P66, Map::M0F38, 0x58), to, 0, Operand::Reg(to), None);
            }
        }
    }

    /// Back to `start` while the position is below the end.
    pub(super) fn again(&mut self, start: usize) {
        // cmp rax, rsi; jb start
        self.bytes.extend([0x48, 0x39, 0b11 << 6 | RSI.0 << 3 | RAX.0, 0x0f, 0x82]);
        self.back(start);
    }

    /// Back to the caller, whose vectors are narrower.
    pub(super) fn leave(&mut self) {
        self.bytes.extend([0xc5, 0xf8, 0x77, 0xc3]);
    }

    /// Appends the constants, and the function is done.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len().next_multiple_of(64);
        for (at, end, place) in std::mem::take(&mut self.uses) {
            let distance = (start + place as usize - end) as i32;
            self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        // Nothing runs into these.
        self.bytes.resize(start, 0xcc);
        self.bytes.extend(&self.constants);
        self.bytes
    }
}

use Map::{M0F, M0F3A, M0F38};
use Prefix::{F3, None as Np, P66};

pub(super) const MOVE_FROM: Op = Op(Np, M0F, 0x10);
pub(super) const MOVE_TO: Op = Op(Np, M0F, 0x11);
/// One number.
pub(super) const STORE_ONE: Op = Op(F3, M0F, 0x11);
/// Halves of two registers, chosen by an immediate.
pub(super) const SWAP_HALVES_VEX: Op = Op(P66, M0F3A, 0x06);
/// Quarters of two registers, chosen by an immediate.
pub(super) const QUARTERS_EVEX: Op = Op(P66, M0F3A, 0x23);
/// Lanes of each quarter, chosen by an immediate.
pub(super) const LANES: Op = Op(P66, M0F3A, 0x04);
pub(super) const BROADCAST: Op = Op(P66, M0F38, 0x18);
pub(super) const ADD: Op = Op(Np, M0F, 0x58);
pub(super) const SUB: Op = Op(Np, M0F, 0x5c);
pub(super) const MUL: Op = Op(Np, M0F, 0x59);
pub(super) const DIV: Op = Op(Np, M0F, 0x5e);
pub(super) const SQRT: Op = Op(Np, M0F, 0x51);
pub(super) const MAX: Op = Op(Np, M0F, 0x5f);
pub(super) const MIN: Op = Op(Np, M0F, 0x5d);
pub(super) const ROUND: Op = Op(P66, M0F3A, 0x08);
pub(super) const COMPARE: Op = Op(Np, M0F, 0xc2);
pub(super) const INT_ADD: Op = Op(P66, M0F, 0xfe);
pub(super) const INT_SUB: Op = Op(P66, M0F, 0xfa);
pub(super) const INT_MUL: Op = Op(P66, M0F38, 0x40);
pub(super) const INT_EQUAL: Op = Op(P66, M0F, 0x76);
pub(super) const AND: Op = Op(P66, M0F, 0xdb);
pub(super) const OR: Op = Op(P66, M0F, 0xeb);
pub(super) const XOR: Op = Op(P66, M0F, 0xef);
pub(super) const SHIFT: Op = Op(P66, M0F, 0x72);
pub(super) const TO_INT: Op = Op(F3, M0F, 0x5b);
pub(super) const TO_FLOAT: Op = Op(Np, M0F, 0x5b);
/// `reg = mask ? last : second`, the mask under EVEX.
pub(super) const BLEND_EVEX: Op = Op(P66, M0F38, 0x65);
/// `reg = mask ? last : second`, the mask in the high bits of an immediate.
pub(super) const BLEND_VEX: Op = Op(P66, M0F3A, 0x4a);
/// `reg = reg * last + second`.
pub(super) const MUL_ADD_132: Op = Op(P66, M0F38, 0x98);
/// `reg = second * reg + last`.
pub(super) const MUL_ADD_213: Op = Op(P66, M0F38, 0xa8);
/// `reg = second * last + reg`.
pub(super) const MUL_ADD_231: Op = Op(P66, M0F38, 0xb8);
pub(super) const KAND: u8 = 0x41;
pub(super) const KOR: u8 = 0x45;
pub(super) const KNOT: u8 = 0x44;
