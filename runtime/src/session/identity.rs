//! Whether a checkpoint is of a training like this one.
//!
//! In: what a checkpoint says of its network and its training. Out: what differs, in words, both sides of it.

use std::collections::HashSet;

use super::params::named;
use super::{Network, Session};
use crate::ir::SlotKind;
use crate::lower::check;
use crate::safetensors::shown;

/// The most differences that are told of a text.
const MOST: usize = 4;

/// What a checkpoint has to agree with for the next steps to be the same: the declaration and the training, as lines.
#[derive(Debug)]
pub(super) struct Identity {
    /// The name of the network.
    pub(super) network: Option<String>,
    /// None in a file of an earlier version, as for the training.
    pub(super) declaration: Option<String>,
    pub(super) optimizer: String,
    pub(super) training: Option<String>,
}

impl Identity {
    /// What a session is.
    pub(super) fn of<N: Network>(session: &Session<N>) -> Identity {
        let trainable = named(&session.train.slots).map(|(_, slot)| slot);
        let trainable = trainable.filter(|slot| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter));
        let declared = check(N::DEFINITION).expect("the session was built from it");
        Identity {
            network: Some(N::DEFINITION.name.to_string()),
            declaration: Some(declared.identity().join("\n")),
            optimizer: session.how.optimizer.name().to_string(),
            training: Some(session.how.identity(trainable.map(|slot| slot.name.as_str())).join("\n")),
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
        let declared = differing(&there.declaration, &self.declaration);
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

/// The lines in which two texts differ, those of the first called there, those of the second here.
fn differences(there: &str, here: &str) -> Vec<String> {
    let [old, new] = [there, here].map(|text| text.lines().collect::<Vec<&str>>());
    let mut pairs: Vec<(Option<&str>, Option<&str>)> = Vec::new();
    if old.len() == new.len() {
        let differing = old.iter().zip(&new).filter(|(old, new)| old != new);
        pairs.extend(differing.map(|(old, new)| (Some(*old), Some(*new))));
    } else {
        let [known, present]: [HashSet<&str>; 2] = [&old, &new].map(|lines| lines.iter().copied().collect());
        // By what it is called: a line with another value has a counterpart.
        let name = |line: &str| line.split_once(" = ").map_or(line, |(name, _)| name).to_string();
        let mut added: Vec<&str> = new.into_iter().filter(|line| !known.contains(line)).collect();
        for line in old.into_iter().filter(|line| !present.contains(line)) {
            let counterpart = added.iter().position(|other| name(other) == name(line));
            pairs.push((Some(line), counterpart.map(|at| added.remove(at))));
        }
        pairs.extend(added.into_iter().map(|line| (None, Some(line))));
    }
    let told = |&(old, new): &(Option<&str>, Option<&str>)| match (old, new) {
        (Some(old), Some(new)) => format!("`{}` there is `{}` here", shown(old), shown(new)),
        (Some(old), None) => format!("`{}` is unknown here", shown(old)),
        (None, new) => format!("`{}` is missing there", shown(new.unwrap_or_default())),
    };
    let mut all: Vec<String> = pairs.iter().take(MOST).map(told).collect();
    if pairs.is_empty() && there != here {
        // No two lines of a declaration are the same, but a file may say anything.
        all.push("it has the same lines in another number".to_string());
    }
    let left = pairs.len().saturating_sub(MOST);
    all.extend((left > 0).then(|| format!("and {left} more")));
    all
}
