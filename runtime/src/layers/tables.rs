//! Tables of numbers that follow from a declaration, such as sines and cosines of positions, each made once.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Angles grow by a factor of this, from one end of a row to the other (Vaswani et al. 2017, section 3.5).
const BASE: f64 = 10_000.0;

/// Every table that was asked for. They live as long as the program: the graphs that have them in them are static.
static MADE: Mutex<BTreeMap<Key, &'static [f64]>> = Mutex::new(BTreeMap::new());

/// What is in a table, how many rows it has, and how long they are.
type Key = (Kind, usize, usize);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Sinusoidal,
    Sine,
    Cosine,
}

/// The other tables that were asked for, by their bits.
static SHARED: Mutex<BTreeMap<Vec<u64>, &'static [f64]>> = Mutex::new(BTreeMap::new());

/// A table of these numbers.
pub(super) fn shared(numbers: Vec<f64>) -> &'static [f64] {
    let mut made = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let bits = numbers.iter().map(|number| number.to_bits()).collect();
    made.entry(bits).or_insert_with(|| numbers.leak())
}

/// For every position a row of this width: sines at even places, cosines at odd ones.
pub(super) fn sinusoidal(length: usize, width: usize) -> &'static [f64] {
    table(Kind::Sinusoidal, length, width, |position, at| {
        let angle = angle(position, at / 2, width as f64 / 2.0);
        if at % 2 == 0 { libm::sin(angle) } else { libm::cos(angle) }
    })
}

/// For every position the sines, and the cosines, of so many angles.
pub(super) fn turns(length: usize, angles: usize) -> [&'static [f64]; 2] {
    let of = |position, at| angle(position, at, angles as f64);
    [
        table(Kind::Sine, length, angles, |position, at| libm::sin(of(position, at))),
        table(Kind::Cosine, length, angles, |position, at| libm::cos(of(position, at))),
    ]
}

fn angle(position: usize, at: usize, angles: f64) -> f64 {
    position as f64 / libm::pow(BASE, at as f64 / angles)
}

fn table(kind: Kind, length: usize, width: usize, number: impl Fn(usize, usize) -> f64) -> &'static [f64] {
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.entry((kind, length, width)).or_insert_with(|| {
        let numbers = (0..length).flat_map(|position| (0..width).map(move |at| (position, at)));
        Box::leak(numbers.map(|(position, at)| number(position, at)).collect())
    })
}
