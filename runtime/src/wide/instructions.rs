//! The instructions of a body, each in the form that finds its operands where they are and its result in a register.

use super::body::{Binary, Logic, Step, Unary};
use super::encode::{self, Form, Op, Operand};
use super::function::Writer;
use crate::scalar::Cmp;

impl Writer<'_> {
    pub(super) fn unary(&mut self, op: Unary, x: u32) -> Option<()> {
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

    /// Whether a value is one number in all lanes, which is read where it is used.
    fn is_repeated(&self, value: u32) -> bool {
        matches!(self.body.steps[value as usize], Step::Const(_) | Step::Number(_) | Step::Each(_))
    }

    pub(super) fn binary(&mut self, op: Binary, x: u32, y: u32) -> Option<()> {
        let (mut x, mut y) = (x, y);
        if op.commutes() && self.is_repeated(x) && !self.is_repeated(y) {
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

    pub(super) fn mul_add(&mut self, [x, y, z]: [u32; 3]) -> Option<()> {
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
            if self.is_repeated(other) && !self.is_repeated(z) {
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

    pub(super) fn compare(&mut self, op: Op, x: u32, y: u32, immediate: Option<u8>) -> Option<()> {
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

    pub(super) fn logic(&mut self, op: Logic, x: u32, y: u32) -> Option<()> {
        if self.code.form == Form::Vex {
            return self.two(if op == Logic::And { encode::AND } else { encode::OR }, x, y, None);
        }
        let [x, y] = [x, y].map(|mask| self.masks.holder_of(mask).expect("masks stay in their registers"));
        let to = self.masks.take()?;
        self.code.masks(if op == Logic::And { encode::KAND } else { encode::KOR }, to + 1, x + 1, Some(y + 1));
        self.masks.hold(to, self.now as u32);
        Some(())
    }

    pub(super) fn not(&mut self, x: u32) -> Option<()> {
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

    pub(super) fn select(&mut self, [mask, x, y]: [u32; 3]) -> Option<()> {
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
pub(super) fn predicate(op: Cmp) -> u8 {
    match op {
        Cmp::Eq => 0x00,
        Cmp::Ne => 0x04,
        Cmp::Lt => 0x11,
        Cmp::Le => 0x12,
        Cmp::Ge => 0x1d,
        Cmp::Gt => 0x1e,
    }
}
