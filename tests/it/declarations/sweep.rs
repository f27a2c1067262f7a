//! Many declarations of a family, each held against its evaluator.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gradloom_runtime::elaborate::elaborate;
use gradloom_runtime::init::Random;

use super::tape::smaller;
use super::{Family, declared, edges};
use crate::oracle::agreement::{Verdict, agree};
use crate::{budget, vocabulary};

/// Numbers on a tape.
const LENGTH: usize = 300;

/// Tries at least `cases` declarations, the same every time; more if `PROPTEST_CASES` says so.
pub fn sweep(family: Family, cases: u64) {
    let cases = budget::cases(cases);
    let (mut agreed, mut run, mut refused, mut unclear, mut known, mut open) = (0, 0, Vec::new(), Vec::new(), 0, 0);
    let mut wrong: Vec<(u64, String)> = Vec::new();
    for seed in 0..cases {
        match judge(family, &tape(seed)) {
            Ok(Verdict::Agrees { slopes, unknown, compiled }) => {
                agreed += 1;
                run += u64::from(compiled);
                known += slopes;
                open += unknown;
            }
            Ok(Verdict::Refused(message)) => refused.push((seed, message)),
            Ok(Verdict::Unclear(why)) => unclear.push(why),
            Err(message) => wrong.push((seed, message)),
        }
    }
    if let Some((seed, message)) = wrong.first() {
        let others: Vec<String> = wrong.iter().take(20).map(|(seed, message)| format!("{seed}: {message}")).collect();
        panic!(
            "{} of {cases} are wrong, the first made smaller: {}\n\n{}",
            wrong.len(),
            minimal(family, *seed, message),
            others.join("\n")
        );
    }
    // What is refused or shows nothing tests nothing.
    assert!(agreed * 2 > cases && run * 2 > cases, "{agreed} of {cases} agree, {run} as machine code; {unclear:?}");
    eprintln!(
        "{agreed} of {cases} agree, {run} as machine code, {} refused, {known} slopes, {open} not",
        refused.len()
    );
    assert!(refused.len() as u64 * 20 <= cases, "{refused:?}");
    assert!(known > 10 * open, "{known} slopes were compared, {open} not known");
}

/// The words of the language that so many declarations of a family use.
pub fn words(family: Family, cases: u64) -> BTreeSet<&'static str> {
    (0..cases).flat_map(|seed| vocabulary::of(declared(family, &tape(seed)).definition)).collect()
}

/// What so many declarations of every one of these families have not of names, numbers and counts.
pub fn edges_left_out(families: &[Family], cases: u64) -> Vec<String> {
    let mut missing = edges::all();
    for family in families {
        for seed in 0..cases {
            edges::of(declared(*family, &tape(seed)).definition).iter().for_each(|edge| _ = missing.remove(edge));
        }
    }
    missing.into_iter().collect()
}

/// So many declarations of a family, each with every slip there is, all of which are refused in the right words.
pub fn slips(family: Family, cases: u64) {
    for seed in 0..cases {
        let sound = declared(family, &tape(seed)).definition;
        assert_eq!(elaborate(sound).1, [], "of seed {seed}");
        for (definition, words) in super::slips::slips(sound) {
            let (_, mistakes) = elaborate(&definition);
            let message = mistakes.first().map(|mistake| mistake.message.as_str()).unwrap_or_default();
            assert!(message.contains(words), "of seed {seed}: {message:?} instead of {words:?}");
        }
    }
}

/// The smallest declaration found that is wrong in the same way, and how.
fn minimal(family: Family, seed: u64, message: &str) -> String {
    // What panics may do so for many reasons.
    let kind = |message: &str| (message.chars().take(30).collect::<String>(), message.contains("NaN"));
    let (start, is_nan) = kind(message);
    let is_panic = start.starts_with("panic");
    let alike = |message: &String| kind(message).1 == is_nan && (!is_panic || kind(message).0 == start);
    let is_wrong = |numbers: &[u32]| judge(family, numbers).is_err_and(|message| alike(&message));
    let numbers = smaller(&tape(seed), is_wrong);
    let message = judge(family, &numbers).expect_err("the smaller tape is wrong as well");
    let found = declared(family, &numbers);
    format!("{message}, for {} rows, of seed {}\n{}", found.rows, found.seed, elaborate(found.definition).0)
}

fn tape(seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed, 13);
    (0..LENGTH).map(|_| random.bits() as u32).collect()
}

/// A panic is a fault as well.
fn judge(family: Family, numbers: &[u32]) -> Result<Verdict, String> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let found = declared(family, numbers);
        agree(found.definition, found.rows, found.seed)
    }));
    attempt.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}
