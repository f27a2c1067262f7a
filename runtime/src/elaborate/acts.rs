//! The functions of the user's own as text, each said once.
//!
//! One from elsewhere may have the name of another that computes something else: then the second of them has a number after its
//! name, `half#2`, which nobody can have written.

use super::print::{expression, number};
use crate::network::{Act, Definition, Expr};

/// The functions of a network, and what they are called.
pub(super) struct Acts<'e> {
    pub definition: &'e Definition<'e>,
    /// Whether it matters how trainable numbers start.
    with_starts: bool,
    /// By index, and empty for those without a name.
    labels: Vec<String>,
    /// Of each that computes something else than those before it, its name, its label and its text.
    known: Vec<(&'e str, String, String)>,
}

impl<'e> Acts<'e> {
    pub fn new(definition: &'e Definition<'e>, with_starts: bool) -> Acts<'e> {
        let labels = vec![String::new(); definition.acts.len()];
        let mut acts = Acts { definition, with_starts, labels, known: Vec::new() };
        (0..definition.acts.len()).for_each(|index| acts.call(index));
        acts
    }

    /// Gives a function its label, after those that it calls.
    fn call(&mut self, index: usize) {
        let act = &self.definition.acts[index];
        let Some(name) = act.name.filter(|_| self.labels[index].is_empty()) else { return };
        called(&act.expr, &mut |inner| self.call(inner));
        let text = self.function(act, None);
        let same = self.known.iter().find(|(known, _, other)| *known == name && *other == text);
        self.labels[index] = match (same, self.known.iter().filter(|(known, ..)| *known == name).count()) {
            (Some((_, label, _)), _) => label.clone(),
            (None, 0) => name.to_string(),
            (None, before) => format!("{name}#{}", before + 1),
        };
        if same.is_none() {
            self.known.push((name, self.labels[index].clone(), text));
        }
    }

    /// What a function with a name is called.
    pub fn label(&self, index: usize) -> &str {
        &self.labels[index]
    }

    /// Those with names, as they are declared.
    pub fn declared(&self) -> impl Iterator<Item = String> + '_ {
        self.known.iter().map(|(_, label, text)| format!("act {label} = {text}"))
    }

    /// `|x, beta = 1| x * sigmoid(beta * x)`, with what its numbers start from in place of what it says itself.
    pub fn function(&self, act: &Act<'_>, starts: Option<&[f64]>) -> String {
        let extras = act.extras.iter().enumerate().map(|(index, (name, default))| match self.with_starts {
            true => format!("{name} = {}", number(starts.map_or(*default, |starts| starts[index]))),
            false => (*name).to_string(),
        });
        let names: Vec<String> = std::iter::once(act.operand.to_string()).chain(extras).collect();
        format!("|{}| {}", names.join(", "), expression(self, &act.expr))
    }
}

/// The functions that an expression calls.
fn called(expr: &Expr<'_>, call: &mut dyn FnMut(usize)) {
    let mut all = |operands: &[Expr<'_>]| operands.iter().for_each(|operand| called(operand, call));
    match *expr {
        Expr::Neg(_, x) | Expr::Not(_, x) | Expr::Apply(_, _, _, x) | Expr::Part(_, x, _) => called(x, call),
        Expr::Binary(_, _, x, y) => all(&[*x, *y]),
        Expr::If(_, p, x, y) => all(&[*p, *x, *y]),
        Expr::Call(_, _, _, operands) | Expr::Elsewhere(_, operands) => all(operands),
        Expr::Inline(index, _, operands) => {
            all(operands);
            call(index);
        }
        Expr::Number(_) | Expr::Constant(..) | Expr::Name(_) | Expr::Path(..) | Expr::Weights(_) | Expr::Broken => {}
    }
}
