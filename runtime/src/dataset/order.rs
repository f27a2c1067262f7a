//! Which row stands where.
//!
//! In: a seed and the number of a pass. Out: the exchanges that bring the rows into the order of that pass, whatever order
//! they are in: it follows from the two alone.

use crate::init::Random;

/// The stream of random numbers that shares rows out. Passes, counted from 1, have those of their own numbers.
const SHARE: u64 = 0;

/// The order that rows are in.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// For every place, the row that stands there, by the place that it had at first.
    rows: Vec<usize>,
    /// For every row, where it stands.
    places: Vec<usize>,
    /// Room for the order to come.
    wanted: Vec<usize>,
}

impl Order {
    /// Rows as they come, or `None` if there is no memory for their numbers.
    pub(super) fn new(len: usize) -> Option<Order> {
        let numbers = || {
            let mut numbers = Vec::new();
            numbers.try_reserve_exact(len).ok()?;
            numbers.extend(0..len);
            Some(numbers)
        };
        Some(Order { rows: numbers()?, places: numbers()?, wanted: numbers()? })
    }

    /// For every place, the row that stands there; `None` if there is no memory for it.
    pub(super) fn copy(&self) -> Option<Vec<usize>> {
        let mut rows = Vec::new();
        rows.try_reserve_exact(self.rows.len()).ok()?;
        rows.extend_from_slice(&self.rows);
        Some(rows)
    }

    /// Brings rows into an order that was copied.
    pub(super) fn restore(&mut self, rows: &[usize], swap: &mut dyn FnMut(usize, usize)) {
        self.wanted.copy_from_slice(rows);
        self.arrange(swap);
    }

    /// Brings all rows into the order in which they are shared out: whoever takes some takes the last.
    pub(super) fn share(&mut self, seed: u64, swap: &mut dyn FnMut(usize, usize)) {
        self.start(seed, true);
        self.arrange(swap);
    }

    /// Moves the rows in these places to the end. Both they and the others stay in their order.
    pub(super) fn divide(&mut self, is_last: &[bool], swap: &mut dyn FnMut(usize, usize)) {
        let mut at = 0;
        for last in [false, true] {
            for (&row, _) in self.rows.iter().zip(is_last).filter(|(_, is_last)| **is_last == last) {
                self.wanted[at] = row;
                at += 1;
            }
        }
        self.arrange(swap);
    }

    /// Brings rows into the order of a pass, counted from 1. The last ones, so many of those that are shared out, take no part:
    /// they come last in every pass, in one order.
    pub(super) fn pass(&mut self, seed: u64, pass: u64, kept_out: usize, swap: &mut dyn FnMut(usize, usize)) {
        self.start(seed, kept_out > 0);
        let len = self.wanted.len() - kept_out;
        shuffle(&mut self.wanted[..len], seed, pass);
        self.arrange(swap);
    }

    /// Wants rows as they came, or as they are shared out.
    fn start(&mut self, seed: u64, shared: bool) {
        self.wanted.iter_mut().enumerate().for_each(|(place, row)| *row = place);
        if shared {
            shuffle(&mut self.wanted, seed, SHARE);
        }
    }

    /// Exchanges rows until every place has the one that is wanted there.
    fn arrange(&mut self, swap: &mut dyn FnMut(usize, usize)) {
        for (place, &row) in self.wanted.iter().enumerate() {
            let (other, from) = (self.rows[place], self.places[row]);
            if from != place {
                swap(place, from);
                self.rows.swap(place, from);
                (self.places[row], self.places[other]) = (place, from);
            }
        }
    }
}

/// Fisher & Yates, with a stream of random numbers.
fn shuffle(rows: &mut [usize], seed: u64, stream: u64) {
    let mut random = Random::new(seed, stream);
    for last in (1..rows.len()).rev() {
        rows.swap(last, random.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn an_order_follows_from_seed_and_pass_whatever_came_before() {
        let rows = |passes: &[(u64, usize)]| {
            let mut order = Order::new(20).expect("a few numbers");
            let mut rows: Vec<usize> = (0..20).collect();
            for &(pass, kept_out) in passes {
                order.pass(7, pass, kept_out, &mut |x, y| rows.swap(x, y));
                assert_eq!(rows, order.rows);
            }
            rows
        };
        assert_eq!(rows(&[(1, 0), (2, 5), (9, 0), (4, 3)]), rows(&[(4, 3)]));
        assert_eq!(rows(&[(4, 3), (4, 3)]), rows(&[(4, 3)]));
        assert_ne!(rows(&[(5, 3)])[..17], rows(&[(4, 3)])[..17]);
        assert_eq!(rows(&[(5, 3)])[17..], rows(&[(4, 3)])[17..], "what is kept out stays where it is");
        assert_eq!(rows(&[(5, 3)])[17..], rows(&[(5, 9)])[17..], "a larger share has the smaller one in it");
        let mut sorted = rows(&[(4, 3)]);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<usize>>());
    }
}
