//! What happens at every element of a run: instructions in the order in which they are written down.

use rustc_hash::FxHashMap;

use super::nest::Axis;
use crate::scalar::{Cmp, Reg, Scalar};

/// Elements of memory: so many bytes from an address that the caller passes, and one after the other from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Which of the caller's addresses.
    pub address: usize,
    /// Bytes from it.
    pub offset: i32,
}

/// An operation on one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unary {
    Sqrt,
    Round,
    ToInt,
    ToFloat,
    Shl(u32),
    Sar(u32),
    Shr(u32),
}

/// An operation on two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// The larger; the second if one of them is NaN, or both are zeros.
    Max,
    /// The smaller, in the same way.
    Min,
    IntAdd,
    IntSub,
    IntMul,
    And,
    Or,
    Xor,
}

impl Binary {
    pub(super) fn commutes(self) -> bool {
        matches!(
            self,
            Binary::Add | Binary::Mul | Binary::IntAdd | Binary::IntMul | Binary::And | Binary::Or | Binary::Xor
        )
    }
}

/// An operation on masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Logic {
    And,
    Or,
}

/// How lanes change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shuffle {
    /// The two quarters of each half of a register; the halves, of one that has no more than two quarters.
    Quarters,
    /// The halves of a register.
    Halves,
    /// The two lanes of each half of a quarter.
    Lanes,
    /// The halves of each quarter.
    Pairs,
}

/// An instruction; its result has its number. Operands are numbers of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// These bits in every lane.
    Const(u32),
    /// A number of the caller's in every lane.
    Number(usize),
    /// The number at a place in every lane, wherever in the run.
    Each(Element),
    Load(Element),
    Unary(Unary, u32),
    Binary(Binary, u32, u32),
    MulAdd(u32, u32, u32),
    /// A mask.
    Compare(Cmp, u32, u32),
    /// A mask.
    SameInts(u32, u32),
    /// Of masks, a mask.
    Logic(Logic, u32, u32),
    /// Of a mask, a mask.
    Not(u32),
    /// The second where the mask holds, the third elsewhere.
    Select(u32, u32, u32),
    /// What a sum along the run has so far.
    Total(usize),
    /// How many elements of the run come before this one.
    Position,
    /// No result.
    Store(Element, u32),
    /// No result: what the sum has from here on.
    SetTotal(usize, u32),
    /// No result: a wish for elements that are read soon, or written.
    Prefetch(Element, bool),
    /// Some lanes of a sum, by the register of them, when the run is done.
    LanesOf(usize, usize),
    Shuffle(Shuffle, u32),
    /// No result: the first lane alone.
    StoreOne(Element, u32),
}

impl Step {
    pub(super) fn operands(self) -> Vec<u32> {
        match self {
            Step::Const(_) | Step::Number(_) | Step::Load(_) | Step::Total(_) | Step::Position => Vec::new(),
            Step::Each(_) | Step::Prefetch(..) | Step::LanesOf(..) => Vec::new(),
            Step::Unary(_, x) | Step::Not(x) | Step::Store(_, x) | Step::SetTotal(_, x) => vec![x],
            Step::Shuffle(_, x) | Step::StoreOne(_, x) => vec![x],
            Step::Binary(_, x, y) | Step::Compare(_, x, y) | Step::SameInts(x, y) | Step::Logic(_, x, y) => vec![x, y],
            Step::MulAdd(x, y, z) | Step::Select(x, y, z) => vec![x, y, z],
        }
    }

    /// The same step on other values.
    pub(super) fn with_operands(self, of: impl Fn(u32) -> u32) -> Step {
        match self {
            Step::Unary(op, x) => Step::Unary(op, of(x)),
            Step::Not(x) => Step::Not(of(x)),
            Step::Store(element, x) => Step::Store(element, of(x)),
            Step::SetTotal(total, x) => Step::SetTotal(total, of(x)),
            Step::Shuffle(shuffle, x) => Step::Shuffle(shuffle, of(x)),
            Step::StoreOne(element, x) => Step::StoreOne(element, of(x)),
            Step::Binary(op, x, y) => Step::Binary(op, of(x), of(y)),
            Step::Compare(op, x, y) => Step::Compare(op, of(x), of(y)),
            Step::SameInts(x, y) => Step::SameInts(of(x), of(y)),
            Step::Logic(op, x, y) => Step::Logic(op, of(x), of(y)),
            Step::MulAdd(x, y, z) => Step::MulAdd(of(x), of(y), of(z)),
            Step::Select(x, y, z) => Step::Select(of(x), of(y), of(z)),
            Step::Const(_) | Step::Number(_) | Step::Load(_) | Step::Total(_) | Step::Position => self,
            Step::Each(_) | Step::Prefetch(..) | Step::LanesOf(..) => self,
        }
    }

    pub(super) fn has_result(self) -> bool {
        !matches!(self, Step::Store(..) | Step::SetTotal(..) | Step::Prefetch(..) | Step::StoreOne(..))
    }

    /// Whether it is the same wherever it stands, and may stay in a register for long: memory changes, and masks have few registers.
    fn is_shared(self) -> bool {
        matches!(self, Step::Const(_) | Step::Unary(..) | Step::Binary(..) | Step::MulAdd(..))
    }

    pub(super) fn is_mask(self) -> bool {
        matches!(self, Step::Compare(..) | Step::SameInts(..) | Step::Logic(..) | Step::Not(_))
    }
}

/// What happens at every element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Body {
    pub(super) steps: Vec<Step>,
    /// How many numbers and addresses the caller passes, numbers first.
    pub(super) numbers: usize,
    pub(super) addresses: usize,
    /// For each sum along the run, where its lanes are; for each sum down the columns, where those are.
    pub(super) totals: Vec<Element>,
    /// What each sum along the run begins with, as bits, if the run is the first of its row: rather than with what its lanes hold.
    pub(super) starts: Vec<u32>,
    /// How the lanes of each sum along the run become one number, if the run is all of its row: that is written where the first of
    /// them would be.
    pub(super) ends: Vec<Body>,
    /// Where else that number is written, of each sum.
    pub(super) copies: Vec<Vec<Element>>,
    /// The axes around the run, the outermost first.
    pub(super) axes: Vec<Axis>,
    /// Addresses that are the same in every row.
    pub(super) columns: Vec<usize>,
    /// Whether rows follow one another in each vector of columns.
    pub(super) down: bool,
    /// How many of those are side by side, 0 for one.
    pub(super) across: usize,
    /// Whether constants have registers of their own, as far as there are some.
    pub(super) constants: bool,
}

impl Body {
    pub(super) fn has_positions(&self) -> bool {
        self.steps.contains(&Step::Position)
    }

    /// The same for so many vectors of columns side by side, which the columns are whole multiples of.
    pub fn across(self, across: usize) -> Body {
        Body { across, ..self }
    }

    /// The same for every run along some axes, the outermost first.
    pub fn along(self, axes: Vec<Axis>) -> Body {
        Body { axes, ..self }
    }

    /// The same with constants in registers all along, which takes longer to begin.
    pub fn with_constants(self, constants: bool) -> Body {
        Body { constants, ..self }
    }

    /// Whether something is added up along the run.
    pub fn has_totals(&self) -> bool {
        !self.down && !self.totals.is_empty()
    }
}

/// Writes a body down.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    pub(super) body: Body,
    /// Where what can be shared is, if it is there.
    known: FxHashMap<Step, Reg>,
}

impl Recorder {
    /// A body of rows: all of them for a vector of columns, or several side by side, then all for the next. What is added up is added up down the columns.
    pub fn down() -> Recorder {
        Recorder { body: Body { down: true, ..Body::default() }, known: FxHashMap::default() }
    }

    /// The body that was written down.
    pub fn finish(self) -> Body {
        self.body
    }

    /// A number that the caller passes.
    pub fn number(&mut self) -> Reg {
        self.body.numbers += 1;
        self.push(Step::Number(self.body.numbers - 1))
    }

    /// An address that the caller passes.
    pub fn address(&mut self) -> usize {
        self.body.addresses += 1;
        self.body.addresses - 1
    }

    /// An address that the caller passes, the same in every row.
    pub fn column(&mut self) -> usize {
        let address = self.address();
        self.body.columns.push(address);
        address
    }

    /// Elements of memory.
    pub fn load(&mut self, element: Element) -> Reg {
        self.push(Step::Load(element))
    }

    /// The number at a place, wherever in the run.
    pub fn each(&mut self, element: Element) -> Reg {
        self.push(Step::Each(element))
    }

    /// How many elements of the run come before this one, an integer.
    pub fn position(&mut self) -> Reg {
        self.push(Step::Position)
    }

    /// Writes elements.
    pub fn store(&mut self, value: Reg, element: Element) {
        self.body.steps.push(Step::Store(element, value.0));
    }

    /// Asks for elements that are read soon, or written; they may be anywhere, and be none.
    pub fn prefetch(&mut self, element: Element, to_write: bool) {
        self.body.steps.push(Step::Prefetch(element, to_write));
    }

    /// A sum along the run whose lanes lie there, or one down the columns.
    pub fn total(&mut self, place: Element) -> usize {
        self.body.totals.push(place);
        self.body.totals.len() - 1
    }

    /// All sums along the run begin with such numbers, in the order in which they were written down.
    pub fn start_totals(&mut self, starts: impl IntoIterator<Item = f64>) {
        self.body.starts = starts.into_iter().map(|start| (start as f32).to_bits()).collect();
    }

    /// All sums along the run end as one number each, of which these make one out of two, in the order in which they were written down.
    pub fn end_totals(&mut self, combine: impl IntoIterator<Item = fn(&mut dyn Scalar, Reg, Reg) -> Reg>) {
        let end = |combine: fn(&mut dyn Scalar, Reg, Reg) -> Reg| {
            let mut recorder = Recorder::default();
            let [x, y] = [recorder.number(), recorder.number()];
            let of_two = combine(&mut recorder, x, y);
            assert_eq!(of_two.0 as usize + 1, recorder.body.steps.len(), "the number is what is computed last");
            recorder.finish()
        };
        self.body.ends = combine.into_iter().map(end).collect();
    }

    /// Writes the number that a sum along the run ends as to some more places.
    pub fn copy_total(&mut self, total: usize, places: Vec<Element>) {
        self.body.copies.resize(self.body.totals.len(), Vec::new());
        self.body.copies[total] = places;
    }

    /// What a sum has so far.
    pub fn total_so_far(&mut self, total: usize) -> Reg {
        self.push(Step::Total(total))
    }

    /// What a sum has from here on.
    pub fn set_total(&mut self, total: usize, value: Reg) {
        self.body.steps.push(Step::SetTotal(total, value.0));
    }

    /// What is there already is shared: a function and its slope have their exponential in common.
    fn push(&mut self, step: Step) -> Reg {
        let next = Reg(self.body.steps.len() as u32);
        if step.is_shared() {
            let first = *self.known.entry(step).or_insert(next);
            if first != next {
                return first;
            }
        }
        self.body.steps.push(step);
        next
    }

    fn unary(&mut self, op: Unary, x: Reg) -> Reg {
        self.push(Step::Unary(op, x.0))
    }

    fn binary(&mut self, op: Binary, x: Reg, y: Reg) -> Reg {
        self.push(Step::Binary(op, x.0, y.0))
    }

    fn bits_of(&mut self, bits: u32) -> Reg {
        self.push(Step::Const(bits))
    }
}

macro_rules! binary {
    ($($name:ident $op:ident;)*) => {$(
        fn $name(&mut self, x: Reg, y: Reg) -> Reg {
            self.binary(Binary::$op, x, y)
        }
    )*};
}

impl Scalar for Recorder {
    fn float(&mut self, c: f64) -> Reg {
        self.bits_of((c as f32).to_bits())
    }

    fn int(&mut self, c: i32) -> Reg {
        self.bits_of(c as u32)
    }

    binary! {
        add Add;
        sub Sub;
        mul Mul;
        div Div;
        int_add IntAdd;
        int_sub IntSub;
        int_mul IntMul;
        int_and And;
        int_or Or;
        int_xor Xor;
    }

    fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        self.push(Step::MulAdd(x.0, y.0, z.0))
    }

    fn neg(&mut self, x: Reg) -> Reg {
        let sign = self.bits_of(1 << 31);
        self.binary(Binary::Xor, x, sign)
    }

    fn abs(&mut self, x: Reg) -> Reg {
        if let Some(known) = self.known_magnitude(x) {
            return known;
        }
        let others = self.bits_of(!(1 << 31));
        self.binary(Binary::And, x, others)
    }

    fn sqrt(&mut self, x: Reg) -> Reg {
        self.unary(Unary::Sqrt, x)
    }

    fn round(&mut self, x: Reg) -> Reg {
        self.unary(Unary::Round, x)
    }

    fn cmp(&mut self, op: Cmp, x: Reg, y: Reg) -> Reg {
        self.push(Step::Compare(op, x.0, y.0))
    }

    fn int_eq(&mut self, x: Reg, y: Reg) -> Reg {
        self.push(Step::SameInts(x.0, y.0))
    }

    fn and(&mut self, p: Reg, q: Reg) -> Reg {
        self.push(Step::Logic(Logic::And, p.0, q.0))
    }

    fn or(&mut self, p: Reg, q: Reg) -> Reg {
        self.push(Step::Logic(Logic::Or, p.0, q.0))
    }

    fn not(&mut self, p: Reg) -> Reg {
        self.push(Step::Not(p.0))
    }

    fn select(&mut self, mask: Reg, x: Reg, y: Reg) -> Reg {
        // What bounds a number, if it is one, is one instruction.
        match self.body.steps[mask.0 as usize] {
            Step::Compare(Cmp::Lt, limit, of) if self.is_never_above(of, limit) => return y,
            Step::Compare(Cmp::Lt, of, limit) if (of, limit) == (y.0, x.0) => return self.binary(Binary::Max, x, y),
            Step::Compare(Cmp::Gt, of, limit) if (of, limit) == (y.0, x.0) => return self.binary(Binary::Min, x, y),
            Step::Compare(Cmp::Lt, limit, of) if (of, limit) == (y.0, x.0) => return self.binary(Binary::Min, x, y),
            _ => {}
        }
        self.push(Step::Select(mask.0, x.0, y.0))
    }

    fn max(&mut self, x: Reg, y: Reg) -> Reg {
        let larger = self.binary(Binary::Max, x, y);
        if self.is_number(x) {
            return larger;
        }
        let nan = self.cmp(Cmp::Ne, x, x);
        self.select(nan, x, larger)
    }

    fn min(&mut self, x: Reg, y: Reg) -> Reg {
        let smaller = self.binary(Binary::Min, x, y);
        if self.is_number(x) {
            return smaller;
        }
        let nan = self.cmp(Cmp::Ne, x, x);
        self.select(nan, x, smaller)
    }

    fn to_int(&mut self, x: Reg) -> Reg {
        self.unary(Unary::ToInt, x)
    }

    fn to_float(&mut self, x: Reg) -> Reg {
        self.unary(Unary::ToFloat, x)
    }

    fn bits(&mut self, x: Reg) -> Reg {
        x
    }

    fn from_bits(&mut self, x: Reg) -> Reg {
        x
    }

    fn shl(&mut self, x: Reg, bits: u32) -> Reg {
        self.unary(Unary::Shl(bits), x)
    }

    fn sar(&mut self, x: Reg, bits: u32) -> Reg {
        self.unary(Unary::Sar(bits), x)
    }

    fn shr(&mut self, x: Reg, bits: u32) -> Reg {
        self.unary(Unary::Shr(bits), x)
    }
}
