//! Where an operation comes from, as data: the layer, its place in the source, the pass of a step, and what became of it since.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use super::{Graph, Op};

/// A position in the user's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourcePlace {
    /// The file, as rustc names it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A part of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pass {
    /// From the inputs to the loss, with metrics and running statistics.
    Forward,
    /// From the loss to the gradients.
    Backward,
    /// From the gradients to the next parameters.
    Update,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pass::Forward => "forward pass",
            Pass::Backward => "backward pass",
            Pass::Update => "update",
        })
    }
}

/// Where a node comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The path of the layer, or the name of the loss or of a metric. What all updates have in common is `optimizer`, what all
    /// merged gradients have `accumulation`.
    pub layer: Rc<str>,
    /// Where that is declared, if it is.
    pub place: Option<SourcePlace>,
    /// The part of a step.
    pub pass: Pass,
    /// The parameter, by its name, whose update the node is part of.
    pub param: Option<Rc<str>>,
    /// The rule that put it in place of what was declared, to keep its digits.
    pub rule: Option<&'static str>,
}

impl Origin {
    /// A forward pass in this layer.
    pub fn of_layer(layer: Rc<str>, place: Option<SourcePlace>) -> Rc<Origin> {
        Rc::new(Origin { layer, place, pass: Pass::Forward, param: None, rule: None })
    }

    /// What all updates have in common, under this name.
    pub fn of_updates(name: &str) -> Rc<Origin> {
        let layer = Rc::from(name);
        Rc::new(Origin { layer, place: None, pass: Pass::Update, param: None, rule: None })
    }

    /// The same in another pass.
    pub fn in_pass(&self, pass: Pass) -> Rc<Origin> {
        Rc::new(Origin { pass, ..self.clone() })
    }

    /// The update of this parameter, which belongs to the layer of this origin.
    pub fn of_update(&self, param: &str) -> Rc<Origin> {
        Rc::new(Origin { pass: Pass::Update, param: Some(Rc::from(param)), ..self.clone() })
    }

    /// The same, after this rule.
    pub fn by_rule(&self, rule: &'static str) -> Rc<Origin> {
        Rc::new(Origin { rule: Some(rule), ..self.clone() })
    }

    /// The layer; in an update, the parameter.
    pub fn name(&self) -> &Rc<str> {
        self.param.as_ref().unwrap_or(&self.layer)
    }

    /// As printed graphs have it at the end of each line: the name, and the rule if there is one.
    pub fn label(&self) -> Rc<str> {
        match self.rule {
            None => Rc::clone(self.name()),
            Some(rule) => Rc::from(format!("{} ({rule})", self.name()).trim_start()),
        }
    }

    /// Whether both have one label.
    pub(crate) fn is_alike(&self, other: &Origin) -> bool {
        std::ptr::eq(self, other) || self.name() == other.name() && self.rule == other.rule
    }
}

/// What owns a parameter: the longest beginning of its path that does. `attention1.qkv.weight` is one of `attention1`.
pub(crate) fn owner(param: &str, owns: impl Fn(&str) -> bool) -> Option<&str> {
    let inside = std::iter::successors(Some(param), |path| Some(path.rsplit_once('.')?.0));
    inside.skip(1).find(|path| owns(path))
}

/// For every parameter, where its layer reads it first; where none does, the layer by its name.
pub(crate) fn of_params(graph: &Graph) -> Vec<Rc<Origin>> {
    let mut reads: HashMap<(usize, &str), &Rc<Origin>> = HashMap::new();
    for node in &graph.nodes {
        if let Op::Param(param) = node.op {
            reads.entry((param, &*node.origin.layer)).or_insert(&node.origin);
        }
    }
    let params = graph.slots.params.iter().enumerate().map(|(param, slot)| {
        let named = slot.name.rsplit_once('.').map_or("", |(layer, _)| layer);
        let layer = owner(&slot.name, |path| reads.contains_key(&(param, path))).unwrap_or(named);
        let read = reads.get(&(param, layer)).map(|origin| Rc::clone(origin));
        read.unwrap_or_else(|| Origin::of_layer(Rc::from(layer), None))
    });
    params.collect()
}
