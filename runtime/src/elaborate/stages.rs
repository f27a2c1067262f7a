//! Stages: what each gives, from the layer's own shape rule.

use std::rc::Rc;

use super::numbers::{position, size};
use super::{Action, Context, MOST_NESTED, MOST_STAGES, Step, is_absurd, words};
use crate::ir::SlotKind;
use crate::ir::declared::declared_shape;
use crate::layers::{Arg, ArgKind, Gain, LayerDef, Named, Takes};
use crate::network::{At, Kind, Number, Stage, Value};
use crate::types::{DType, Dim, Shape, TensorType};

/// What the paths of a body begin with.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefix {
    /// Those of its steps.
    pub path: String,
    /// Those of their parameters.
    pub owner: String,
    /// What those of stages with names of their own begin with, where that is less: in the outermost body of a flow.
    pub of_names: Option<[String; 2]>,
}

impl Prefix {
    /// With this name after both.
    pub fn and(&self, segment: &str) -> Prefix {
        let [path, owner] = [&self.path, &self.owner].map(|prefix| format!("{prefix}{segment}"));
        Prefix { path, owner, of_names: None }
    }

    /// The path of a stage.
    fn stage(&self, stage: &Stage<'_>) -> Prefix {
        match &self.of_names {
            Some([path, owner]) if stage.named => {
                Prefix { path: path.clone(), owner: owner.clone(), of_names: None }.and(stage.segment)
            }
            _ => self.and(stage.segment),
        }
    }
}

/// How weights are to start, and the weights of another layer that stand in their place, if both were given.
fn idle(layer: &LayerDef, args: &[Arg]) -> Option<(&'static str, &'static str)> {
    let given = layer
        .args
        .iter()
        .zip(args)
        .find(|(arg, value)| matches!(arg.kind, ArgKind::Init) && arg.default != Some(**value));
    Some((given?.0.name, layer.args.iter().find_map(|arg| layer.borrowed(args, arg.name))?))
}

impl<'a> Context<'a> {
    /// The value after the last stage of a body.
    pub(super) fn body(&mut self, stages: &'a [Stage<'a>], prefix: &Prefix, x: Option<usize>) -> Option<usize> {
        self.joined(stages, prefix, x.as_slice())
    }

    /// The same of a body into which several values may flow, to be joined by its first stage.
    pub(super) fn joined(&mut self, stages: &'a [Stage<'a>], prefix: &Prefix, sources: &[usize]) -> Option<usize> {
        let mut values = sources.to_vec();
        for stage in stages {
            let result = match values[..] {
                [] => None,
                _ => self.stage(stage, prefix, &values),
            };
            match result {
                Some(value) => {
                    if stage.named {
                        self.know(&prefix.stage(stage).path, value);
                    }
                }
                None => self.complete = false,
            }
            values = result.into_iter().collect();
        }
        values.first().copied()
    }

    fn stage(&mut self, stage: &'a Stage<'a>, prefix: &Prefix, values: &[usize]) -> Option<usize> {
        self.n_stages += 1;
        if self.n_stages > MOST_STAGES {
            // Once is enough, and then there is nothing left to do.
            if self.n_stages == MOST_STAGES + 1 {
                self.report(stage.at, words::too_many_stages());
            }
            return None;
        }
        let place = prefix.stage(stage);
        if let Kind::Concat(axis) = stage.kind {
            return self.concat(stage, axis, &place, values);
        }
        if let (Kind::Layer(layer @ LayerDef { takes: Takes::Memory(_), .. }, args), &[x, memory]) =
            (&stage.kind, values)
        {
            return self.layer(stage, layer, args, &place, x, Some(memory));
        }
        let &[x] = values else {
            let takes_two = matches!(stage.kind, Kind::Layer(LayerDef { takes: Takes::Memory(_), .. }, _));
            let words = if takes_two { words::no_memory } else { words::several_values };
            self.report(stage.at, words(stage.text, values.len()));
            return None;
        };
        let inside = place.and(".");
        match &stage.kind {
            Kind::Layer(layer, args) => self.layer(stage, layer, args, &place, x, None),
            Kind::Act(index, starts) => self.act(stage, *index, starts, &place, x),
            Kind::Block(body) => self.body(body, &inside, Some(x)),
            Kind::Residual { body, skip } => self.residual(stage, body, *skip, &place, x),
            Kind::Branches { bodies } => self.branches(stage, bodies, &place, x),
            Kind::Repeat { count, body } => self.repeat(*count, body, &place, x),
            Kind::Scan(scan) => self.scan(stage, scan, &place, x),
            Kind::Shared(index) => self.shared(stage, *index, &place, x),
            Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => None,
        }
    }

    /// Adds the step of a stage, without what it does to parameters.
    pub(super) fn step(
        &mut self,
        stage: &'a Stage<'a>,
        action: Action<'a>,
        place: &Prefix,
        operands: Vec<usize>,
        shape: Shape,
    ) -> usize {
        self.push(Step {
            action,
            operands,
            path: Rc::from(place.path.as_str()),
            owner: Rc::from(place.owner.as_str()),
            again: self.reuses.is_some(),
            text: stage.text,
            ty: TensorType::f32(shape),
            at: stage.at,
            inside: self.inside,
        })
    }

    /// The shape of a value, if it is one of numbers to calculate with.
    pub(super) fn numbers(&mut self, at: At, text: &str, value: usize) -> Option<Shape> {
        let ty = self.ty(value)?;
        if ty.dtype == DType::F32 {
            return Some(ty.shape.clone());
        }
        let port = self.definition.inputs.get(value).map(|port| port.name);
        let message = words::layer_needs_floats(text, port, ty.dtype);
        self.report(at, message);
        None
    }

    /// The shape of the class ids of an input.
    fn ids(&mut self, stage: &Stage<'_>, value: usize) -> Option<Shape> {
        let ty = self.ty(value)?;
        if ty.dtype.is_index() && value < self.definition.inputs.len() {
            return Some(ty.shape.clone());
        }
        let message = words::layer_needs_ids(stage.text, ty.dtype);
        self.report(stage.at, message);
        None
    }

    fn layer(
        &mut self,
        stage: &'a Stage<'a>,
        layer: &'static LayerDef,
        args: &[Value<'a>],
        place: &Prefix,
        x: usize,
        memory: Option<usize>,
    ) -> Option<usize> {
        let x_shape = match layer.takes {
            Takes::Ids(_) => self.ids(stage, x)?,
            Takes::NumbersOrBytes if self.ty(x)?.dtype == DType::U8 => self.ty(x)?.shape.clone(),
            Takes::Numbers | Takes::NumbersOrBytes | Takes::Memory(_) => self.numbers(stage.at, stage.text, x)?,
        };
        let memory_shape = match memory {
            Some(memory) => Some(self.numbers(stage.at, stage.text, memory)?),
            None => None,
        };
        let args = self.args(layer.name, layer.args, args)?;
        if let Some((init, weight)) = idle(layer, &args) {
            self.report(stage.at, words::nothing_to_start(stage.text, init, weight));
            return None;
        }
        let misfit = match (layer.takes, &memory_shape) {
            (Takes::Memory(suits), Some(memory)) => suits(&x_shape, memory, &args).err().map(|misfit| (misfit, memory)),
            (Takes::Memory(_), None) => {
                self.report(stage.at, words::no_memory(stage.text, 1));
                return None;
            }
            _ => None,
        };
        let shape = (layer.shape)(&x_shape, &args).map_err(|misfit| (misfit, &x_shape));
        let shape = match (shape, misfit) {
            (Ok(shape), None) => shape,
            (Err((misfit, found)), _) | (_, Some((misfit, found))) => {
                self.report(stage.at, words::misfit(stage.text, &misfit, found, &self.trace.concat()));
                return None;
            }
        };
        if is_absurd(&shape) {
            self.report(stage.at, words::too_large(&format!("one row of the result of `{}`", stage.text), &shape));
            return None;
        }
        let looks_at = memory_shape.as_ref().unwrap_or(&x_shape);
        let mut named = Vec::new();
        for (_, kind, name) in layer.named(&args) {
            named.push(self.named(stage, (kind, name), looks_at, &args)?);
        }
        // How parameters start has no influence on their shapes.
        for param in (layer.params)(&x_shape, &args, Gain::Xavier) {
            let name = format!("{}.{}", place.owner, param.name);
            let shape = Shape::fixed(&declared_shape(&param.shape, param.order));
            if param.kind == SlotKind::Running {
                self.refused_in_a_loop(stage.at, words::statistics_in_a_loop(stage.text))?;
            }
            if let Some(path) = layer.borrowed(&args, param.name) {
                self.borrow(stage, path, &param.shape)?;
                continue;
            }
            if is_absurd(&shape) {
                self.report(stage.at, words::too_large(&format!("`{name}` {}", shape.declared()), &shape));
                return None;
            }
            self.own(stage.text, name, shape, param.kind)?;
        }
        if shape != x_shape {
            self.trace_to(stage.text, &shape);
        }
        let operands = [x].into_iter().chain(memory).chain(named).collect();
        Some(self.step(stage, Action::Layer(layer, args, Gain::Xavier), place, operands, shape))
    }

    /// The value of this name, if it is what an argument wants.
    pub(super) fn named(
        &mut self,
        stage: &Stage<'_>,
        (kind, name): (Named, &'static str),
        looks_at: &Shape,
        args: &[Arg],
    ) -> Option<usize> {
        let value = self.value_named(stage, name)?;
        let expected = kind.shape(looks_at, args);
        let found = self.ty(value)?.clone();
        if found.shape != expected || !kind.accepts(found.dtype) {
            self.report(stage.at, words::value_misfits(stage.text, kind, name, &expected, &found));
            return None;
        }
        Some(value)
    }

    /// The value of a name that an argument gives.
    pub(super) fn value_named(&mut self, stage: &Stage<'_>, name: &'static str) -> Option<usize> {
        if let Some(known) = self.known(name) {
            return known;
        }
        let closest = self.suggestions.closest(name, || self.names.keys().map(|known| &**known));
        let message = words::unknown_value(stage.text, name, closest);
        if self.complete {
            self.report(stage.at, message);
        }
        None
    }

    /// A parameter of another layer, whose transpose has this shape.
    fn borrow(&mut self, stage: &Stage<'_>, path: &str, own: &[usize]) -> Option<()> {
        let Some(&index) = self.by_path.get(path) else {
            let closest = self.suggestions.closest(path, || self.by_path.keys().map(String::as_str));
            let message = words::no_parameter(stage.text, path, closest);
            if self.complete {
                self.report(stage.at, message);
            }
            return None;
        };
        let expected = Shape::fixed(&own.iter().rev().copied().collect::<Vec<usize>>());
        let found = self.params[index].1.clone();
        if found != expected {
            self.report(stage.at, words::parameter_misfits(stage.text, path, &expected, &found));
            return None;
        }
        Some(())
    }

    /// A parameter of a layer, or of one that was used before, whose parameters have to be the same.
    pub(super) fn own(&mut self, text: &str, name: String, shape: Shape, kind: SlotKind) -> Option<()> {
        let Some((layer, at)) = self.reuses else {
            self.param(name, shape, kind);
            return Some(());
        };
        if kind == SlotKind::Running {
            self.report(at, words::shared_statistics(layer, text));
            return None;
        }
        let first = self.by_path.get(&name).map(|&index| &self.params[index].1);
        if first == Some(&shape) {
            return Some(());
        }
        if let Some(first) = first {
            let message = words::shared_differs(layer, &name, first, &shape);
            self.report(at, message);
        }
        None
    }

    pub(super) fn trace_to(&mut self, text: &str, shape: &Shape) {
        self.trace.push(format!(" -> {} {}", words::compact(text), words::compact(&shape.declared())));
    }

    fn act(
        &mut self,
        stage: &'a Stage<'a>,
        index: usize,
        starts: &'a [f64],
        place: &Prefix,
        x: usize,
    ) -> Option<usize> {
        let shape = self.numbers(stage.at, stage.text, x)?;
        let x_ty = TensorType::f32(shape.clone());
        let act = &self.definition.acts[index];
        let numbers = vec![TensorType::scalar(); act.extras.len()];
        // After a mistake inside, what follows is checked as if there were none: a function changes no shape.
        if let Some(found) = self.function(act, &x_ty, &numbers).filter(|found| *found != x_ty) {
            self.report(stage.at, words::act_changes_type(stage.text, &x_ty, &found));
        }
        for (name, _) in act.extras {
            self.own(stage.text, format!("{}.{name}", place.owner), Shape::scalar(), SlotKind::Parameter)?;
        }
        Some(self.step(stage, Action::Act(index, starts), place, vec![x], shape))
    }

    fn residual(
        &mut self,
        stage: &'a Stage<'a>,
        body: &'a [Stage<'a>],
        skip: Option<&'a [Stage<'a>]>,
        place: &Prefix,
        x: usize,
    ) -> Option<usize> {
        let before = self.trace.len();
        let long = self.body(body, &place.and("."), Some(x));
        let inside = self.trace.split_off(before);
        let short = match skip {
            Some(skip) => self.body(skip, &place.and(".skip."), Some(x)),
            None => Some(x),
        };
        self.trace.truncate(before);
        let (long, short) = (long?, short?);
        let [long_shape, short_shape] = [long, short].map(|value| self.numbers(stage.at, stage.text, value));
        let (long_shape, short_shape) = (long_shape?, short_shape?);
        if long_shape != short_shape {
            let trace = [self.trace.concat(), inside.concat()].concat();
            let message = words::branches_differ(skip.is_some(), &long_shape, &short_shape, &trace);
            self.report(stage.at, message);
            return None;
        }
        if self.ty(x).is_some_and(|x| x.shape != long_shape) {
            self.trace_to(stage.text, &long_shape);
        }
        Some(self.step(stage, Action::Residual, place, vec![long, short], long_shape))
    }

    fn branches(
        &mut self,
        stage: &'a Stage<'a>,
        bodies: &'a [&'a [Stage<'a>]],
        place: &Prefix,
        x: usize,
    ) -> Option<usize> {
        let before = self.trace.len();
        let mut results = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            results.push(self.body(body, &place.and(&format!(".{}.", index + 1)), Some(x)));
            self.trace.truncate(before);
        }
        let results = results.into_iter().collect::<Option<Vec<usize>>>()?;
        let shapes: Vec<Option<Shape>> =
            results.iter().map(|&value| self.numbers(stage.at, stage.text, value)).collect();
        let shapes = shapes.into_iter().collect::<Option<Vec<Shape>>>()?;
        let first = &shapes[0];
        let rest = |shape: &Shape| (shape.rank() > 1).then(|| shape.without(&[1]));
        if rest(first).is_none() || shapes.iter().any(|other| rest(other) != rest(first)) {
            self.report(stage.at, words::parts_differ(&shapes, &self.trace.concat()));
            return None;
        }
        let parts = shapes.iter().try_fold(0usize, |sum, part| sum.checked_add(part.0[1].factor()));
        let mut shape = first.clone();
        shape.0[1] = Dim::Fixed(parts.unwrap_or(usize::MAX));
        if is_absurd(&shape) {
            self.report(stage.at, words::too_large(&format!("one row of the result of `{}`", stage.text), &shape));
            return None;
        }
        if self.ty(x).is_some_and(|x| x.shape != shape) {
            self.trace_to(stage.text, &shape);
        }
        Some(self.step(stage, Action::Branches, place, results, shape))
    }

    fn repeat(&mut self, count: Number<'a>, body: &'a [Stage<'a>], place: &Prefix, x: usize) -> Option<usize> {
        let count = match size(&count) {
            Ok(count) => count?,
            Err(message) => {
                self.report(count.at, message);
                return None;
            }
        };
        let mut x = x;
        for copy in 1..=count {
            x = self.body(body, &place.and(&format!(".{copy}.")), Some(x))?;
        }
        Some(x)
    }

    /// A layer with a name: its parameters are made where it is used first.
    fn shared(&mut self, stage: &'a Stage<'a>, index: usize, place: &Prefix, x: usize) -> Option<usize> {
        let layer = self.definition.layers.get(index)?;
        self.n_nested += 1;
        if self.n_nested > MOST_NESTED {
            self.report(stage.at, words::too_many_stages());
            self.n_nested -= 1;
            return None;
        }
        let outside = self.reuses;
        if self.shared[index].is_some() {
            self.reuses = Some((layer.segment, stage.at));
        }
        self.shared[index].get_or_insert(stage.at);
        let path = place.path.clone();
        let own = Prefix { path, owner: layer.segment.to_string(), of_names: None };
        let result = match &layer.kind {
            Kind::Block(body) => self.body(body, &own.and("."), Some(x)),
            Kind::Layer(def, args) => self.layer(layer, def, args, &own, x, None),
            Kind::Act(act, starts) => self.act(layer, *act, starts, &own, x),
            Kind::Residual { body, skip } => self.residual(layer, body, *skip, &own, x),
            Kind::Branches { bodies } => self.branches(layer, bodies, &own, x),
            Kind::Repeat { count, body } => self.repeat(*count, body, &own, x),
            Kind::Scan(scan) => self.scan(layer, scan, &own, x),
            Kind::Shared(inner) => self.shared(layer, *inner, &own, x),
            Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => None,
        };
        self.reuses = outside;
        self.n_nested -= 1;
        result
    }

    /// The axis that a number stands for, if it is known.
    pub(super) fn axis(&mut self, number: Number<'a>) -> Option<i64> {
        position(&number).unwrap_or_else(|message| {
            self.report(number.at, message);
            None
        })
    }

    fn concat(&mut self, stage: &'a Stage<'a>, axis: Number<'a>, place: &Prefix, values: &[usize]) -> Option<usize> {
        if values.len() < 2 {
            self.report(stage.at, words::nothing_to_join(stage.text));
            return None;
        }
        let shapes: Option<Vec<Shape>> =
            values.iter().map(|&value| self.numbers(stage.at, stage.text, value)).collect();
        let (shapes, axis) = (shapes?, self.axis(axis)?);
        match super::flows::joined(&shapes, axis) {
            Ok((axis, shape)) if !is_absurd(&shape) => {
                self.trace_to(stage.text, &shape);
                Some(self.step(stage, Action::Concat(axis), place, values.to_vec(), shape))
            }
            Ok((_, shape)) => {
                self.report(stage.at, words::too_large(&format!("one row of the result of `{}`", stage.text), &shape));
                None
            }
            Err(message) => {
                self.report(stage.at, format!("`{}` {message}", stage.text));
                None
            }
        }
    }
}
