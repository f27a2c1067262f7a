//! Every message of the macro, one function each, and the sink that collects them.
//!
//! In: what is wrong, from any phase. Out: a `compile_error!` per mistake, at its token. Call sites carry no wording. A
//! message names what was written, what was wanted and what was found.

use std::collections::HashSet;

use gradloom_runtime::layers::{ArgDef, ArgKind, Misfit};
use gradloom_runtime::types::{DType, Shape, TensorType};
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote_spanned;

use crate::ast::{Site, text};

/// The mistakes found so far.
#[derive(Default)]
pub struct Errors {
    mistakes: Vec<Mistake>,
    lost: HashSet<String>,
}

/// A message and where it belongs.
struct Mistake {
    site: Site,
    message: String,
}

impl Errors {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// One `compile_error!` per mistake, in the order of the source.
    pub fn to_tokens(&self) -> TokenStream {
        self.sorted().into_iter().map(Mistake::to_tokens).collect()
    }

    /// `line:column: message`, as tests pin them.
    #[cfg(test)]
    pub fn to_text(&self) -> String {
        let line = |mistake: &Mistake| {
            let at = mistake.site.start.start();
            format!("{}:{}: {}\n", at.line, at.column + 1, mistake.message)
        };
        self.sorted().into_iter().map(line).collect()
    }

    /// Each phase goes through the whole declaration, but the user reads it once.
    fn sorted(&self) -> Vec<&Mistake> {
        let mut mistakes: Vec<&Mistake> = self.mistakes.iter().collect();
        mistakes.sort_by_key(|mistake| {
            let start = mistake.site.start.start();
            (start.line, start.column)
        });
        mistakes
    }

    /// Remembers the names in what the parser passes over: they may well have been defined there.
    pub fn lose(&mut self, tree: TokenTree) {
        let mut left = vec![tree];
        while let Some(tree) = left.pop() {
            match tree {
                TokenTree::Ident(name) => drop(self.lost.insert(text(&name))),
                TokenTree::Group(group) => left.extend(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Whether the parser passed over this name.
    pub fn is_lost(&self, name: &Ident) -> bool {
        self.lost.contains(&text(name))
    }

    fn report(&mut self, site: impl Into<Site>, message: String) {
        self.mistakes.push(Mistake { site: site.into(), message });
    }
}

impl Mistake {
    /// The path of the macro starts at the first token and its argument ends at the last: rustc underlines all between.
    fn to_tokens(&self) -> TokenStream {
        let Site { start, end } = self.site;
        let message = &self.message;
        let path = quote_spanned!(start=> ::core::compile_error!);
        let argument = quote_spanned!(end=> { #message });
        quote::quote!(#path #argument)
    }
}

/// Grammar.
impl Errors {
    pub fn expected_at(&mut self, site: impl Into<Site>, wanted: &str, found: &str) {
        self.report(site, format!("expected {wanted}, found {found}"));
    }

    /// What syn says of the parts of the grammar that are Rust's own.
    pub fn syntax(&mut self, error: &syn::Error) {
        self.report(error.span(), error.to_string());
    }

    pub fn not_yet(&mut self, site: impl Into<Site>, what: &str) {
        self.report(site, format!("{what} is not supported yet"));
    }

    pub fn port_without_shape(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` needs a shape: `{name}: [B, ...]`"));
    }

    pub fn clause_without_network(&mut self, keyword: &Ident) {
        self.report(keyword, format!("`{keyword}` comes after the network that it belongs to"));
    }

    pub fn comparison_chain(&mut self, site: impl Into<Site>) {
        self.report(site, "comparisons cannot be chained; compare two values at a time".to_string());
    }

    pub fn method(&mut self, name: &Ident) {
        self.report(name, format!("expressions have no methods; write `{name}(x)`"));
    }

    pub fn number_suffix(&mut self, site: impl Into<Site>, suffix: &str, digits: &str) {
        self.report(site, format!("numbers have no suffix here: write `{digits}` without `{suffix}`"));
    }

    pub fn number_too_large(&mut self, site: impl Into<Site>, digits: &str) {
        self.report(site, format!("`{digits}` is too large"));
    }

    pub fn too_deep(&mut self, site: impl Into<Site>) {
        self.report(site, "this expression nests too deeply".to_string());
    }
}

/// Names.
impl Errors {
    pub fn unknown_layer(&mut self, name: &Ident, closest: Option<&str>) {
        let kind = if text(name).starts_with(char::is_uppercase) { "layer" } else { "activation" };
        self.report(name, format!("unknown {kind} `{name}`{}", did_you_mean(closest)));
    }

    pub fn unknown_function(&mut self, name: &Ident, closest: Option<&str>) {
        self.report(name, format!("unknown function `{name}`{}", did_you_mean(closest)));
    }

    pub fn function_as_stage(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is a function for `loss` and `metric`, not a stage of a body"));
    }

    pub fn layer_as_function(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is a stage of a body, not a function for `loss` and `metric`"));
    }

    pub fn unknown_name(&mut self, name: &Ident, closest: Option<&str>) {
        self.report(name, format!("unknown name `{name}`{}", did_you_mean(closest)));
    }

    pub fn unknown_size(&mut self, name: &Ident, closest: Option<&str>) {
        self.report(name, format!("unknown size `{name}`{}", did_you_mean(closest)));
    }

    pub fn unknown_parameter(&mut self, site: Site, path: &str, closest: Option<&str>) {
        self.report(site, format!("unknown parameter `{path}`{}", did_you_mean(closest)));
    }

    pub fn unknown_dtype(&mut self, name: &Ident, known: &[&str]) {
        let message = match closest(&text(name), known.iter().copied()) {
            Some(closest) => format!("unknown element type `{name}`{}", did_you_mean(Some(closest))),
            None => format!("unknown element type `{name}`; there are {}", and(known)),
        };
        self.report(name, message);
    }

    pub fn duplicate_name(&mut self, name: &Ident) {
        self.report(name, format!("the name `{name}` is already taken in this network"));
    }

    pub fn duplicate_metric(&mut self, name: &Ident) {
        self.report(name, format!("there are two metrics `{name}`"));
    }

    pub fn duplicate_const(&mut self, name: &Ident) {
        self.report(name, format!("there are two consts `{name}`"));
    }

    pub fn duplicate_network(&mut self, name: &Ident) {
        self.report(name, format!("there are two networks `{name}`"));
    }

    pub fn recursive_const(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is defined by itself"));
    }

    pub fn name_is_batch(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is the batch; choose another name"));
    }

    pub fn metric_named_loss(&mut self, name: &Ident) {
        self.report(name, "`loss` is the loss of the network; choose another name for the metric".to_string());
    }

    pub fn target_without_name(&mut self, site: Site) {
        self.report(site, "a target needs a name: `label: [B, ...]`".to_string());
    }

    pub fn second_loss(&mut self, keyword: &Ident) {
        self.report(keyword, "a network has one `loss`; add the terms up in one expression".to_string());
    }
}

/// Sizes.
impl Errors {
    pub fn batch_in_size(&mut self, name: &Ident) {
        self.report(name, "`B` is known only at run time, so nothing can be calculated from it here".to_string());
    }

    pub fn no_number(&mut self, site: Site, found: &str) {
        self.report(site, format!("expected a number, found `{found}`"));
    }

    pub fn const_not_integer(&mut self, site: Site, name: &Ident, found: &str) {
        self.report(site, format!("`{name}` names a size, so it must be an integer, found `{found}`"));
    }

    pub fn size_not_positive(&mut self, site: Site, found: &str) {
        self.report(site, format!("a size is an integer of at least 1, found {found}"));
    }

    pub fn size_overflows(&mut self, site: Site, found: &str) {
        self.report(site, format!("`{found}` overflows"));
    }

    pub fn division_by_zero(&mut self, site: Site, found: &str) {
        self.report(site, format!("`{found}` divides by zero"));
    }

    pub fn remainder_of_float(&mut self, site: Site) {
        self.report(site, "`%` needs integers".to_string());
    }

    pub fn too_large(&mut self, site: Site, what: &str) {
        self.report(site, format!("{what} has more than 2^40 elements"));
    }
}

/// Arguments.
impl Errors {
    pub fn unknown_argument(&mut self, name: &Ident, owner: &str, known: &[&str]) {
        let message = match (closest(&text(name), known.iter().copied()), known) {
            (_, []) => format!("`{owner}` takes no arguments"),
            (None, _) => format!("unknown argument `{name}` of `{owner}`; there are {}", and(known)),
            (closest, _) => format!("unknown argument `{name}` of `{owner}`{}", did_you_mean(closest)),
        };
        self.report(name, message);
    }

    pub fn missing_argument(&mut self, site: Site, owner: &str, name: &str, doc: &str) {
        let doc = if doc.is_empty() { String::new() } else { format!(" ({doc})") };
        self.report(site, format!("`{owner}` needs the argument `{name}`{doc}"));
    }

    pub fn too_many_arguments(&mut self, site: Site, owner: &str, known: &[&str]) {
        let message = match known {
            [] => format!("`{owner}` takes no arguments"),
            [one] => format!("`{owner}` takes one argument, `{one}`"),
            _ => format!("`{owner}` takes at most {} arguments: {}", known.len(), and(known)),
        };
        self.report(site, message);
    }

    pub fn duplicate_argument(&mut self, site: Site, owner: &str, name: &str) {
        self.report(site, format!("`{name}` of `{owner}` is given twice"));
    }

    pub fn positional_after_named(&mut self, site: Site) {
        self.report(site, "an argument without a name comes before those with one".to_string());
    }

    pub fn option_without_name(&mut self, site: Site, owner: &str, name: &str, written: &str) {
        self.report(site, format!("options of `{owner}` have names; write `{name} = {written}`"));
    }

    pub fn wrong_argument(&mut self, site: Site, owner: &str, arg: &ArgDef, found: &str) {
        self.report(site, format!("`{}` of `{owner}` must be {}, found {found}", arg.name, arg.kind.wanted()));
    }

    pub fn string_argument(&mut self, site: Site, owner: &str, arg: &ArgDef, content: &str) {
        let hint = match arg.kind {
            ArgKind::Word(words) if words.contains(&content) => format!("write `{} = {content}`", arg.name),
            kind => format!("`{}` of `{owner}` must be {}", arg.name, kind.wanted()),
        };
        self.report(site, format!("options are never strings; {hint}"));
    }
}

/// Shapes and types.
impl Errors {
    pub fn empty_body(&mut self, site: Site, network: &Ident) {
        self.report(site, format!("`{network}` has an empty body; it needs at least one layer"));
    }

    pub fn batch_missing(&mut self, site: Site, port: &str, shape: &Shape) {
        let mut with_batch = shape.clone();
        with_batch.0.insert(0, gradloom_runtime::types::Dim::B);
        self.report(site, format!("`{port}` needs the batch as its first axis: {}", with_batch.declared()));
    }

    pub fn batch_not_first(&mut self, site: Site, port: &str) {
        self.report(site, format!("`B`, the batch, is the first axis of `{port}` and no other"));
    }

    pub fn too_many_axes(&mut self, site: Site, port: &str, found: usize, most: usize) {
        self.report(site, format!("`{port}` has {found} axes; at most {most} are supported"));
    }

    /// The second line says how the shape came about.
    pub fn misfit(&mut self, site: Site, layer: &str, misfit: &Misfit, found: &Shape, trace: &str) {
        let hint = misfit.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let (needs, found) = (&misfit.needs, found.declared());
        self.report(site, format!("`{layer}` needs {needs}, found {found}{hint}\n{trace}"));
    }

    pub fn layer_needs_floats(&mut self, site: Site, layer: &str, port: &str, found: DType) {
        self.report(site, format!("`{layer}` needs f32, found {found}; declare `{port}` without `{found};`"));
    }

    pub fn output_mismatch(&mut self, site: Site, network: &Ident, port: &str, layer: &str, types: [&TensorType; 2]) {
        let [declared, found] = types.map(declared);
        self.report(site, format!("`{network}` declares {port}{declared}, but its last layer `{layer}` gives {found}"));
    }

    pub fn function_misfit(&mut self, name: &Ident, reason: &str) {
        self.report(name, format!("`{name}` {reason}"));
    }

    pub fn operator_misfit(&mut self, site: Site, reason: String) {
        self.report(site, reason);
    }

    pub fn no_value(&mut self, site: Site, found: &str) {
        self.report(site, format!("expected a number or a name, found `{found}`"));
    }

    pub fn remainder_in_expression(&mut self, site: Site) {
        self.report(site, "`%` calculates sizes only".to_string());
    }

    /// `what` is the loss or a metric.
    pub fn not_a_number(&mut self, site: Site, what: &str, found: &TensorType) {
        let hint = match (found.dtype, found.shape.rank()) {
            (DType::F32 | DType::Bool, 1..) => "; wrap it in `mean(..)`",
            (DType::Bool, 0) => "; `mean(..)` makes it 0 or 1",
            _ => "",
        };
        self.report(site, format!("{what} must be a single number, found {}{hint}", of(found)));
    }
}

/// As a declaration writes it: `[u8; B]`, and `[B, 10]` for f32.
pub fn declared(ty: &TensorType) -> String {
    let shape = ty.shape.declared();
    match ty.dtype {
        DType::F32 => shape,
        other => format!("[{other}; {}", &shape[1..]),
    }
}

/// `[B, 10] of f32`, and `f32` for a single value.
fn of(ty: &TensorType) -> String {
    match ty.shape.rank() {
        0 => format!("a single {}", ty.dtype),
        _ => format!("{} of {}", ty.shape.declared(), ty.dtype),
    }
}

fn did_you_mean(closest: Option<&str>) -> String {
    closest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// `a`, `b` and `c`
fn and(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => quoted.join(""),
    }
}

/// The candidate that looks most like `name`, if one does: at most a third of it differs, whatever the case.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| (distance(name, candidate), candidate));
    let (nearest, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (nearest <= limit && nearest < name.chars().count()).then_some(candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour (Damerau & Levenshtein, optimal string alignment).
fn distance(x: &str, y: &str) -> usize {
    let [x, y]: [Vec<char>; 2] = [x, y].map(|word| word.to_lowercase().chars().collect());
    let mut before = vec![0; y.len() + 1];
    let mut last: Vec<usize> = (0..=y.len()).collect();
    for i in 1..=x.len() {
        let mut row = vec![i; y.len() + 1];
        for j in 1..=y.len() {
            let replaced = last[j - 1] + usize::from(x[i - 1] != y[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[y.len()]
}
