//! A function that does a body for a run of elements.
//!
//! Its arguments are the place of what the caller passes, numbers and then addresses, eight bytes each, and how many bytes the run is
//! long. Addresses are in general registers all along, sums in vector registers; constants and numbers are read where they are used.

use super::body::{Binary, Body, Element, Logic, Step, Unary};
use super::encode::{self, Code, Constant, Form, Gpr, Op, Operand, R15, RDI, RSP};
use super::registers::{Evicted, Registers};
use crate::scalar::Cmp;

/// A function in machine code.
#[derive(Clone, Debug)]
pub struct Wide {
    /// Its bytes, wherever they are put, at a multiple of 64.
    pub bytes: Vec<u8>,
}

/// Registers for addresses; those behind the sixth have to be given back as they were.
const ADDRESSES: [Gpr; 11] = [
    Gpr(1), Gpr(2), Gpr(8), Gpr(9), Gpr(10), Gpr(11), Gpr(3), Gpr(5), Gpr(12), Gpr(13), Gpr(14),
];
const FREE_ADDRESSES: usize = 6;

/// Most sums along a run.
const MOST_TOTALS: usize = 3;

/// The function of a body with vectors of eight lanes (AVX2 and FMA) or sixteen (AVX-512), if registers for masks and sums suffice.
pub fn compile(body: &Body, lanes: usize) -> Option<Wide> {
    assert!(matches!(lanes, 8 | 16), "there are vectors of 256 and of 512 bits");
    if body.totals.len() > MOST_TOTALS {
        return None;
    }
    let parts = if body.has_totals() { crate::kernel::LANES / lanes } else { 1 };
    let form = if lanes == 16 { Form::Evex } else { Form::Vex };
    let count = if form == Form::Evex { 32 } else { 16 };
    let totals = parts * body.totals.len();
    let reads = reads(body);
    let mut writer = Writer {
        body,
        code: Code::new(form),
        vectors: Registers::new(count, totals),
        // The first is no mask: it stands for none.
        masks: Registers::new(7, 0),
        reads,
        stack: vec![None; body.steps.len()],
        stack_len: 0,
        part: 0,
        parts,
        lanes,
        count,
        now: 0,
    };
    let start = writer.enter();
    for part in 0..parts {
        writer.part = part;
        for at in 0..body.steps.len() {
            writer.now = at;
            writer.step()?;
        }
    }
    writer.leave(start);
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

struct Writer<'a> {
    body: &'a Body,
    code: Code,
    vectors: Registers,
    masks: Registers,
    /// Where each value is read.
    reads: Vec<Vec<usize>>,
    /// Where on the stack a value is, if it is there.
    stack: Vec<Option<i32>>,
    stack_len: i32,
    part: usize,
    parts: usize,
    lanes: usize,
    /// Vector registers.
    count: usize,
    now: usize,
}

/// Room on the stack for values that found no register.
const STACK: i32 = 64 * 64;

impl Writer<'_> {
    fn step_bytes(&self) -> i32 {
        4 * (self.lanes * self.parts) as i32
    }

    /// Everything ahead of the loop. Gives the place where the loop begins.
    fn enter(&mut self) -> usize {
        for index in FREE_ADDRESSES..self.body.addresses.min(ADDRESSES.len()) {
            self.code.push(ADDRESSES[index]);
        }
        if self.uses_r15() {
            self.code.push(R15);
        }
        self.code.add(RSP, -STACK);
        for index in 0..self.body.addresses.min(ADDRESSES.len()) {
            let place = self.argument_of(index);
            self.code.load(ADDRESSES[index], RDI, place);
        }
        for (total, &address) in self.body.totals.iter().enumerate() {
            let base = self.base(address);
            for part in 0..self.parts {
                let register = self.total(total, part);
                self.code.vector(encode::MOVE_FROM, register, 0, Operand::At(base, 4 * (self.lanes * part) as i32), None);
            }
        }
        self.code.clear_position();
        self.code.bytes.len()
    }

    /// The end of the loop, and everything behind it.
    fn leave(&mut self, start: usize) {
        self.code.add(encode::RAX, self.step_bytes());
        self.code.again(start);
        for (total, &address) in self.body.totals.iter().enumerate() {
            let base = self.base(address);
            for part in 0..self.parts {
                let register = self.total(total, part);
                self.code.vector(encode::MOVE_TO, register, 0, Operand::At(base, 4 * (self.lanes * part) as i32), None);
            }
        }
        self.code.add(RSP, STACK);
        if self.uses_r15() {
            self.code.pop(R15);
        }
        for index in (FREE_ADDRESSES..self.body.addresses.min(ADDRESSES.len())).rev() {
            self.code.pop(ADDRESSES[index]);
        }
        self.code.leave();
    }

    fn finish(self) -> Vec<u8> {
        self.code.finish()
    }

    /// Whether the register is needed that addresses share which have none of their own, and positions.
    fn uses_r15(&self) -> bool {
        self.body.addresses > ADDRESSES.len() || self.body.has_positions()
    }

    /// Where the caller has put an address.
    fn argument_of(&self, address: usize) -> i32 {
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

    fn next_read(&self, value: u32) -> usize {
        self.reads[value as usize].iter().copied().find(|&at| at >= self.now).unwrap_or(usize::MAX)
    }

    fn dies(&self, value: u32) -> bool {
        self.reads[value as usize].last() == Some(&self.now)
    }

    /// A vector register for the present instruction, which reads these values.
    fn take(&mut self, pinned: &[u32]) -> Option<u8> {
        if let Some(register) = self.vectors.take() {
            return Some(register);
        }
        let Evicted { value, register } = self.vectors.farthest(|value| self.next_read(value), pinned)?;
        self.to_stack(value, register)?;
        self.vectors.free(register);
        self.vectors.take()
    }

    fn to_stack(&mut self, value: u32, register: u8) -> Option<()> {
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

    fn constant(&mut self, bits: u32) -> Operand {
        self.code.constant(Constant::Each(bits))
    }

    /// A value where it is, if the last operand of an instruction can read it there.
    fn anywhere(&mut self, value: u32, pinned: &[u32]) -> Option<Operand> {
        match self.body.steps[value as usize] {
            Step::Const(bits) => Some(self.constant(bits)),
            Step::Number(index) if self.code.form == Form::Evex => Some(Operand::Each(RDI, 8 * index as i32)),
            _ => match self.stack[value as usize].filter(|_| self.vectors.holder_of(value).is_none()) {
                Some(place) => Some(Operand::At(RSP, place)),
                None => self.register(value, pinned).map(Operand::Reg),
            },
        }
    }

    /// A value in a register: the one that it is in, or one of the present instruction.
    fn register(&mut self, value: u32, pinned: &[u32]) -> Option<u8> {
        if let Step::Total(total) = self.body.steps[value as usize] {
            return Some(self.total(total, self.part));
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
        Operand::Run(base, element.offset + 4 * (self.part * self.lanes) as i32)
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
            Step::Const(_) | Step::Number(_) | Step::Total(_) => return Some(()),
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
            Step::SetTotal(total, x) => {
                let to = self.total(total, self.part);
                let from = self.anywhere(x, &operands)?;
                match from {
                    Operand::Constant(..) => self.code.vector(encode::BROADCAST, to, 0, from, None),
                    Operand::Each(base, at) => self.code.vector(encode::BROADCAST, to, 0, Operand::At(base, at), None),
                    from => self.code.vector(encode::MOVE_FROM, to, 0, from, None),
                }
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
        if self.now + 1 == self.body.steps.len() {
            self.stack_len = 0;
        }
        Some(())
    }

    /// Whether a value is in a mask register.
    fn in_masks(&self, value: u32) -> bool {
        self.code.form == Form::Evex && self.body.steps[value as usize].is_mask()
    }

    /// A register for the result: that of an operand which is read for the last time, or another.
    fn result(&mut self, reuse: &[u32], pinned: &[u32]) -> Option<u8> {
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

    fn unary(&mut self, op: Unary, x: u32) -> Option<()> {
        let pinned = [x];
        let result = self.now as u32;
        let shifted = |kind: u8, bits: u32| (kind, bits as u8);
        let (op, immediate) = match op {
            Unary::Sqrt => (encode::SQRT, None),
            Unary::Round => (encode::ROUND, Some(8)),
            Unary::ToInt => (encode::TO_INT, None),
            Unary::ToFloat => (encode::TO_FLOAT, None),
            Unary::Shl(bits) => return self.shift(shifted(6, bits), x),
            Unary::Sar(bits) => return self.shift(shifted(4, bits), x),
            Unary::Shr(bits) => return self.shift(shifted(2, bits), x),
        };
        let from = self.anywhere(x, &pinned)?;
        let to = self.result(&[x], &pinned)?;
        self.code.vector(op, to, 0, from, immediate);
        self.vectors.hold(to, result);
        Some(())
    }

    fn shift(&mut self, (kind, bits): (u8, u8), x: u32) -> Option<()> {
        let from = self.register(x, &[x])?;
        let to = self.result(&[x], &[x])?;
        self.code.vector(encode::SHIFT, kind, to, Operand::Reg(from), Some(bits));
        self.vectors.hold(to, self.now as u32);
        Some(())
    }

    fn binary(&mut self, op: Binary, x: u32, y: u32) -> Option<()> {
        let (mut x, mut y) = (x, y);
        let foldable = |writer: &Self, value: u32| matches!(writer.body.steps[value as usize], Step::Const(_) | Step::Number(_));
        if op.commutes() && foldable(self, x) && !foldable(self, y) {
            std::mem::swap(&mut x, &mut y);
        }
        let op = match op {
            Binary::Add => encode::ADD,
            Binary::Sub => encode::SUB,
            Binary::Mul => encode::MUL,
            Binary::Div => encode::DIV,
            Binary::Max => encode::MAX,
            Binary::Min => encode::MIN,
            Binary::IntAdd => encode::INT_ADD,
            Binary::IntSub => encode::INT_SUB,
            Binary::IntMul => encode::INT_MUL,
            Binary::And => encode::AND,
            Binary::Or => encode::OR,
            Binary::Xor => encode::XOR,
        };
        self.two(op, x, y, None)
    }

    /// `result = x op y` in vectors.
    fn two(&mut self, op: Op, x: u32, y: u32, immediate: Option<u8>) -> Option<()> {
        let pinned = [x, y];
        let first = self.register(x, &pinned)?;
        let last = self.anywhere(y, &pinned)?;
        let to = self.result(&[x, y], &pinned)?;
        self.code.vector(op, to, first, last, immediate);
        self.vectors.hold(to, self.now as u32);
        Some(())
    }

    fn mul_add(&mut self, [x, y, z]: [u32; 3]) -> Option<()> {
        let pinned = [x, y, z];
        let result = self.now as u32;
        let in_place = |writer: &Self, value: u32| {
            let own = !matches!(writer.body.steps[value as usize], Step::Total(_));
            writer.vectors.holder_of(value).filter(|_| own && writer.dies(value))
        };
        // The sum's register, or that of a factor, becomes the result's. A value that is read twice here is in the way of nothing:
        // all are read before the result is written.
        let to = if let Some(to) = in_place(self, z) {
            let second = self.register(x, &pinned)?;
            let last = self.anywhere(y, &pinned)?;
            self.code.vector(encode::MUL_ADD_231, to, second, last, None);
            to
        } else if let Some((to, other)) =
            [(x, y), (y, x)].into_iter().find_map(|(one, other)| Some((in_place(self, one)?, other)))
        {
            let constant = matches!(self.body.steps[other as usize], Step::Const(_) | Step::Number(_));
            if constant && !matches!(self.body.steps[z as usize], Step::Const(_) | Step::Number(_)) {
                let second = self.register(z, &pinned)?;
                let last = self.anywhere(other, &pinned)?;
                self.code.vector(encode::MUL_ADD_132, to, second, last, None);
            } else {
                let second = self.register(other, &pinned)?;
                let last = self.anywhere(z, &pinned)?;
                self.code.vector(encode::MUL_ADD_213, to, second, last, None);
            }
            to
        } else {
            let second = self.register(x, &pinned)?;
            let to = self.take(&pinned)?;
            match self.anywhere(z, &pinned)? {
                Operand::Each(base, at) => self.code.vector(encode::BROADCAST, to, 0, Operand::At(base, at), None),
                from @ Operand::Constant(..) => self.code.vector(encode::BROADCAST, to, 0, from, None),
                from => self.code.vector(encode::MOVE_FROM, to, 0, from, None),
            }
            let last = self.anywhere(y, &pinned)?;
            self.code.vector(encode::MUL_ADD_231, to, second, last, None);
            to
        };
        self.vectors.hold(to, result);
        Some(())
    }

    fn compare(&mut self, op: Op, x: u32, y: u32, immediate: Option<u8>) -> Option<()> {
        if self.code.form == Form::Vex {
            return self.two(op, x, y, immediate);
        }
        let pinned = [x, y];
        let first = self.register(x, &pinned)?;
        let last = self.anywhere(y, &pinned)?;
        let to = self.masks.take()?;
        self.code.vector(op, to + 1, first, last, immediate);
        self.masks.hold(to, self.now as u32);
        Some(())
    }

    fn logic(&mut self, op: Logic, x: u32, y: u32) -> Option<()> {
        if self.code.form == Form::Vex {
            return self.two(if op == Logic::And { encode::AND } else { encode::OR }, x, y, None);
        }
        let [x, y] = [x, y].map(|mask| self.masks.holder_of(mask).expect("masks stay in their registers"));
        let to = self.masks.take()?;
        self.code.masks(if op == Logic::And { encode::KAND } else { encode::KOR }, to + 1, x + 1, Some(y + 1));
        self.masks.hold(to, self.now as u32);
        Some(())
    }

    fn not(&mut self, x: u32) -> Option<()> {
        if self.code.form == Form::Vex {
            let first = self.register(x, &[x])?;
            let ones = self.constant(u32::MAX);
            let to = self.result(&[x], &[x])?;
            self.code.vector(encode::XOR, to, first, ones, None);
            self.vectors.hold(to, self.now as u32);
            return Some(());
        }
        let x = self.masks.holder_of(x).expect("masks stay in their registers");
        let to = self.masks.take()?;
        self.code.masks(encode::KNOT, to + 1, x + 1, None);
        self.masks.hold(to, self.now as u32);
        Some(())
    }

    fn select(&mut self, [mask, x, y]: [u32; 3]) -> Option<()> {
        let pinned = [mask, x, y];
        let second = self.register(y, &pinned)?;
        let (op, selector, immediate) = match self.code.form {
            Form::Evex => {
                let mask = self.masks.holder_of(mask).expect("masks stay in their registers");
                (encode::BLEND_EVEX, mask + 1, None)
            }
            Form::Vex => (encode::BLEND_VEX, 0, Some(self.register(mask, &pinned)? << 4)),
        };
        let last = self.anywhere(x, &pinned)?;
        let to = self.result(&[x, y], &pinned)?;
        self.code.masked((op.0, op.1, op.2), to, second, last, selector, immediate);
        self.vectors.hold(to, self.now as u32);
        Some(())
    }
}

/// The number of a comparison, none of which complains about NaN.
fn predicate(op: Cmp) -> u8 {
    match op {
        Cmp::Eq => 0x00,
        Cmp::Ne => 0x04,
        Cmp::Lt => 0x11,
        Cmp::Le => 0x12,
        Cmp::Ge => 0x1d,
        Cmp::Gt => 0x1e,
    }
}
