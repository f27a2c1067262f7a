//! One number out of the lanes of each sum along a row, when all of the row is done: as a tree, whose pairs are the same in vectors of
//! any width. In registers nothing waits for memory, and nothing is guessed of which number is the larger.

use super::body::{Body, Shuffle, Step};
use crate::kernel::LANES;

/// A body with the steps that follow its run, in vectors of so many lanes.
pub(super) fn with_ends(body: &Body, lanes: usize) -> Body {
    let mut whole = body.clone();
    for (total, end) in body.ends.iter().enumerate() {
        let mut parts: Vec<u32> = (0..LANES / lanes).map(|part| whole.push(Step::LanesOf(total, part))).collect();
        for part in &mut parts {
            *part = whole.with_swapped(end, Shuffle::Quarters, *part);
        }
        let mut all = parts[0];
        all = match parts[1..] {
            [] => whole.with_swapped(end, Shuffle::Halves, all),
            [other] => whole.of_two(end, all, other),
            _ => unreachable!("sixteen lanes are in one register or two"),
        };
        for shuffle in [Shuffle::Lanes, Shuffle::Pairs] {
            all = whole.with_swapped(end, shuffle, all);
        }
        let places = [body.totals[total]].into_iter().chain(body.copies.get(total).into_iter().flatten().copied());
        places.for_each(|place| _ = whole.push(Step::StoreOne(place, all)));
    }
    whole
}

impl Body {
    fn push(&mut self, step: Step) -> u32 {
        self.steps.push(step);
        self.steps.len() as u32 - 1
    }

    /// Each lane with the one that a shuffle puts in its place.
    fn with_swapped(&mut self, end: &Body, shuffle: Shuffle, x: u32) -> u32 {
        let y = self.push(Step::Shuffle(shuffle, x));
        self.of_two(end, x, y)
    }

    /// What the end of a sum makes of two.
    fn of_two(&mut self, end: &Body, x: u32, y: u32) -> u32 {
        let mut values: Vec<u32> = Vec::new();
        for &step in &end.steps {
            let value = match step {
                Step::Number(0) => x,
                Step::Number(_) => y,
                step => self.push(step.with_operands(|operand| values[operand as usize])),
            };
            values.push(value);
        }
        values[values.len() - 1]
    }
}
