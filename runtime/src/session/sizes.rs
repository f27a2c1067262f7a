//! The sizes that are chosen when a program runs: how a checkpoint has them.

use std::path::Path;

use super::checkpoint::SIZES;
use super::{Network, Predictor, Session};
use crate::assembly::Sizes;
use crate::network::Definition;
use crate::safetensors::{CheckpointError, File, shown};

impl<N: Network> Session<N> {
    /// The sizes of this network that were chosen, each in a field.
    pub fn sizes(&self) -> N::Sizes {
        sizes_of::<N>(self.any.definition)
    }
}

impl<N: Network> Predictor<N> {
    /// The sizes of this network that were chosen, each in a field.
    pub fn sizes(&self) -> N::Sizes {
        sizes_of::<N>(self.any.definition)
    }
}

/// The sizes that a declaration was assembled with.
pub(super) fn sizes_of<N: Network>(definition: &Definition<'_>) -> N::Sizes {
    N::Sizes::from_values(&definition.sizes().iter().map(|size| size.value).collect::<Vec<usize>>())
}

/// A declaration with other sizes; those that are not chosen are as before.
pub(super) fn with<N: Network>(
    before: &'static Definition<'static>,
    choose: impl FnOnce(&mut N::Sizes),
) -> &'static Definition<'static> {
    let mut sizes = sizes_of::<N>(before);
    choose(&mut sizes);
    N::definition(&sizes)
}

/// `hidden = 64, depth = 2`; none of a network without such sizes.
pub(super) fn sizes_word(definition: &Definition<'_>) -> Option<String> {
    let sizes: Vec<String> = definition.sizes().iter().map(|size| format!("{} = {}", size.name, size.value)).collect();
    (!sizes.is_empty()).then(|| sizes.join(", "))
}

/// How to choose the sizes of a file.
pub(super) fn differing_sizes(there: &str, here: &str) -> String {
    format!(
        "its sizes are `{}`, those of this session `{here}`; choose them with `.with(|sizes| ..)`, or with `.sizes_of(path)`",
        shown(there)
    )
}

/// The sizes that a checkpoint was saved with, if it says anything of them and this network has any.
pub(super) fn sizes_in<N: Network>(path: &Path) -> Result<Option<N::Sizes>, CheckpointError> {
    let values = if N::Sizes::NAMES.is_empty() { None } else { values_in(path, N::Sizes::NAMES)? };
    Ok(values.map(|values| N::Sizes::from_values(&values)))
}

/// The values of sizes of these names, if a checkpoint says anything of sizes.
fn values_in(path: &Path, names: &[&str]) -> Result<Option<Vec<usize>>, CheckpointError> {
    let file = File::open(path)?;
    let Some(word) = file.header.word(SIZES).filter(|_| file.is_sealed()) else { return Ok(None) };
    let foreign = || CheckpointError::Foreign {
        path: path.to_path_buf(),
        reason: format!("`{SIZES}` is `{}`, and the sizes of this network are {}", shown(word), names.join(", ")),
    };
    let values: Option<Vec<usize>> = word
        .split(", ")
        .enumerate()
        .map(|(index, part)| {
            let (name, value) = part.split_once(" = ")?;
            names.get(index).filter(|known| **known == name)?;
            value.parse().ok()
        })
        .collect();
    match values {
        Some(values) if values.len() == names.len() => Ok(Some(values)),
        _ => Err(foreign()),
    }
}
