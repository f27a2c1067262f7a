//! Parameters from the files of other programs, whose names and layouts differ.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::any::{AnySession, is_own};
use super::attachments::Attachments;
use super::checkpoint::{NETWORK, SCALARS, copy, read, scalars_of};
use super::params::named;
use super::predictor::AnyPredictor;
use super::programs::Kind;
use super::{Network, Predictor, Session};
use crate::compile::Program;
use crate::elaborate::words::{Suggestions, did_you_mean};
use crate::ir::ParamSlot;
use crate::network::Definition;
use crate::safetensors::{CheckpointError, Entry, File, Mistakes, shown};

/// Which tensor of a file becomes which parameter or running statistic of a network, for [`Session::load_mapped`].
///
/// What is not mentioned goes by its own name. A state dict of PyTorch, saved with `safetensors.torch.save_file`, stores the
/// weight of `Linear` as `[out, in]`, the transpose of a `Dense` weight, and names the parts of a batch norm differently:
///
/// ```
/// # use gradloom_runtime::session::NameMap;
/// let names = NameMap::new()
///     .transposed("0.weight", "dense1.weight")
///     .renamed("1.weight", "batch_norm1.gamma")
///     .renamed("1.bias", "batch_norm1.beta")
///     .renamed("1.running_mean", "batch_norm1.running_mean")
///     .renamed("1.running_var", "batch_norm1.running_var")
///     .ignored("*.num_batches_tracked")
///     .transposed("3.weight", "dense2.weight")
///     .renamed("3.bias", "dense2.bias");
/// ```
#[derive(Clone, Debug, Default)]
pub struct NameMap {
    rules: Vec<Rule>,
    ignored: Vec<String>,
    kept: Vec<String>,
}

#[derive(Clone, Debug)]
struct Rule {
    from: String,
    to: String,
    transposed: bool,
}

impl Rule {
    /// Whether it speaks of several tensors.
    fn is_pattern(&self) -> bool {
        self.from.contains('*') && self.to.contains('*')
    }
}

impl NameMap {
    /// Every tensor goes by its own name.
    pub fn new() -> NameMap {
        NameMap::default()
    }

    /// The tensor `from` of the file becomes the parameter `to`. With a `*` in both, which stands for the same letters, so do all tensors
    /// of such names that no other rule mentions: `renamed("encoder.*", "seen.*")`.
    pub fn renamed(self, from: impl Into<String>, to: impl Into<String>) -> NameMap {
        self.rule(from.into(), to.into(), false)
    }

    /// The transpose of the tensor `from` of the file, a matrix, becomes the parameter `to`. A `*` stands for the same letters in both.
    pub fn transposed(self, from: impl Into<String>, to: impl Into<String>) -> NameMap {
        self.rule(from.into(), to.into(), true)
    }

    /// The network has no use for this tensor of the file. `*` stands for any letters: `*.num_batches_tracked`.
    pub fn ignored(mut self, tensor: impl Into<String>) -> NameMap {
        self.ignored.push(tensor.into());
        self
    }

    /// This parameter of the network stays as it is, whatever the file has under its name. `*` stands for any letters: `dense3.*`.
    pub fn kept(mut self, param: impl Into<String>) -> NameMap {
        self.kept.push(param.into());
        self
    }

    fn rule(mut self, from: String, to: String, transposed: bool) -> NameMap {
        self.rules.push(Rule { from, to, transposed });
        self
    }

    /// The rules for single tensors: in place of one with a `*`, those for the tensors of the file that it speaks of. Beside them the
    /// tensors that nothing is made of, since the parameter is kept.
    fn rules_for<'f>(&self, file: &'f File) -> (Vec<Rule>, Vec<&'f str>) {
        let single = self.rules.iter().filter(|rule| !rule.is_pattern()).map(|rule| &*rule.from);
        let mentioned: HashSet<&str> = single.collect();
        let (mut rules, mut passed_over) = (Vec::new(), Vec::new());
        for rule in &self.rules {
            let (Some(from), Some(to)) = (rule.from.split_once('*'), rule.to.split_once('*')) else {
                rules.push(rule.clone());
                continue;
            };
            let mut is_met = false;
            for tensor in file.header.tensors.iter().map(|tensor| &*tensor.name) {
                let star = tensor.strip_prefix(from.0).and_then(|rest| rest.strip_suffix(from.1));
                let is_settled = mentioned.contains(tensor) || self.ignores(tensor) || is_state(file, tensor);
                let Some(star) = star.filter(|_| !is_settled) else { continue };
                is_met = true;
                let to = [to.0, star, to.1].concat();
                match self.keeps(&to) {
                    true => passed_over.push(tensor),
                    false => rules.push(Rule { from: tensor.to_string(), to, transposed: rule.transposed }),
                }
            }
            // That there is none is a mistake like any other.
            rules.extend((!is_met).then(|| rule.clone()));
        }
        (rules, passed_over)
    }

    fn keeps(&self, param: &str) -> bool {
        self.kept.iter().any(|pattern| matches(pattern, param))
    }

    fn ignores(&self, tensor: &str) -> bool {
        self.ignored.iter().any(|pattern| matches(pattern, tensor))
    }
}

/// Whether a tensor of a checkpoint is an optimizer's: `dense1.weight.m` is, whatever `dense1.weight` is called here.
fn is_state(file: &File, tensor: &str) -> bool {
    file.is_sealed() && tensor.rsplit_once('.').is_some_and(|(param, _)| file.header.tensor(param).is_some())
}

impl<N: Network> Session<N> {
    /// Takes parameters and running statistics from a file: a checkpoint, with whatever optimizer it was trained, or any other
    /// safetensors file with the names of this network. As [`Session::load_mapped`] with an empty map.
    ///
    /// # Errors
    /// As for [`Session::load_mapped`].
    pub fn load_params(&mut self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.load_mapped(path, &NameMap::new())
    }

    /// Takes parameters and running statistics from a safetensors file of any program. The optimizer's state, what
    /// was accumulated, the step count and the learning rate stay as they are.
    ///
    /// Elements of `F32`, `F16` and `BF16` are taken over exactly, those of `F64` rounded to the nearest `f32`. Every parameter
    /// and every tensor of the file has to be accounted for, by the map or by a name that both have; the optimizer's state
    /// in a checkpoint need not be.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged, names that the file or the network does not have, shapes that differ,
    /// elements that are no floats; the message names the tensors. The session is then as it was before.
    pub fn load_mapped(&mut self, path: impl AsRef<Path>, names: &NameMap) -> Result<(), CheckpointError> {
        self.any.load_mapped(path.as_ref(), names)
    }
}

impl AnySession {
    fn load_mapped(&mut self, path: &Path, names: &NameMap) -> Result<(), CheckpointError> {
        let (params, ..) = mapped(self.definition, path, names, &self.programs[Kind::Train], self.params.floats())?;
        self.params.floats_mut().copy_from_slice(&params);
        Ok(())
    }
}

impl<N: Network> Predictor<N> {
    /// Takes parameters, running statistics, scalars and what is attached from a file: a checkpoint of a trainer, of whatever optimizer, whose
    /// state is passed over, or any other safetensors file with the names of this network. As [`Predictor::load_mapped`] with an empty
    /// map.
    ///
    /// # Errors
    /// As for [`Predictor::load_mapped`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.load_mapped(path, &NameMap::new())
    }

    /// Takes parameters and running statistics from a safetensors file of any program, as [`Session::load_mapped`] does, for
    /// this predictor and those cloned from it from now on. Earlier clones keep what they have.
    ///
    /// # Errors
    /// As for [`Session::load_mapped`]. The predictor is then as it was before.
    pub fn load_mapped(&mut self, path: impl AsRef<Path>, names: &NameMap) -> Result<(), CheckpointError> {
        self.any.load_mapped(path.as_ref(), names)
    }
}

impl AnyPredictor {
    pub(super) fn load_mapped(&mut self, path: &Path, names: &NameMap) -> Result<(), CheckpointError> {
        let (params, scalars, attachments) = mapped(self.definition, path, names, &self.program, self.params.floats())?;
        let no_memory = || CheckpointError::NoMemory { path: path.to_path_buf() };
        self.own_params().ok_or_else(no_memory)?.copy_from_slice(&params);
        if let Some(scalars) = scalars {
            self.take_scalars(&scalars);
        }
        if let Some(attachments) = attachments {
            self.attachments = Arc::new(attachments);
        }
        Ok(())
    }
}

/// Whether parameters and running statistics can be had from a file by their own names.
pub(super) fn fits(program: &Program, file: &File) -> bool {
    let own: Vec<&ParamSlot> = named(&program.slots).map(|(_, slot)| slot).filter(|slot| is_own(slot.kind)).collect();
    Matching::new(&own, file, &NameMap::new()).mistakes.is_empty()
}

/// Parameters, scalars and attachments.
type Mapped = (Vec<f32>, Option<Vec<f32>>, Option<Attachments>);

/// All parameters of a program, those of the network from a file and the others as they are; of a checkpoint of this network, the
/// scalars and what is attached as well.
fn mapped(
    definition: &Definition<'static>,
    path: &Path,
    names: &NameMap,
    program: &Program,
    present: &[f32],
) -> Result<Mapped, CheckpointError> {
    let mut file = File::open(path)?;
    let own = named(&program.slots).filter(|(_, slot)| is_own(slot.kind)).collect::<Vec<_>>();
    let mut matching = Matching::new(&own.iter().map(|(_, slot)| *slot).collect::<Vec<_>>(), &file, names);
    let (saved, network) = (file.header.word(NETWORK).filter(|_| file.is_sealed()), definition.name);
    if let Some(other) = saved.filter(|saved| *saved != network && !matching.mistakes.is_empty()) {
        matching.mistakes.begin(format!("it is a checkpoint of `{}`", shown(other)));
    }
    matching.mistakes.check(path, network)?;

    let mut params = copy(present, path)?;
    for (slot, tensor, transposed) in matching.pairs {
        let (index, slot) = own[slot];
        let param = &mut params[program.params[index]..][..slot.len()];
        match transposed {
            false => read(&mut file, &tensor, slot, param, path)?,
            true => {
                let mut stored = copy(param, path)?;
                file.read(&tensor, &mut stored)?;
                let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
                for (at, float) in param.iter_mut().enumerate() {
                    *float = stored[at % rows * columns + at / rows];
                }
            }
        }
    }
    let scalars = file.header.word(SCALARS).filter(|_| file.is_sealed()).and_then(|word| scalars_of(definition, word));
    Ok((params, scalars, Attachments::of(&file)))
}

/// Parameters and the tensors that become theirs.
struct Matching {
    /// The index of a slot, its tensor, and whether that is transposed.
    pairs: Vec<(usize, Entry, bool)>,
    /// What does not fit, in words.
    mistakes: Mistakes,
}

impl Matching {
    fn new(slots: &[&ParamSlot], file: &File, names: &NameMap) -> Matching {
        let mut matching = Matching { pairs: Vec::new(), mistakes: Mistakes::default() };
        let tensors = || file.header.tensors.iter().map(|entry| &*entry.name);
        let params: HashMap<&str, usize> = slots.iter().enumerate().map(|(at, slot)| (&*slot.name, at)).collect();
        // Parameters and tensors that are spoken for.
        let (mut filled, mut used) = (HashSet::new(), HashSet::new());
        // Sorted, so that of two names as close the same is suggested every time.
        let [tensor_names, param_names] = [OnceCell::new(), OnceCell::new()];
        let tensor_names = || tensor_names.get_or_init(|| sorted(tensors().take(MOST_COMPARED))).iter().copied();
        let param_names = || param_names.get_or_init(|| sorted(params.keys().copied())).iter().copied();
        let mut suggestions = Suggestions::default();

        for pattern in names.kept.iter().filter(|pattern| !params.keys().any(|name| matches(pattern, name))) {
            matching.mistakes.add(|| format!("no parameter is `{pattern}`, which the map keeps"));
        }
        let (rules, passed_over) = names.rules_for(file);
        used.extend(passed_over);
        for rule in &rules {
            let Rule { from, to, transposed } = rule;
            let (tensor, slot) = (file.header.tensor(from), params.get(&**to));
            used.insert(&**from);
            if tensor.is_none() {
                let hint = did_you_mean(suggestions.closest(from, tensor_names));
                matching.mistakes.add(|| format!("no tensor `{from}` in the file{hint}"));
            }
            if slot.is_none() && !rule.is_pattern() {
                let hint = did_you_mean(suggestions.closest(to, param_names));
                matching.mistakes.add(|| format!("no parameter `{to}`{hint}"));
            }
            if !filled.insert(&**to) {
                matching.mistakes.add(|| format!("the map names `{to}` twice"));
            }
            if let (Some(tensor), Some(&slot)) = (tensor, slot) {
                matching.pair(slots, slot, tensor, *transposed);
            }
        }
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| !filled.contains(&*slot.name)) {
            used.insert(&slot.name);
            match file.header.tensor(&slot.name) {
                _ if names.keeps(&slot.name) => {}
                Some(tensor) => matching.pair(slots, at, tensor, false),
                None => matching.mistakes.add(|| format!("nothing in the file becomes `{}`", slot.name)),
            }
        }
        for tensor in &file.header.tensors {
            let name = &*tensor.name;
            if !(used.contains(name) || names.ignores(name) || is_state(file, name)) {
                matching.mistakes.add(|| format!("nothing here is made of `{}` in the file", shown(&tensor.name)));
            }
        }
        matching
    }

    fn pair(&mut self, slots: &[&ParamSlot], at: usize, tensor: &Entry, transposed: bool) {
        let (name, shape) = (&slots[at].name, &slots[at].declared_shape());
        let turned: Vec<usize> = tensor.shape.iter().rev().copied().collect();
        let found = || format!("`{}` is {:?} in the file", shown(&tensor.name), tensor.shape);
        if !tensor.element.is_float() {
            self.mistakes
                .add(|| format!("`{}` is of {} in the file, which is no float", shown(&tensor.name), tensor.element));
        } else if transposed && tensor.shape.len() != 2 {
            self.mistakes.add(|| format!("{}, which is no matrix to be transposed", found()));
        } else if *shape == if transposed { turned.clone() } else { tensor.shape.clone() } {
            self.pairs.push((at, tensor.clone(), transposed));
        } else {
            let of = if transposed { "the transpose of " } else { "" };
            let hint = if !transposed && turned == *shape { "; its transpose would fit" } else { "" };
            self.mistakes.add(|| format!("`{name}` is {shape:?} here, and {of}{}{hint}", found()));
        }
    }
}

/// Tensors of a file that a name is compared with: of very many only the first.
const MOST_COMPARED: usize = 10_000;

fn sorted<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names
}

/// Whether a name is what a pattern says, in which `*` stands for any letters, also for none.
fn matches(pattern: &str, name: &str) -> bool {
    let (first, rest) = match pattern.split_once('*') {
        None => return pattern == name,
        Some(parts) => parts,
    };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_letters() {
        let fits = [
            ("", ""),
            ("a", "a"),
            ("*", ""),
            ("*", "a.b"),
            ("a*", "a"),
            ("*a", "ba"),
            ("a*c", "abc"),
            ("a*b*c", "abbc"),
            ("**", "x"),
        ];
        assert!(fits.iter().all(|(pattern, name)| matches(pattern, name)));
        let misfits =
            [("", "a"), ("a", ""), ("a*", "ba"), ("*a", "ab"), ("a*a", "a"), ("a*b*c", "acb"), ("a*bb*c", "abc")];
        assert!(!misfits.iter().any(|(pattern, name)| matches(pattern, name)));
    }
}
