//! Loops of the user's own, written out: their trained numbers, the state, the element, the steps of the body, and the end.

use std::collections::HashMap;
use std::rc::Rc;

use super::stages::Prefix;
use super::{Action, Context, Elaborated, Step, is_absurd, words};
use crate::ir::SlotKind;
use crate::layers::{Misfit, Named};
use crate::network::{At, Flow, Scan, Stage};
use crate::types::{Dim, Shape, TensorType};

/// The body of a loop, with what its expressions know beside the names of the network.
#[derive(Debug)]
pub struct Inside {
    /// What the paths of its steps begin with.
    pub path: String,
    /// What the paths of its parameters begin with.
    pub owner: String,
    /// The loop around it, if it is inside of one.
    pub outer: Option<usize>,
    /// How often the body is run: once for each step, at each step of the loops around.
    pub times: usize,
    /// The values by their names; none where a mistake was reported.
    pub names: HashMap<Rc<str>, Option<usize>>,
}

impl Elaborated<'_> {
    /// The value that an expression of this step knows by a name or path.
    pub fn named(&self, step: &Step<'_>, name: &str) -> Option<usize> {
        let mut around = step.inside.into_iter().flat_map(|inside| self.around(inside));
        let own = around.find_map(|inside| self.loops[inside].names.get(name));
        own.copied().unwrap_or_else(|| self.names.get(name).copied())
    }

    /// A loop and those around it, the innermost first.
    pub fn around(&self, inside: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(inside), |&inside| self.loops[inside].outer)
    }
}

impl<'a> Context<'a> {
    pub(super) fn scan(&mut self, stage: &'a Stage<'a>, scan: &'a Scan<'a>, place: &Prefix, x: usize) -> Option<usize> {
        let shape = self.numbers(stage.at, stage.text, x)?;
        let args = self.args("scan", Scan::ARGS, scan.args)?;
        let (rows, steps, element) = match shape.0[..] {
            [rows, Dim::Fixed(steps), _, ..] if rows.is_batch() => (rows, steps, shape.without(&[1])),
            _ => {
                let hint = "`reshape(x, [B, T, 1])` makes a row of each number".to_string();
                let hint = (shape.rank() == 2).then_some(hint);
                let misfit = Misfit { needs: "a sequence [B, T, ..] with a row for each element".to_string(), hint };
                self.report(stage.at, words::misfit(stage.text, &misfit, &shape, &self.trace.concat()));
                return None;
            }
        };
        let times = self.inside.map_or(1, |around| self.loops[around].times).saturating_mul(steps);
        let initial = match Scan::initial(&args) {
            Some(name) => Some((name, self.value_named(stage, name)?)),
            None => None,
        };
        let lengths = match Scan::lengths(&args) {
            Some(name) => Some(self.named(stage, (Named::Lengths, name), &shape, &args)?),
            None => None,
        };
        let state = match (Scan::size(&args), initial) {
            (Some(n), _) => Shape(vec![rows, Dim::Fixed(n)]),
            (None, Some((_, initial))) => self.ty(initial)?.shape.clone(),
            (None, None) => element.clone(),
        };
        if let Some((name, initial)) = initial {
            let found = self.ty(initial)?.clone();
            if found != TensorType::f32(state.clone()) || state.0.first() != Some(&rows) {
                self.report(stage.at, words::initial_misfits(stage.text, name, Scan::size(&args), &found));
                return None;
            }
        }
        let history: Shape = Shape([&[rows, Dim::Fixed(steps)], &state.0[1..]].concat());
        if is_absurd(&history) {
            self.report(stage.at, words::too_large(&format!("one row of the states of `{}`", stage.text), &history));
            return None;
        }
        let trace = std::mem::take(&mut self.trace);
        let from = (x, initial.map(|(_, value)| value), lengths);
        let (first, own) = (self.steps.len(), self.loops.len());
        let head = Action::State { steps, reverse: Scan::is_reverse(&args) };
        let ends = self.steps_of(stage, scan, place, from, [&state, &element], (head, times));
        self.trace = trace;
        let [before, after] = ends?;
        // What a step makes may be computed, or kept, for all of them at once. Loops in the body have been asked by themselves.
        let made = self.steps[first..].iter().filter(|step| step.inside == Some(own));
        let mut whole = made.map(|step| step.ty.shape.stacked(times));
        if let Some(large) = whole.find(is_absurd) {
            self.report(
                stage.at,
                words::too_large(&format!("one row of what `{}` makes in all of its steps", stage.text), &large),
            );
            return None;
        }
        let shape = if Scan::is_last(&args) { state } else { history };
        if self.ty(x).is_some_and(|x| x.shape != shape) {
            self.trace_to(stage.text, &shape);
        }
        let operands = [before, after].into_iter().chain(lengths).collect();
        Some(self.step(stage, Action::Scan(scan, args), place, operands, shape))
    }

    /// The numbers, the state, the element and the lines of a body; the state before a step, and the one after it.
    fn steps_of(
        &mut self,
        stage: &'a Stage<'a>,
        scan: &'a Scan<'a>,
        place: &Prefix,
        (x, initial, lengths): (usize, Option<usize>, Option<usize>),
        [state, element]: [&Shape; 2],
        (head, times): (Action<'a>, usize),
    ) -> Option<[usize; 2]> {
        let (last, lines) = scan.lines.split_last()?;
        let mut names = HashMap::new();
        for (name, start) in scan.numbers {
            self.own(stage.text, format!("{}.{name}", place.owner), Shape::scalar(), SlotKind::Parameter)?;
            let action = Action::Number(name, *start);
            let number = self.named_step(stage, place, (name, action), Vec::new(), Shape::scalar());
            names.insert(Rc::from(*name), Some(number));
        }
        let (index, outer) = (self.loops.len(), self.inside);
        self.inside = Some(index);
        let before = self.named_step(stage, place, (scan.state, head), initial.into_iter().collect(), state.clone());
        names.insert(Rc::from(scan.state), Some(before));
        let operands = [before, x].into_iter().chain(lengths).collect();
        let of_step = self.named_step(stage, place, (scan.element, Action::Element), operands, element.clone());
        names.insert(Rc::from(scan.element), Some(of_step));
        let [path, owner] = [&place.path, &place.owner].map(|path| format!("{path}."));
        self.loops.push(Inside { path, owner, outer, times, names });
        lines.iter().for_each(|line| self.flow(line));
        let after = self.value_of(last);
        self.inside = outer;
        let after = after?;
        let found = self.ty(after)?.clone();
        if found != TensorType::f32(state.clone()) {
            self.report(last.at, words::state_changes(stage.text, scan.state, state, &found));
            return None;
        }
        Some([before, after])
    }

    /// A step of a loop that goes by a name of its own.
    fn named_step(
        &mut self,
        stage: &'a Stage<'a>,
        place: &Prefix,
        (name, action): (&str, Action<'a>),
        operands: Vec<usize>,
        shape: Shape,
    ) -> usize {
        let path: Rc<str> = Rc::from(format!("{}.{name}", place.path));
        let (owner, again) = (Rc::from(place.owner.as_str()), self.reuses.is_some());
        let (ty, at, inside) = (TensorType::f32(shape), stage.at, self.inside);
        self.push(Step { action, operands, path, owner, again, text: stage.text, ty, at, inside })
    }

    /// The path of what is called so in the body that is read.
    pub(super) fn path_of(&self, name: &str) -> String {
        match self.inside {
            Some(_) if name.is_empty() => self.path_without_a_name("next"),
            Some(inside) => format!("{}{name}", self.loops[inside].path),
            None => name.to_string(),
        }
    }

    /// The path of what has no name in the body that is read: this one, or where that is the name of something else, one like it.
    pub(super) fn path_without_a_name(&self, like: &str) -> String {
        let Some(inside) = self.inside else { return like.to_string() };
        let Inside { path, names, .. } = &self.loops[inside];
        let mut candidates = std::iter::once(like.to_string()).chain((2..).map(|n| format!("{like}_{n}")));
        let free = candidates.find(|name| !names.contains_key(name.as_str()));
        format!("{path}{}", free.expect("there are more numbers than names"))
    }

    /// The values of this name in the bodies that are read, the innermost first; nothing inside after a mistake.
    fn own_name(&self, name: &str) -> Option<Option<usize>> {
        let mut around = std::iter::successors(self.inside, |&inside| self.loops[inside].outer);
        around.find_map(|inside| self.loops[inside].names.get(name)).copied()
    }

    /// What the paths of the stages of a line begin with.
    pub(super) fn prefix(&self, flow: &Flow<'_>) -> Prefix {
        let outside = match self.inside {
            Some(inside) => [&self.loops[inside].path, &self.loops[inside].owner].map(String::clone),
            None => [const { String::new() }; 2],
        };
        let own = if flow.name.is_empty() { String::new() } else { format!("{}.", flow.name) };
        let [path, owner] = [0, 1].map(|which: usize| format!("{}{own}", outside[which]));
        Prefix { path, owner, of_names: Some(outside) }
    }

    /// Makes a value known by its path: in the body of a loop, by what comes after that of the loop.
    pub(super) fn know(&mut self, path: &str, value: usize) {
        if let Some(inside) = self.inside {
            let Inside { path: own, names, .. } = &mut self.loops[inside];
            names.insert(Rc::from(path.strip_prefix(own.as_str()).unwrap_or(path)), Some(value));
            return;
        }
        let Some(ty) = self.ty(value).cloned() else { return };
        self.names.insert(Rc::from(path), value);
        self.types.insert(path.to_string(), ty);
    }

    /// The value of this name, if there is one; nothing inside after a mistake.
    pub(super) fn known(&mut self, name: &'a str) -> Option<Option<usize>> {
        let own = self.own_name(name);
        if own.is_some() {
            return own;
        }
        self.used.insert(name);
        self.names.get(name).map(|&value| Some(value))
    }

    /// The type of what goes by this name.
    pub(super) fn type_of(&mut self, name: &'a str) -> Option<TensorType> {
        if let Some(value) = self.own_name(name) {
            return value.and_then(|value| self.ty(value).cloned());
        }
        self.used.insert(name);
        self.types.get(name).cloned()
    }

    /// The type of a value or parameter by its path from the body that is read, if there is one; nothing inside after a mistake.
    pub(super) fn inner_path(&self, path: &str) -> Option<Option<TensorType>> {
        if let Some(value) = self.own_name(path) {
            return Some(value.and_then(|value| self.ty(value).cloned()));
        }
        let mut around = std::iter::successors(self.inside, |&inside| self.loops[inside].outer);
        let index = around.find_map(|inside| self.by_path.get(&format!("{}{path}", self.loops[inside].owner)))?;
        Some(Some(TensorType::f32(self.params[*index].1.clone())))
    }

    /// The loop among whose values this path is, if it is.
    pub(super) fn of_loop(&self, path: &str) -> Option<&str> {
        let found = self
            .loops
            .iter()
            .find(|known| path.strip_prefix(known.path.as_str()).is_some_and(|name| known.names.contains_key(name)));
        found.map(|known| known.path.trim_end_matches('.'))
    }

    /// Says so where a layer cannot be part of a body.
    pub(super) fn refused_in_a_loop(&mut self, at: At, message: String) -> Option<()> {
        if self.inside.is_none() {
            return Some(());
        }
        self.report(at, message);
        None
    }
}
