//! From the static description of a network to its layers one by one, checked.
//!
//! In: a [`Definition`]. Out: its stages with their paths, arguments and shapes, repeated bodies written out, and every
//! mistake in them. The macro runs this on what it has resolved, with Rust constants unknown, and `build` runs it again
//! with all of them known: so there is one check, with the same words and places. What depends on something that is
//! unknown, or reported already, is passed over in silence.

mod expressions;
mod gains;
mod numbers;
mod identity;
mod paths;
mod print;
mod structures;
pub mod words;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::ir::SlotKind;
use crate::ir::declared::declared_shape;
use crate::layers::{Arg, ArgDef, Gain, LayerDef};
use crate::network::{At, Definition, Extent, Kind, Number, Port, Stage, Value};
use crate::types::{DType, Dim, Shape, TensorType};
use gains::gains;
pub use numbers::is_size;
use numbers::{argument, extent, extents, size};
use words::Suggestions;

pub(crate) use expressions::class_id;
pub(crate) use numbers::settled;

/// No extent, and no product of extents, is larger than this.
pub const LARGEST: u64 = 1 << 40;

/// As many axes as `ndarray` has types for.
pub const MOST_AXES: usize = 6;

/// More stages than anyone writes, so that a slip in a `repeat` is no endless compilation.
pub const MOST_STAGES: usize = 10_000;

/// More bodies inside one another than anyone writes, so that everything may recurse over them.
pub const MOST_NESTED: usize = 128;

/// A checked network.
#[derive(Debug)]
pub struct Elaborated<'a> {
    /// The declaration.
    pub definition: &'a Definition<'a>,
    /// The stages.
    pub body: Vec<Step<'a>>,
    /// Paths and kinds of all parameters, in order.
    pub params: Vec<(String, Shape, SlotKind)>,
}

/// A stage with everything known of it.
#[derive(Debug)]
pub struct Step<'a> {
    /// What it does.
    pub action: Action<'a>,
    /// `residual1.dense1`: names its parameters, its lines in the IR and, if it was given with `as`, its result.
    pub path: Rc<str>,
    /// Whether the declaration gives the last part of the path.
    pub named: bool,
    /// As declared.
    pub text: &'a str,
    /// The shape after it.
    pub shape: Shape,
    /// Where it is declared.
    pub at: At,
}

/// What a step does.
#[derive(Debug)]
pub enum Action<'a> {
    /// A layer, its arguments, and what the next activation asks of its weights.
    Layer(&'static LayerDef, Vec<Arg>, Gain),
    /// The function of this index, with the first values of its trainable numbers.
    Act(usize, &'a [f64]),
    /// One step after the other.
    Sequence(Vec<Step<'a>>),
    /// Two branches from one value, and their sum.
    Residual(Vec<Step<'a>>, Vec<Step<'a>>),
    /// Branches from one value, and their results one after the other along the second axis.
    Branches(Vec<Vec<Step<'a>>>),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mistake {
    /// Where.
    pub at: At,
    /// For the user.
    pub message: String,
}

impl Port<'_> {
    /// The type of the tensor, if all of it is known and makes sense.
    pub fn ty(&self) -> Option<TensorType> {
        let dims: Option<Vec<Dim>> = self.dims.iter().map(|dim| extent(dim).ok().flatten()).collect();
        let shape = Shape(dims?);
        let sound = shape.0.first() == Some(&Dim::B)
            && !shape.0[1..].contains(&Dim::B)
            && shape.rank() <= MOST_AXES
            && !is_absurd(&shape);
        sound.then_some(TensorType { dtype: self.dtype, shape })
    }

    /// The type of a port of a network without mistakes.
    pub fn known(&self) -> TensorType {
        self.ty().expect("a network without mistakes has ports that make sense")
    }
}

impl Elaborated<'_> {
    /// The paths of the layers whose training needs more rows than these.
    pub fn needs_more_than(&self, rows: usize) -> Vec<&str> {
        fn find<'s>(steps: &'s [Step<'_>], rows: usize, found: &mut Vec<&'s str>) {
            for step in steps {
                match &step.action {
                    Action::Layer(layer, ..) => {
                        found.extend(((layer.least_rows)(&step.shape) > rows).then_some(&*step.path))
                    }
                    Action::Act(..) => {}
                    Action::Sequence(steps) => find(steps, rows, found),
                    Action::Residual(body, skip) => {
                        find(body, rows, found);
                        find(skip, rows, found);
                    }
                    Action::Branches(bodies) => bodies.iter().for_each(|body| find(body, rows, found)),
                }
            }
        }
        let mut found = Vec::new();
        find(&self.body, rows, &mut found);
        found
    }
}

/// Checks a network and writes it out.
pub fn elaborate<'a>(definition: &'a Definition<'a>) -> (Elaborated<'a>, Vec<Mistake>) {
    let mut context = Context {
        definition,
        types: HashMap::new(),
        params: Vec::new(),
        by_path: HashMap::new(),
        first_inside: HashMap::new(),
        has_weights: false,
        complete: true,
        n_stages: 0,
        positions: None,
        trace: Vec::new(),
        mistakes: Vec::new(),
        known: HashSet::new(),
        suggestions: Suggestions::default(),
    };
    context.ports(definition.inputs);
    let input = match definition.inputs {
        [input] => input.ty(),
        _ => None,
    };
    if let ([port], Some(ty)) = (definition.inputs, &input) {
        context.trace.push(format!("{} {}", port.name, words::compact(&words::declared(ty))));
    }
    let (mut body, result) = context.body(definition.body, "", input);
    context.outputs(result);
    context.ports(definition.targets);
    context.clauses();
    gains(&mut body, Gain::Xavier);
    (Elaborated { definition, body, params: context.params }, context.mistakes)
}

struct Context<'a> {
    definition: &'a Definition<'a>,
    /// What is known of the names and paths in expressions.
    types: HashMap<String, TensorType>,
    params: Vec<(String, Shape, SlotKind)>,
    /// Where each parameter is among them.
    by_path: HashMap<String, usize>,
    /// The first parameter of each stage, and of each structure.
    first_inside: HashMap<String, usize>,
    has_weights: bool,
    /// Whether all stages are known, and with them all parameters and named values.
    complete: bool,
    n_stages: usize,
    /// Of how many elements the position is that the last expression gives, if that is an `argmax`.
    positions: Option<usize>,
    /// How the shape came about so far, step by step.
    trace: Vec<String>,
    mistakes: Vec<Mistake>,
    /// Those mistakes again, to be found.
    known: HashSet<Mistake>,
    suggestions: Suggestions,
}

impl<'a> Context<'a> {
    /// A function of the user's own is checked wherever it is used, but the user reads its mistakes once.
    fn report(&mut self, at: At, message: String) {
        let mistake = Mistake { at, message };
        if self.known.insert(mistake.clone()) {
            self.mistakes.push(mistake);
        }
    }

    fn ports(&mut self, ports: &[Port<'_>]) {
        for port in ports {
            self.axes(port);
            if let Some(ty) = port.ty() {
                self.types.insert(port.name.to_string(), ty);
            }
        }
    }

    /// `B` first and nowhere else, not too many axes, not too many elements.
    fn axes(&mut self, port: &Port<'_>) {
        let mut dims = Vec::new();
        for dim in port.dims {
            match extent(dim) {
                Ok(dim) => dims.push(dim),
                Err((at, message)) => {
                    self.report(at, message);
                    dims.push(None);
                }
            }
        }
        let later = port.dims.iter().skip(1).find_map(|dim| match dim {
            Extent::Batch(at) => Some(*at),
            Extent::Size(_) => None,
        });
        let known: Option<Shape> = dims.iter().copied().collect::<Option<Vec<Dim>>>().map(Shape);
        if let Some(later) = later {
            self.report(later, words::batch_not_first(port.name));
        } else if dims.len() > MOST_AXES {
            self.report(port.at, words::too_many_axes(port.name, dims.len(), MOST_AXES));
        } else if let Some(shape) = known.as_ref().filter(|shape| shape.0.first() != Some(&Dim::B)) {
            self.report(port.at, words::batch_missing(port.name, shape));
        } else if let Some(shape) = known.filter(is_absurd) {
            self.report(port.at, words::too_large(&format!("one row of `{}`", port.name), &shape));
        }
    }

    /// The steps of a body, and the type after the last.
    fn body(
        &mut self,
        stages: &'a [Stage<'a>],
        prefix: &str,
        x: Option<TensorType>,
    ) -> (Vec<Step<'a>>, Option<TensorType>) {
        let mut steps = Vec::new();
        let mut x = x;
        for stage in stages {
            let step = x.as_ref().and_then(|x| self.stage(stage, prefix, x));
            x = step.as_ref().map(|step| TensorType::f32(step.shape.clone()));
            match step {
                Some(step) => {
                    if let (true, Some(ty)) = (step.named, &x) {
                        self.types.insert(step.path.to_string(), ty.clone());
                    }
                    steps.push(step);
                }
                None => self.complete = false,
            }
        }
        (steps, x)
    }

    fn stage(&mut self, stage: &'a Stage<'a>, prefix: &str, x: &TensorType) -> Option<Step<'a>> {
        self.n_stages += 1;
        if self.n_stages > MOST_STAGES {
            // Once is enough, and then there is nothing left to do.
            if self.n_stages == MOST_STAGES + 1 {
                self.report(stage.at, words::too_many_stages());
            }
            return None;
        }
        let path = format!("{prefix}{}", stage.segment);
        let (action, shape) = match &stage.kind {
            Kind::Layer(layer, args) => self.layer(stage, layer, args, &path, x)?,
            Kind::Act(index, starts) => self.act(stage, *index, starts, &path, x)?,
            Kind::Block(body) => {
                let (steps, result) = self.body(body, &format!("{path}."), Some(x.clone()));
                (Action::Sequence(steps), result?.shape)
            }
            Kind::Residual { body, skip } => self.residual(stage, body, *skip, &path, x)?,
            Kind::Repeat { count, body } => self.repeat(*count, body, &path, x)?,
            Kind::Branches { bodies } => self.branches(stage, bodies, &path, x)?,
            Kind::Broken => return None,
        };
        Some(Step { action, path: Rc::from(path), named: stage.named, text: stage.text, shape, at: stage.at })
    }

    fn layer(
        &mut self,
        stage: &'a Stage<'a>,
        layer: &'static LayerDef,
        args: &[Value<'a>],
        path: &str,
        x: &TensorType,
    ) -> Option<(Action<'a>, Shape)> {
        if x.dtype != DType::F32 {
            let port = self.definition.inputs[0].name;
            self.report(stage.at, words::layer_needs_floats(stage.text, port, x.dtype));
            return None;
        }
        let args = self.args(layer.name, layer.args, args)?;
        let shape = match (layer.shape)(&x.shape, &args) {
            Ok(shape) => shape,
            Err(misfit) => {
                self.report(stage.at, words::misfit(stage.text, &misfit, &x.shape, &self.trace.concat()));
                return None;
            }
        };
        if is_absurd(&shape) {
            self.report(stage.at, words::too_large(&format!("one row of the result of `{}`", stage.text), &shape));
            return None;
        }
        // How parameters start has no influence on their shapes.
        for param in (layer.params)(&x.shape, &args, Gain::Xavier) {
            let name = format!("{path}.{}", param.name);
            let shape = Shape::fixed(&declared_shape(&param.shape, param.order));
            if is_absurd(&shape) {
                self.report(stage.at, words::too_large(&format!("`{name}` {}", shape.declared()), &shape));
                return None;
            }
            self.param(name, shape, param.kind);
        }
        if shape != x.shape {
            self.trace_to(stage.text, &shape);
        }
        Some((Action::Layer(layer, args, Gain::Xavier), shape))
    }

    fn trace_to(&mut self, text: &str, shape: &Shape) {
        self.trace.push(format!(" -> {} {}", words::compact(text), words::compact(&shape.declared())));
    }

    fn act(
        &mut self,
        stage: &'a Stage<'a>,
        index: usize,
        starts: &'a [f64],
        path: &str,
        x: &TensorType,
    ) -> Option<(Action<'a>, Shape)> {
        if x.dtype != DType::F32 {
            let port = self.definition.inputs[0].name;
            self.report(stage.at, words::layer_needs_floats(stage.text, port, x.dtype));
            return None;
        }
        let act = &self.definition.acts[index];
        let numbers = vec![TensorType::scalar(); act.extras.len()];
        // After a mistake inside, what follows is checked as if there were none: a function changes no shape.
        if let Some(found) = self.function(act, x, &numbers).filter(|found| found != x) {
            self.report(stage.at, words::act_changes_type(stage.text, x, &found));
        }
        for (name, _) in act.extras {
            self.param(format!("{path}.{name}"), Shape::scalar(), SlotKind::Parameter);
        }
        Some((Action::Act(index, starts), x.shape.clone()))
    }

    fn repeat(
        &mut self,
        count: Number<'a>,
        body: &'a [Stage<'a>],
        path: &str,
        x: &TensorType,
    ) -> Option<(Action<'a>, Shape)> {
        let at = count.at;
        let count = match size(&count) {
            Ok(count) => count?,
            Err(message) => {
                self.report(count.at, message);
                return None;
            }
        };
        let mut copies = Vec::new();
        let mut x = x.clone();
        for copy in 1..=count {
            let path = format!("{path}.{copy}");
            let (steps, result) = self.body(body, &format!("{path}."), Some(x));
            x = result?;
            let step = Step {
                action: Action::Sequence(steps),
                path: Rc::from(path),
                named: false,
                text: "",
                shape: x.shape.clone(),
                at,
            };
            copies.push(step);
        }
        Some((Action::Sequence(copies), x.shape))
    }

    /// The values of arguments, all of them within their ranges.
    fn args(&mut self, owner: &str, declared: &'static [ArgDef], values: &[Value<'a>]) -> Option<Vec<Arg>> {
        let mut args = Vec::new();
        for (arg, value) in declared.iter().zip(values) {
            match value {
                Value::Known(value) => args.push(*value),
                Value::Calculated(number) => match argument(owner, arg, number) {
                    Ok(value) => args.extend(value),
                    Err(message) => self.report(number.at, message),
                },
                Value::Pair(pair) => match extents(owner, arg, pair) {
                    Ok(value) => args.extend(value),
                    Err((at, message)) => self.report(at, message),
                },
                Value::Init(initializer, _, values) => {
                    let numbers = self.args(initializer.name, initializer.number.as_slice(), values);
                    args.extend(numbers.map(|numbers| initializer.with(&numbers)));
                }
                Value::Broken => {}
            }
        }
        (args.len() == declared.len()).then_some(args)
    }

    fn outputs(&mut self, result: Option<TensorType>) {
        let definition = self.definition;
        self.ports(definition.outputs);
        let [output] = definition.outputs else { return };
        let Some(declared) = output.ty() else { return };
        if let (Some(found), Some(last)) = (result, definition.body.last())
            && found != declared
        {
            self.types.remove(output.name);
            let prefix = if output.named { format!("{}: ", output.name) } else { String::new() };
            let message = words::output_mismatch(definition.name, &prefix, last.text, [&declared, &found]);
            self.report(output.at, message);
        }
    }

    fn clauses(&mut self) {
        let definition = self.definition;
        for (clause, what) in definition
            .loss
            .iter()
            .map(|loss| (loss, "the loss".to_string()))
            .chain(definition.metrics.iter().map(|metric| (metric, format!("the metric `{}`", metric.name))))
        {
            let Some(ty) = self.expr(&clause.expr, None) else { continue };
            if ty != TensorType::scalar() {
                self.report(clause.at, words::not_a_number(&what, &ty));
            }
        }
    }
}

/// Whether a shape has more elements than any machine, per row if it has the batch.
pub fn is_absurd(shape: &Shape) -> bool {
    shape.len().is_none_or(|len| len.factor() as u64 > LARGEST)
}
