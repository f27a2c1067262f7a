//! Whether kernels run as well as they could: each of a kept list of shapes is compiled as the tiling picks and with every other
//! choice forced, and a pick that lags by more than 5 % is named.
//!
//! Variants take turns, so that what else the machine does meets all of them; what seems to lag is measured once more, longer.

mod alternatives;
mod copies;
mod shapes;

use std::time::{Duration, Instant};

use crate::Result;
use crate::arguments::Arguments;

/// How far a pick may lag behind the best alternative.
const ALLOWED: f64 = 0.05;
/// Rounds in which all variants of a shape run once.
const ROUNDS: usize = 15;

/// A way to do the work of a shape: its name, and one run.
type Variant<'a> = (String, Box<dyn FnMut() + 'a>);

/// A pick that lags.
struct Lag {
    shape: String,
    alternative: String,
    by: f64,
}

/// Prints a table of shapes, then the picks that lag.
pub fn measure(arguments: &Arguments) -> Result<()> {
    println!("| shape | pick, us | best alternative | us | lag |");
    println!("| --- | ---: | --- | ---: | ---: |");
    let seconds = arguments.seconds;
    let mut lags = Vec::new();
    for shape in shapes::all() {
        let variants = alternatives::variants(&shape, arguments.threads)?;
        lags.extend(compare(shape.name, variants, seconds));
    }
    for shape in copies::all() {
        let mut memory = copies::Memory::of(&shape);
        lags.extend(compare(shape.name, memory.variants(&shape), seconds));
    }
    println!();
    match lags.is_empty() {
        true => println!("no pick lags by more than {:.0} %", 100.0 * ALLOWED),
        false => println!("picks that lag:"),
    }
    for Lag { shape, alternative, by } in lags {
        println!("  {shape}: {alternative} is {:.0} % faster", 100.0 * by);
    }
    Ok(())
}

/// Measures the variants of a shape, of which the first is the pick; writes its row, and says whether the pick lags.
fn compare(shape: &str, mut variants: Vec<Variant<'_>>, seconds: f64) -> Option<Lag> {
    let times = best(&mut variants, seconds, ROUNDS);
    let Some(index) = (1..times.len()).min_by(|&x, &y| times[x].total_cmp(&times[y])) else {
        println!("| {shape} | {:.2} | none | | |", times[0]);
        return None;
    };
    let (mut pick, mut other) = (times[0], times[index]);
    if pick > (1.0 + ALLOWED) * other {
        let mut two = vec![variants.swap_remove(index), variants.swap_remove(0)];
        let again = best(&mut two, 3.0 * seconds, 3 * ROUNDS);
        (other, pick) = (again[0], again[1]);
        variants = two;
        variants.swap(0, 1);
        return report(shape, &variants[1].0, pick, other);
    }
    report(shape, &variants[index].0, pick, other)
}

fn report(shape: &str, alternative: &str, pick: f64, other: f64) -> Option<Lag> {
    let by = pick / other - 1.0;
    println!("| {shape} | {pick:.2} | {alternative} | {other:.2} | {:+.1} % |", 100.0 * by);
    (by > ALLOWED).then(|| Lag { shape: shape.to_string(), alternative: alternative.to_string(), by })
}

/// The microseconds of each variant in its best round.
fn best(variants: &mut [Variant<'_>], seconds: f64, rounds: usize) -> Vec<f64> {
    let slice = seconds / (rounds * variants.len()) as f64;
    let slice = Duration::from_secs_f64(slice.max(1e-4));
    let mut best = vec![f64::INFINITY; variants.len()];
    for round in 0..=rounds {
        for ((_, run), best) in variants.iter_mut().zip(&mut best) {
            let (start, mut runs) = (Instant::now(), 0);
            while runs < 2 || start.elapsed() < slice {
                run();
                runs += 1;
            }
            // The first round warms up.
            if round > 0 {
                *best = best.min(1e6 * start.elapsed().as_secs_f64() / f64::from(runs));
            }
        }
    }
    best
}
