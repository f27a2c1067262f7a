//! A function that does a body for a run of elements.
//!
//! Its arguments are the place of what the caller passes, numbers and then addresses, eight bytes each, and how many bytes the run is
//! long. Addresses are in general registers all along, sums in vector registers; constants and numbers are read where they are used,
//! unless the body wants constants in registers.
//!
//! A body of rows finds three more after the addresses: how many bytes the columns are long, how many rows there are, and how many
//! bytes there are from one to the next. All rows of a vector of columns, or of some side by side, come before the next vectors, so that
//! what is added up down the columns stays in registers and a short row costs no more than its elements.
//!
//! A body with axes goes over all runs along them. After the addresses it finds, and counts down, how many positions each has left; the
//! caller says so of the outermost.

use super::across::with_ends;
use super::body::{Body, Element, Shuffle, Step};
use super::encode::{self, Code, Constant, Form, Gpr, Operand, R15, RDI, RSP};
use super::instructions::predicate;
use super::registers::{Evicted, Registers};

/// A function in machine code.
#[derive(Clone, Debug)]
pub struct Wide {
    /// Its bytes, wherever they are put, at a multiple of 64.
    pub bytes: Vec<u8>,
}

/// Registers for addresses; those after the sixth have to be given back as they were.
pub(super) const ADDRESSES: [Gpr; 11] =
    [Gpr(1), Gpr(2), Gpr(8), Gpr(9), Gpr(10), Gpr(11), Gpr(3), Gpr(5), Gpr(12), Gpr(13), Gpr(14)];
const FREE_ADDRESSES: usize = 6;

/// The function of a body with vectors of eight lanes (AVX2 and FMA) or sixteen (AVX-512), if registers for masks and sums suffice.
pub fn compile(body: &Body, lanes: usize) -> Option<Wide> {
    assert!(matches!(lanes, 8 | 16), "there are vectors of 256 and of 512 bits");
    let parts = if body.has_totals() { crate::kernel::LANES / lanes } else { body.across.max(1) };
    let form = if lanes == 16 { Form::Evex } else { Form::Vex };
    let count = if form == Form::Evex { 32 } else { 16 };
    let totals = parts * body.totals.len();
    // Most registers are for what happens at an element; and a body of rows counts these in the register that others share.
    let many = body.addresses > ADDRESSES.len() || body.has_positions();
    if totals > 6 * count / 16 || body.down && many {
        return None;
    }
    // Another run would begin where this one has left its lanes.
    if !body.axes.is_empty() && (body.down || body.has_totals() && (body.starts.is_empty() || body.ends.is_empty())) {
        return None;
    }
    let run_len = body.steps.len();
    let body = &with_ends(body, lanes);
    let reads = reads(body);
    let most = count.saturating_sub(totals + LEAST_FREE);
    let constants = if body.constants { constants(body, &reads, most) } else { Vec::new() };
    let mut writer = Writer {
        body,
        run_len,
        code: Code::new(form),
        vectors: Registers::new(count, totals + constants.len()),
        // The first is no mask: it stands for none.
        masks: Registers::new(7, 0),
        reads,
        stack: vec![None; body.steps.len()],
        stack_len: 0,
        constants,
        part: 0,
        parts,
        lanes,
        count,
        now: 0,
    };
    let starts = writer.enter();
    for part in 0..parts {
        writer.part = part;
        for at in 0..run_len {
            writer.now = at;
            writer.step()?;
        }
    }
    writer.leave(&starts)?;
    Some(Wide { bytes: writer.finish() })
}

/// The steps that read each value, in their order, as far as anything comes of them.
fn reads(body: &Body) -> Vec<Vec<usize>> {
    let mut reads: Vec<Vec<usize>> = vec![Vec::new(); body.steps.len()];
    for (at, step) in body.steps.iter().enumerate().rev() {
        if !step.has_result() || !reads[at].is_empty() {
            step.operands().iter().for_each(|&operand| reads[operand as usize].push(at));
        }
    }
    reads.iter_mut().for_each(|reads| reads.reverse());
    reads
}

/// The constants that are read, those that are most often first: so many at most.
fn constants(body: &Body, reads: &[Vec<usize>], most: usize) -> Vec<u32> {
    let read = body.steps.iter().zip(reads).filter(|(_, reads)| !reads.is_empty());
    let mut constants: Vec<(usize, u32)> = read
        .filter_map(|(step, reads)| match step {
            Step::Const(bits) => Some((reads.len(), *bits)),
            _ => None,
        })
        .collect();
    constants.sort_by_key(|(reads, _)| std::cmp::Reverse(*reads));
    constants.into_iter().map(|(_, bits)| bits).take(most).collect()
}

/// Fewest registers for what happens at an element, beside those of constants.
const LEAST_FREE: usize = 14;

pub(super) struct Writer<'a> {
    pub(super) body: &'a Body,
    /// How many of its steps are those of the run; the others follow it.
    run_len: usize,
    pub(super) code: Code,
    pub(super) vectors: Registers,
    pub(super) masks: Registers,
    /// Where each value is read.
    pub(super) reads: Vec<Vec<usize>>,
    /// Where on the stack a value is, if it is there.
    pub(super) stack: Vec<Option<i32>>,
    pub(super) stack_len: i32,
    /// The constants in registers, which come ahead of those of sums.
    constants: Vec<u32>,
    pub(super) part: usize,
    pub(super) parts: usize,
    pub(super) lanes: usize,
    /// Vector registers.
    pub(super) count: usize,
    pub(super) now: usize,
}

/// Where the loops around a body begin.
struct Starts {
    /// Those around the run of a body, the outermost first.
    outer: Vec<usize>,
    inner: usize,
}

/// Room on the stack for values that found no register.
const STACK: i32 = 64 * 64;

impl Writer<'_> {
    fn step_bytes(&self) -> i32 {
        4 * (self.lanes * self.parts) as i32
    }

    /// Everything ahead of the body. Gives the places where the loops around it begin.
    fn enter(&mut self) -> Starts {
        let registers = &ADDRESSES[..self.body.addresses.min(ADDRESSES.len())];
        for &register in registers.iter().skip(FREE_ADDRESSES) {
            self.code.push(register);
        }
        if self.uses_r15() {
            self.code.push(R15);
        }
        self.code.add(RSP, -STACK);
        for (index, &register) in registers.iter().enumerate() {
            let place = self.argument_of(index);
            self.code.load(register, RDI, place);
        }
        for index in 0..self.constants.len() {
            let (register, constant) = (self.register_of_constant(index), self.constant(self.constants[index]));
            self.code.vector(encode::BROADCAST, register, 0, constant, None);
        }
        if !self.body.down {
            let axes = self.enter_axes();
            match self.body.starts.is_empty() {
                true => self.move_totals(encode::MOVE_FROM),
                false => self.start_totals(),
            }
            self.code.clear_position();
            return Starts { outer: axes, inner: self.code.bytes.len() };
        }
        self.code.clear_column();
        let columns = self.code.bytes.len();
        self.code.start_column();
        self.move_totals(encode::MOVE_FROM);
        let rows = self.argument_of(self.body.addresses + 1);
        self.code.load(R15, RDI, rows);
        Starts { outer: vec![columns], inner: self.code.bytes.len() }
    }

    /// The ends of the loops, and everything after them.
    fn leave(&mut self, &Starts { ref outer, inner }: &Starts) -> Option<()> {
        if self.body.down {
            let [columns, step] = [0, 2].map(|index| self.argument_of(self.body.addresses + index));
            self.code.next_row(step, inner);
            self.move_totals(encode::MOVE_TO);
            self.code.next_column(self.step_bytes(), columns, outer[0]);
        } else {
            self.code.add(encode::RAX, self.step_bytes());
            self.code.again(inner);
            if self.body.ends.is_empty() {
                self.move_totals(encode::MOVE_TO);
            }
            self.part = 0;
            for at in self.run_len..self.body.steps.len() {
                self.now = at;
                self.step()?;
            }
            self.leave_axes(outer)?;
        }
        self.code.add(RSP, STACK);
        if self.uses_r15() {
            self.code.pop(R15);
        }
        let registers = &ADDRESSES[..self.body.addresses.min(ADDRESSES.len())];
        for &register in registers.iter().skip(FREE_ADDRESSES).rev() {
            self.code.pop(register);
        }
        self.code.leave();
        Some(())
    }

    /// Lets all sums begin anew.
    fn start_totals(&mut self) {
        for (total, &bits) in self.body.starts.iter().enumerate() {
            for part in 0..self.parts {
                let (register, start) = (self.total(total, part), self.constant(bits));
                self.code.vector(encode::BROADCAST, register, 0, start, None);
            }
        }
    }

    /// Reads all sums from memory, or writes them there.
    fn move_totals(&mut self, op: encode::Op) {
        for (total, &Element { address, offset }) in self.body.totals.iter().enumerate() {
            let base = self.base(address);
            for part in 0..self.parts {
                let (register, offset) = (self.total(total, part), offset + 4 * (self.lanes * part) as i32);
                let place = if self.body.down { Operand::Column(base, offset) } else { Operand::At(base, offset) };
                self.code.vector(op, register, 0, place, None);
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        self.code.finish()
    }

    /// Whether the register is needed that addresses share which have none of their own, positions, and the number of rows.
    fn uses_r15(&self) -> bool {
        self.body.down || self.body.addresses > ADDRESSES.len() || self.body.has_positions()
    }

    /// Where the caller has put an address.
    pub(super) fn argument_of(&self, address: usize) -> i32 {
        8 * (self.body.numbers + address) as i32
    }

    /// The register of an address; of those that have none, the one that they share.
    fn base(&mut self, address: usize) -> Gpr {
        match ADDRESSES.get(address) {
            Some(&register) => register,
            None => {
                let place = self.argument_of(address);
                self.code.load(R15, RDI, place);
                R15
            }
        }
    }

    fn total(&self, total: usize, part: usize) -> u8 {
        (self.count - 1 - (total * self.parts + part)) as u8
    }

    fn register_of_constant(&self, index: usize) -> u8 {
        (self.count - 1 - self.body.totals.len() * self.parts - index) as u8
    }

    /// The register of a constant, if it has one.
    fn kept_constant(&self, bits: u32) -> Option<u8> {
        self.constants.iter().position(|&kept| kept == bits).map(|index| self.register_of_constant(index))
    }

    fn next_read(&self, value: u32) -> usize {
        self.reads[value as usize].iter().copied().find(|&at| at >= self.now).unwrap_or(usize::MAX)
    }

    pub(super) fn dies(&self, value: u32) -> bool {
        self.reads[value as usize].last() == Some(&self.now)
    }

    /// A vector register for the present instruction, which reads these values.
    pub(super) fn take(&mut self, pinned: &[u32]) -> Option<u8> {
        if let Some(register) = self.vectors.take() {
            return Some(register);
        }
        let Evicted { value, register } = self.vectors.farthest(|value| self.next_read(value), pinned)?;
        self.spill(value, register)?;
        self.vectors.free(register);
        self.vectors.take()
    }

    /// Writes a value to the stack, if it is not there.
    fn spill(&mut self, value: u32, register: u8) -> Option<()> {
        if self.stack[value as usize].is_none() {
            let place = self.stack_len;
            self.stack_len += 4 * self.lanes as i32;
            if self.stack_len > STACK {
                return None;
            }
            self.stack[value as usize] = Some(place);
            self.code.vector(encode::MOVE_TO, register, 0, Operand::At(RSP, place), None);
        }
        Some(())
    }

    pub(super) fn constant(&mut self, bits: u32) -> Operand {
        self.code.constant(Constant::Each(bits))
    }

    /// A value where it is, if the last operand of an instruction can read it there.
    pub(super) fn anywhere(&mut self, value: u32, pinned: &[u32]) -> Option<Operand> {
        match self.body.steps[value as usize] {
            Step::Const(bits) => Some(self.kept_constant(bits).map_or_else(|| self.constant(bits), Operand::Reg)),
            Step::Number(index) if self.code.form == Form::Evex => Some(Operand::Each(RDI, 8 * index as i32)),
            Step::Each(Element { address, offset }) if self.code.form == Form::Evex && address < ADDRESSES.len() => {
                Some(Operand::Each(self.base(address), offset))
            }
            _ => match self.stack[value as usize].filter(|_| self.vectors.holder_of(value).is_none()) {
                Some(place) => Some(Operand::At(RSP, place)),
                None => self.register(value, pinned).map(Operand::Reg),
            },
        }
    }

    /// A value in a register: the one that it is in, or one of the present instruction.
    pub(super) fn register(&mut self, value: u32, pinned: &[u32]) -> Option<u8> {
        if let Step::Total(total) = self.body.steps[value as usize] {
            return Some(self.total(total, self.part));
        }
        if let Step::LanesOf(total, part) = self.body.steps[value as usize] {
            return Some(self.total(total, part));
        }
        if let Step::Const(bits) = self.body.steps[value as usize]
            && let Some(register) = self.kept_constant(bits)
        {
            return Some(register);
        }
        if let Some(register) = self.vectors.holder_of(value) {
            return Some(register);
        }
        let register = self.take(pinned)?;
        match self.body.steps[value as usize] {
            Step::Const(bits) => {
                let constant = self.constant(bits);
                self.code.vector(encode::BROADCAST, register, 0, constant, None);
            }
            Step::Number(index) => {
                self.code.vector(encode::BROADCAST, register, 0, Operand::At(RDI, 8 * index as i32), None);
            }
            Step::Each(Element { address, offset }) => {
                let base = self.base(address);
                self.code.vector(encode::BROADCAST, register, 0, Operand::At(base, offset), None);
            }
            _ => {
                let place = self.stack[value as usize].expect("a value is in a register or on the stack");
                self.code.vector(encode::MOVE_FROM, register, 0, Operand::At(RSP, place), None);
                self.vectors.hold(register, value);
            }
        }
        Some(register)
    }

    fn element(&mut self, element: Element) -> Operand {
        let base = self.base(element.address);
        let offset = element.offset + 4 * (self.part * self.lanes) as i32;
        match self.body.columns.contains(&element.address) {
            true => Operand::Column(base, offset),
            false => Operand::Run(base, offset),
        }
    }

    /// One instruction of the body.
    fn step(&mut self) -> Option<()> {
        let result = self.now as u32;
        let step = self.body.steps[self.now];
        let operands = step.operands();
        if step.has_result() && self.reads[self.now].is_empty() {
            return Some(());
        }
        match step {
            // They are read where they are used.
            Step::Const(_) | Step::Number(_) | Step::Each(_) | Step::Total(_) | Step::LanesOf(..) => return Some(()),
            Step::Position => {
                let to = self.take(&[])?;
                self.code.position(to);
                let lanes = self.code.constant(Constant::Count((self.part * self.lanes) as u32));
                self.code.vector(encode::INT_ADD, to, to, lanes, None);
                self.vectors.hold(to, result);
            }
            Step::Load(element) => {
                let to = self.take(&[])?;
                let from = self.element(element);
                self.code.vector(encode::MOVE_FROM, to, 0, from, None);
                self.vectors.hold(to, result);
            }
            Step::Store(element, x) => {
                let x = self.register(x, &operands)?;
                let to = self.element(element);
                self.code.vector(encode::MOVE_TO, x, 0, to, None);
            }
            Step::Prefetch(element, to_write) => {
                let base = self.base(element.address);
                self.code.prefetch(base, element.offset, to_write);
            }
            Step::SetTotal(total, x) => {
                let to = self.total(total, self.part);
                let from = self.anywhere(x, &operands)?;
                match from {
                    Operand::Constant(..) => self.code.vector(encode::BROADCAST, to, 0, from, None),
                    Operand::Each(base, at) => self.code.vector(encode::BROADCAST, to, 0, Operand::At(base, at), None),
                    from => self.code.vector(encode::MOVE_FROM, to, 0, from, None),
                }
            }
            Step::Shuffle(shuffle, x) => {
                let x = self.register(x, &operands)?;
                let to = self.take(&operands)?;
                let (op, both, order) = match (shuffle, self.code.form) {
                    (Shuffle::Quarters, Form::Vex) => (encode::SWAP_HALVES_VEX, true, 0x01),
                    (Shuffle::Quarters, Form::Evex) => (encode::QUARTERS_EVEX, true, 0b10_11_00_01),
                    (Shuffle::Halves, _) => (encode::QUARTERS_EVEX, true, 0b01_00_11_10),
                    (Shuffle::Lanes, _) => (encode::LANES, false, 0b10_11_00_01),
                    (Shuffle::Pairs, _) => (encode::LANES, false, 0b01_00_11_10),
                };
                self.code.vector(op, to, if both { x } else { 0 }, Operand::Reg(x), Some(order));
                self.vectors.hold(to, result);
            }
            Step::StoreOne(Element { address, offset }, x) => {
                let x = self.register(x, &operands)?;
                let base = self.base(address);
                self.code.vector(encode::STORE_ONE, x, 0, Operand::At(base, offset), None);
            }
            Step::Unary(op, x) => self.unary(op, x)?,
            Step::Binary(op, x, y) => self.binary(op, x, y)?,
            Step::MulAdd(x, y, z) => self.mul_add([x, y, z])?,
            Step::Compare(op, x, y) => self.compare(encode::COMPARE, x, y, Some(predicate(op)))?,
            Step::SameInts(x, y) => self.compare(encode::INT_EQUAL, x, y, None)?,
            Step::Logic(op, x, y) => self.logic(op, x, y)?,
            Step::Not(x) => self.not(x)?,
            Step::Select(mask, x, y) => self.select([mask, x, y])?,
        }
        // What nobody reads any more gives its register back, and so does what the instruction alone needed.
        for &operand in &operands {
            if self.dies(operand) {
                let masks = self.in_masks(operand);
                let registers = if masks { &mut self.masks } else { &mut self.vectors };
                if let Some(register) = registers.holder_of(operand) {
                    registers.free(register);
                }
                self.stack[operand as usize] = None;
            }
        }
        self.vectors.release();
        self.masks.release();
        if self.now + 1 == self.run_len {
            self.stack_len = 0;
        }
        Some(())
    }

    /// Whether a value is in a mask register.
    fn in_masks(&self, value: u32) -> bool {
        self.code.form == Form::Evex && self.body.steps[value as usize].is_mask()
    }

    /// A register for the result: that of an operand which is read for the last time, or another.
    pub(super) fn result(&mut self, reuse: &[u32], pinned: &[u32]) -> Option<u8> {
        for &operand in reuse {
            if self.dies(operand)
                && !matches!(self.body.steps[operand as usize], Step::Total(_))
                && let Some(register) = self.vectors.holder_of(operand)
            {
                return Some(register);
            }
        }
        self.take(pinned)
    }
}
