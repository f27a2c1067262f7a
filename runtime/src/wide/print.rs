//! Bodies as text.

use std::fmt;

use super::body::{Body, Element, Step};

impl fmt::Display for Body {
    /// One line for each instruction, operands by their numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |element: &Element| format!("[a{} + {}]", element.address, element.offset);
        for (number, step) in self.steps.iter().enumerate() {
            let operands: Vec<String> = step.operands().iter().map(|operand| format!("v{operand}")).collect();
            let operands = operands.join(", ");
            match step {
                Step::Const(bits) => writeln!(f, "    v{number} = const {:?}", f32::from_bits(*bits))?,
                Step::Number(index) => writeln!(f, "    v{number} = number {index}")?,
                Step::Each(element) => writeln!(f, "    v{number} = number {}", place(element))?,
                Step::Load(element) => writeln!(f, "    v{number} = load {}", place(element))?,
                Step::Unary(op, _) => writeln!(f, "    v{number} = {} {operands}", lower(op))?,
                Step::Binary(op, ..) => writeln!(f, "    v{number} = {} {operands}", lower(op))?,
                Step::MulAdd(..) => writeln!(f, "    v{number} = mul_add {operands}")?,
                Step::Compare(op, ..) => writeln!(f, "    v{number} = {} {operands}", lower(op))?,
                Step::SameInts(..) => writeln!(f, "    v{number} = same {operands}")?,
                Step::Logic(op, ..) => writeln!(f, "    v{number} = {} {operands}", lower(op))?,
                Step::Not(_) => writeln!(f, "    v{number} = not {operands}")?,
                Step::Select(..) => writeln!(f, "    v{number} = select {operands}")?,
                Step::Position => writeln!(f, "    v{number} = position")?,
                Step::Total(total) => writeln!(f, "    v{number} = total {total}")?,
                Step::Store(element, _) => writeln!(f, "    store {operands}, {}", place(element))?,
                Step::Prefetch(element, false) => writeln!(f, "    prefetch {}", place(element))?,
                Step::Prefetch(element, true) => writeln!(f, "    prefetch {}, to write", place(element))?,
                Step::SetTotal(total, _) => writeln!(f, "    total {total} = {operands}")?,
                Step::LanesOf(total, part) => writeln!(f, "    v{number} = lanes of total {total}, register {part}")?,
                Step::Shuffle(shuffle, _) => writeln!(f, "    v{number} = swap {} of {operands}", lower(shuffle))?,
                Step::StoreOne(element, _) => writeln!(f, "    store the first of {operands}, {}", place(element))?,
            }
        }
        for (total, places) in self.copies.iter().enumerate().filter(|(_, places)| !places.is_empty()) {
            let places: Vec<String> = places.iter().map(place).collect();
            writeln!(f, "    total {total} is written to {}, too", places.join(", "))?;
        }
        for (total, end) in self.ends.iter().enumerate() {
            write!(f, "    total {total} ends as one number, of two\n{end}")?;
        }
        for axis in &self.axes {
            let extent = axis.extent.map_or_else(|| "some".to_owned(), |extent| extent.to_string());
            writeln!(f, "    {extent} times: addresses by {:?}, numbers by {:?}", axis.steps, axis.counts)?;
        }
        Ok(())
    }
}

/// The name of an operation as it is printed.
fn lower(op: &impl fmt::Debug) -> String {
    format!("{op:?}").to_lowercase()
}
