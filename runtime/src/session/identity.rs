//! Whether a checkpoint is of a training like this one.
//!
//! In: what a checkpoint says of its network and its training. Out: what differs, in words, both sides of it.

use std::collections::{HashMap, VecDeque};

use super::any::AnySession;
use super::params::named;
use super::programs::Kind;
use super::sizes::{differing_sizes, sizes_word};
use crate::ir::SlotKind;
use crate::lower::check;
use crate::safetensors::{brief, shown};

/// The most differences that are told of a text.
const MOST: usize = 4;

/// What a checkpoint has to agree with for the next steps to be the same: the declaration and the training, as lines.
#[derive(Debug)]
pub(super) struct Identity {
    /// The name of the network.
    pub(super) network: Option<String>,
    /// Those that were chosen; none of a network without any.
    pub(super) sizes: Option<String>,
    /// None in a file of an earlier version, as for the training.
    pub(super) declaration: Option<String>,
    pub(super) optimizer: String,
    pub(super) training: Option<String>,
}

impl Identity {
    /// What a session is.
    pub(super) fn of(session: &AnySession) -> Identity {
        let trainable = named(&session.programs[Kind::Train].slots).map(|(_, slot)| slot);
        let trainable = trainable.filter(|slot| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter));
        let declared = check(session.definition).expect("the session was built from it");
        Identity {
            network: Some(session.definition.name.to_string()),
            sizes: sizes_word(session.definition),
            declaration: Some(brief(declared.identity().join("\n"))),
            optimizer: session.config.optimizer.name().to_string(),
            training: Some(brief(session.config.identity(trainable.map(|slot| slot.name.as_str())).join("\n"))),
        }
    }

    /// How the identity of a file differs from this one. A network may have another name; where nothing else is known of it,
    /// the name has to do.
    pub(super) fn differences(&self, there: &Identity) -> Vec<String> {
        let mut mistakes = Vec::new();
        let differing = |there: &Option<String>, here: &Option<String>| match (there, here) {
            (Some(there), Some(here)) => differences(there, here),
            _ => Vec::new(),
        };
        let mut declared = differing(&there.declaration, &self.declaration);
        // What follows from other sizes needs no words of its own.
        if let (Some(there), Some(here)) = (&there.sizes, &self.sizes)
            && there != here
        {
            declared = vec![differing_sizes(there, here)];
        }
        let names = there.network.as_ref().zip(self.network.as_ref()).filter(|(there, here)| there != here);
        if let Some((other, own)) = names.filter(|_| there.declaration.is_none() || !declared.is_empty()) {
            mistakes.push(format!("it is of `{}`, this session is of `{own}`", shown(other)));
        }
        mistakes.extend(declared);
        match there.optimizer == self.optimizer {
            true => mistakes.extend(differing(&there.training, &self.training)),
            false => mistakes.push(format!(
                "it was trained with {}, this session trains with {}",
                shown(&there.optimizer),
                self.optimizer
            )),
        }
        mistakes
    }
}

/// The lines in which two texts differ, those of the first called there, those of the second here. A file may say anything, in
/// millions of lines: of those nothing is kept but the first few differences.
fn differences(there: &str, here: &str) -> Vec<String> {
    let mut found = Found { told: Vec::new(), count: 0 };
    if there.lines().count() == here.lines().count() {
        let pairs = there.lines().zip(here.lines());
        pairs.filter(|(old, new)| old != new).for_each(|(old, new)| found.add(Some(old), Some(new)));
    } else {
        unpaired(there, here, &mut found);
    }
    if found.count == 0 && there != here {
        // No two lines of a declaration are the same, but a file may say anything.
        found.told.push("it has the same lines in another number".to_string());
    }
    let left = found.count - found.count.min(MOST);
    found.told.extend((left > 0).then(|| format!("and {left} more")));
    found.told
}

/// The lines that one text has and the other has not. A line with another value has a counterpart in one of the same name.
fn unpaired<'t>(there: &'t str, here: &'t str, found: &mut Found) {
    let name = |line: &'t str| line.split_once(" = ").map_or(line, |(name, _)| name);
    let mut own: HashMap<&str, bool> = here.lines().map(|line| (line, false)).collect();
    there.lines().for_each(|line| {
        own.entry(line).and_modify(|is_there| *is_there = true);
    });
    let added: Vec<&str> = here.lines().filter(|line| !own[line]).collect();
    let mut by_name: HashMap<&str, VecDeque<usize>> = HashMap::new();
    added.iter().enumerate().for_each(|(at, line)| by_name.entry(name(line)).or_default().push_back(at));
    let mut paired = vec![false; added.len()];
    for line in there.lines().filter(|line| !own.contains_key(line)) {
        let counterpart = by_name.get_mut(name(line)).and_then(VecDeque::pop_front);
        counterpart.into_iter().for_each(|at| paired[at] = true);
        found.add(Some(line), counterpart.map(|at| added[at]));
    }
    let missing = added.iter().zip(&paired).filter(|(_, paired)| !**paired);
    missing.for_each(|(line, _)| found.add(None, Some(line)));
}

/// Differences: the first of them in words, and how many there are.
struct Found {
    told: Vec<String>,
    count: usize,
}

impl Found {
    /// A line there, and what it is here.
    fn add(&mut self, there: Option<&str>, here: Option<&str>) {
        self.count += 1;
        if self.count > MOST {
            return;
        }
        self.told.push(match (there, here) {
            (Some(old), Some(new)) => format!("`{}` there is `{}` here", shown(old), shown(new)),
            (Some(old), None) => format!("`{}` is unknown here", shown(old)),
            (None, new) => format!("`{}` is missing there", shown(new.unwrap_or_default())),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, differences};

    #[test]
    fn of_very_many_lines_that_differ_a_few_are_told_at_once() {
        let lines = |count: usize, value: &str| -> String {
            (0..count).map(|index| format!("layer{index} = {value}\n")).collect()
        };
        let told = differences(&lines(200_000, "Dense(1)"), &lines(200_001, "Dense(2)"));
        assert_eq!(told.len(), MOST + 1);
        assert_eq!(told[0], "`layer0 = Dense(1)` there is `layer0 = Dense(2)` here");
        assert_eq!(told[MOST], format!("and {} more", 200_001 - MOST));
    }

    #[test]
    fn lines_are_told_with_their_counterparts() {
        let told = |there: &str, here: &str| differences(there, here).join("\n");
        assert_eq!(told("a = 1\nb = 1", "a = 1\nb = 1"), "");
        assert_eq!(told("a = 1\nb = 1", "a = 1\nb = 2"), "`b = 1` there is `b = 2` here");
        assert_eq!(told("a = 1\nb = 1", "b = 2"), "`a = 1` is unknown here\n`b = 1` there is `b = 2` here");
        assert_eq!(told("b", "a = 1\nb"), "`a = 1` is missing there");
        assert_eq!(
            told("a = 1\na = 2\na = 3", "a = 4\na = 5"),
            ["`a = 1` there is `a = 4` here", "`a = 2` there is `a = 5` here", "`a = 3` is unknown here",].join("\n")
        );
        assert_eq!(told("a\na", "a"), "it has the same lines in another number");
    }
}
