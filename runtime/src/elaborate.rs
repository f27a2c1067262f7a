//! From the static description of a network to its layers one by one, checked.
//!
//! In: a [`Definition`]. Out: its stages with their paths, arguments and shapes, repeated bodies written out, and every
//! mistake in them. The macro runs this on what it has resolved, with Rust constants unknown, and `build` runs it again
//! with all of them known: so there is one check, with the same words and places. What depends on something that is
//! unknown, or reported already, is passed over in silence.

mod acts;
pub mod arguments;
mod expressions;
mod gains;
mod numbers;
mod identity;
mod loops;
mod paths;
mod ports;
mod print;
mod stages;
mod flows;
pub mod words;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::ir::SlotKind;
use crate::layers::{Arg, ArgDef, Gain, LayerDef};
use crate::network::{At, Definition, Expr, Scan, Value};
use crate::types::{Shape, TensorType};
use gains::gains;
pub use loops::Inside;
pub use numbers::is_size;
use numbers::{argument, extents, list};
use words::Suggestions;

pub(crate) use expressions::{class_id, parts};
pub(crate) use numbers::settled;

/// No extent, and no product of extents, is larger than this.
pub const LARGEST: u64 = 1 << 40;

/// As many axes as `ndarray` has types for.
pub const MOST_AXES: usize = 6;

/// More stages than anyone writes, so that a slip in a `repeat` is no endless compilation.
pub const MOST_STAGES: usize = 10_000;

/// More bodies inside one another than anyone writes, so that everything may recurse over them.
pub const MOST_NESTED: usize = 128;

/// A checked network: its steps one after the other, each of which makes a value of values before it. Values are numbered: the
/// inputs first, then the results of the steps.
#[derive(Debug)]
pub struct Elaborated<'a> {
    /// The declaration.
    pub definition: &'a Definition<'a>,
    /// The steps.
    pub steps: Vec<Step<'a>>,
    /// The names and paths that expressions know values by.
    pub names: HashMap<Rc<str>, usize>,
    /// The values of the output ports.
    pub outputs: Vec<usize>,
    /// Paths and kinds of all parameters, in order.
    pub params: Vec<(String, Shape, SlotKind)>,
    /// The bodies of loops of the user's own.
    pub loops: Vec<Inside>,
}

/// A step with everything known of it.
#[derive(Debug)]
pub struct Step<'a> {
    /// What it does.
    pub action: Action<'a>,
    /// The values that it takes. Those that an expression names are not among them.
    pub operands: Vec<usize>,
    /// `residual1.dense1`: names its lines in the IR and, if it was given with `as`, its result.
    pub path: Rc<str>,
    /// What the paths of its parameters begin with: its own path, or that of the layer with a name that it is part of.
    pub owner: Rc<str>,
    /// Whether the parameters are those of an earlier step.
    pub again: bool,
    /// As declared.
    pub text: &'a str,
    /// The type of its result.
    pub ty: TensorType,
    /// Where it is declared.
    pub at: At,
    /// The loop whose body it is part of.
    pub inside: Option<usize>,
}

/// What a step does.
#[derive(Debug)]
pub enum Action<'a> {
    /// A layer, its arguments, and what the next activation asks of its weights.
    Layer(&'static LayerDef, Vec<Arg>, Gain),
    /// The function of this index, with the first values of its trainable numbers.
    Act(usize, &'a [f64]),
    /// What an expression comes to.
    Expr(&'a Expr<'a>),
    /// The sum of the two branches of a `residual`.
    Residual,
    /// The results of bodies side by side, one after the other along the second axis.
    Branches,
    /// Values one after the other along an axis.
    Concat(usize),
    /// Of a number of parts of equal size along an axis, the one of this index.
    Part {
        /// The axis.
        axis: usize,
        /// Which part.
        index: usize,
        /// The extent of a part.
        len: usize,
    },
    /// A trained number of a loop: its name, and how it starts.
    Number(&'a str, f64),
    /// The state of a loop before the step: the first time its operand, or zero if it has none.
    State {
        /// How many steps there are.
        steps: usize,
        /// Whether the last position comes first.
        reverse: bool,
    },
    /// The element of a sequence, its second operand, at the step of the loop whose state is the first.
    Element,
    /// The end of a loop with these arguments: its states, from the one before a step, the one after it, and the lengths.
    Scan(&'a Scan<'a>, Vec<Arg>),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mistake {
    /// Where.
    pub at: At,
    /// For the user.
    pub message: String,
}

impl Elaborated<'_> {
    /// The layers whose training needs more rows than these, by what the paths of their parameters begin with.
    pub fn needs_more_than(&self, rows: usize) -> Vec<&str> {
        let needs = |step: &&Step<'_>| matches!(&step.action, Action::Layer(layer, ..) if (layer.least_rows)(&step.ty.shape) > rows);
        self.steps.iter().filter(needs).map(|step| &*step.owner).collect()
    }
}

/// Checks a network and writes it out.
pub fn elaborate<'a>(definition: &'a Definition<'a>) -> (Elaborated<'a>, Vec<Mistake>) {
    let mut context = Context {
        definition,
        steps: Vec::new(),
        values: Vec::new(),
        names: HashMap::new(),
        types: HashMap::new(),
        outputs: Vec::new(),
        shared: definition.layers.iter().map(|_| None).collect(),
        reuses: None,
        params: Vec::new(),
        by_path: HashMap::new(),
        first_inside: HashMap::new(),
        has_weights: false,
        complete: true,
        n_stages: 0,
        n_nested: 0,
        in_flow: false,
        loops: Vec::new(),
        inside: None,
        positions: None,
        trace: Vec::new(),
        mistakes: Vec::new(),
        known: HashSet::new(),
        used: HashSet::new(),
        suggestions: Suggestions::default(),
    };
    for &(at, message) in definition.assembled.map_or(&[][..], |assembled| assembled.mistakes) {
        context.report(at, message.to_string());
    }
    context.ports(definition.inputs);
    for (value, port) in definition.inputs.iter().enumerate() {
        context.values.push(port.ty());
        context.names.insert(Rc::from(port.name), value);
    }
    for scalar in definition.scalars {
        context.types.insert(scalar.name.to_string(), TensorType::scalar());
    }
    context.ports(definition.outputs);
    match definition.flows {
        [] => context.pipeline(),
        flows => flows.iter().for_each(|flow| context.flow(flow)),
    }
    context.ports(definition.targets);
    context.clauses();
    context.unused();
    let Context { mut steps, names, outputs, params, loops, mistakes, .. } = context;
    gains(&mut steps, definition.inputs.len());
    (Elaborated { definition, steps, names, outputs, params, loops }, mistakes)
}

struct Context<'a> {
    definition: &'a Definition<'a>,
    steps: Vec<Step<'a>>,
    /// The types of the inputs and of the results of the steps; none of an input that makes no sense.
    values: Vec<Option<TensorType>>,
    /// The names that expressions know values by.
    names: HashMap<Rc<str>, usize>,
    /// What is known of the names and paths in expressions.
    types: HashMap<String, TensorType>,
    outputs: Vec<usize>,
    /// Of the layers with names, where each was used first.
    shared: Vec<Option<At>>,
    /// Within a layer that was used before: the layer, and where it is used now.
    reuses: Option<(&'a str, At)>,
    params: Vec<(String, Shape, SlotKind)>,
    /// Where each parameter is among them.
    by_path: HashMap<String, usize>,
    /// The first parameter of each stage, and of each structure.
    first_inside: HashMap<String, usize>,
    has_weights: bool,
    /// Whether all stages are known, and with them all parameters and named values.
    complete: bool,
    n_stages: usize,
    /// Whether the expression is that of a flow, in which each row stands for itself.
    in_flow: bool,
    /// The bodies of loops so far.
    loops: Vec<Inside>,
    /// The one of them that is read.
    inside: Option<usize>,
    /// Layers with names inside one another.
    n_nested: usize,
    /// Of how many elements the position is that the last expression gives, if that is an `argmax`.
    positions: Option<usize>,
    /// How the shape came about so far, step by step.
    trace: Vec<String>,
    mistakes: Vec<Mistake>,
    /// Those mistakes again, to be found.
    known: HashSet<Mistake>,
    /// The names that something takes a value by.
    used: HashSet<&'a str>,
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

    /// The type of a value that a step gives, or that is an input.
    fn ty(&self, value: usize) -> Option<&TensorType> {
        self.values.get(value)?.as_ref()
    }

    /// Adds a step; its result is the value that is returned.
    fn push(&mut self, step: Step<'a>) -> usize {
        self.values.push(Some(step.ty.clone()));
        self.steps.push(step);
        self.values.len() - 1
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
                Value::List(numbers, known) => match list(owner, arg, numbers, known) {
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
