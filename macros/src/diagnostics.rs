//! Every message of the macro, one function each, and the sink that collects them.
//!
//! In: what is wrong, from any phase. Out: a `compile_error!` per mistake, at its token. Call sites carry no wording. A
//! message names what was written, what was wanted and what was found.

mod flows;
mod grammar;
mod loops;
pub mod hints;
mod names;

use std::collections::{HashMap, HashSet};

use gradloom_runtime::elaborate::arguments::{self, and};
use gradloom_runtime::elaborate::words::{self, Suggestions, closest, did_you_mean};
use gradloom_runtime::elaborate::{MOST_NESTED, MOST_STAGES};
use gradloom_runtime::layers::{ArgDef, ArgKind, initializers};
use proc_macro2::{Ident, LineColumn, TokenStream, TokenTree};
use quote::quote_spanned;

use crate::ast::{Expr, ExprKind, Site, text};
use hints::SourcePlace;

pub use names::Ports;

/// The mistakes found so far.
#[derive(Default)]
pub struct Errors {
    mistakes: Vec<Mistake>,
    /// Where each of them is.
    known: HashMap<Key, usize>,
    lost: HashSet<String>,
    suggestions: Suggestions,
    /// How many networks were begun.
    networks: usize,
}

/// A message and where it belongs.
#[derive(Clone, Debug)]
pub struct Mistake {
    site: Site,
    /// From where to where.
    at: (LineColumn, LineColumn),
    message: String,
    /// The definition that is missing, where it is not its use that is the mistake.
    missing: Option<String>,
}

/// What two mistakes that are one have in common.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Told((LineColumn, LineColumn), String),
    Missing(String),
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
            let at = mistake.at.0;
            format!("{}:{}: {}\n", at.line, at.column + 1, mistake.message)
        };
        self.sorted().into_iter().map(line).collect()
    }

    /// Each phase goes through the whole declaration, but the user reads it once.
    fn sorted(&self) -> Vec<&Mistake> {
        let mut mistakes: Vec<&Mistake> = self.mistakes.iter().collect();
        mistakes.sort_by_key(|mistake| (mistake.at.0.line, mistake.at.0.column));
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

    /// A block is read for every use, but the user reads its mistakes once.
    fn report(&mut self, site: impl Into<Site>, message: String) {
        self.add(Mistake::new(site.into(), message));
    }

    /// A name that nothing defines: told where it is used first, however often that is.
    fn report_missing(&mut self, name: &Ident, definition: String, message: String) {
        self.add(Mistake { missing: Some(definition), ..Mistake::new(name.into(), message) });
    }

    /// Adds a mistake that was found before, unless it is there. Of two that are one the first in the source is told.
    pub fn add(&mut self, mistake: Mistake) {
        let keys = mistake.keys();
        let index = match keys.iter().find_map(|key| self.known.get(key)) {
            None => {
                self.mistakes.push(mistake);
                self.mistakes.len() - 1
            }
            Some(&index) if mistake.at < self.mistakes[index].at => {
                let later = std::mem::replace(&mut self.mistakes[index], mistake);
                for key in later.keys() {
                    self.known.remove(&key);
                }
                index
            }
            Some(_) => return,
        };
        self.known.extend(keys.into_iter().map(|key| (key, index)));
    }

    /// Names that are made in one network are missing in others, too.
    pub fn begin_network(&mut self) {
        self.networks += 1;
    }

    /// What comes of an attempt, and the mistakes in it, which nobody has reported yet.
    pub fn attempt<T>(&mut self, attempt: impl FnOnce(&mut Errors) -> T) -> (T, Vec<Mistake>) {
        let before = self.mistakes.len();
        let result = attempt(self);
        let found = self.mistakes.split_off(before);
        for key in found.iter().flat_map(Mistake::keys) {
            self.known.remove(&key);
        }
        (result, found)
    }

    /// The name that may have been meant. The first few mistakes are told one: to look through all names for each of very
    /// many would take as long as all that is right.
    pub fn closest<'c, I: IntoIterator<Item = &'c str>>(
        &mut self,
        name: &str,
        candidates: impl FnOnce() -> I,
    ) -> Option<&'c str> {
        self.suggestions.closest(name, candidates)
    }
}

impl Mistake {
    fn new(site: Site, message: String) -> Mistake {
        Mistake { site, at: (site.start.start(), site.end.end()), message, missing: None }
    }

    /// By which it is known: its place, and the definition that is missing.
    fn keys(&self) -> Vec<Key> {
        let told = Key::Told(self.at, self.message.clone());
        std::iter::once(told).chain(self.missing.clone().map(Key::Missing)).collect()
    }

    /// The path of the macro starts at the first token and its argument ends at the last: rustc underlines all between.
    fn to_tokens(&self) -> TokenStream {
        let Site { start, end } = self.site;
        let message = &self.message;
        let path = quote_spanned!(start=> ::core::compile_error!);
        let argument = quote_spanned!(end=> { #message });
        quote::quote!(#path #argument)
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
        self.report(site, words::size_not_positive(found));
    }

    pub fn size_overflows(&mut self, site: Site, found: &str) {
        self.report(site, words::overflows(found));
    }

    pub fn division_by_zero(&mut self, site: Site, found: &str) {
        self.report(site, words::divides_by_zero(found));
    }

    pub fn remainder_of_float(&mut self, site: Site) {
        self.report(site, "`%` needs integers".to_string());
    }
}

/// Arguments.
impl Errors {
    pub fn unknown_argument(&mut self, name: &Ident, owner: &str, known: &[&str]) {
        let hint = hints::argument(&text(name), known);
        let message = match hint {
            Some(hint) => format!("unknown argument `{name}` of `{owner}`{hint}"),
            None => arguments::unknown_argument(&text(name), owner, known),
        };
        self.report(name, message);
    }

    pub fn missing_argument(&mut self, site: Site, owner: &str, name: &str, doc: &str) {
        self.report(site, arguments::missing_argument(owner, name, doc));
    }

    pub fn too_many_arguments(&mut self, site: Site, owner: &str, known: &[&str]) {
        self.report(site, arguments::too_many_arguments(owner, known));
    }

    pub fn duplicate_argument(&mut self, site: Site, owner: &str, name: &str) {
        self.report(site, arguments::duplicate_argument(owner, name));
    }

    pub fn positional_after_named(&mut self, site: Site) {
        self.report(site, "an argument without a name comes before those with one".to_string());
    }

    pub fn option_without_name(&mut self, site: Site, owner: &str, name: &str, written: &str) {
        self.report(site, arguments::option_without_name(owner, name, written));
    }

    /// `args` are those of the owner, if none of them is named.
    pub fn wrong_argument(&mut self, expr: &Expr, (owner, args): (&str, &[ArgDef]), arg: &ArgDef, found: &str) {
        let is_layer = owner.starts_with(char::is_uppercase);
        let is_option =
            arg.default.is_some() && matches!(arg.kind, ArgKind::Flag | ArgKind::Number { .. } | ArgKind::Word(_));
        let hint = match &expr.kind {
            ExprKind::Name(name) => hints::hint(SourcePlace::Value, &text(name)).unwrap_or_default(),
            // The size of what comes in, which other libraries want to be told.
            ExprKind::Int(2.., _) if is_layer && is_option && !args.is_empty() => {
                let needed: Vec<&str> = args.iter().filter(|arg| arg.default.is_none()).map(|arg| arg.name).collect();
                let needed = if needed.is_empty() { "no size".to_string() } else { format!("{} alone", and(&needed)) };
                format!("; what comes in is inferred: `{owner}` takes {needed}")
            }
            _ => String::new(),
        };
        self.report(expr.site, format!("{}{hint}", words::wrong_argument(owner, arg, found)));
    }

    pub fn no_initializer(&mut self, site: Site, owner: &str, arg: &ArgDef, found: &str) {
        let wanted = arg.kind.wanted();
        self.report(
            site,
            format!("`{}` of `{owner}` must be {wanted}, found `{found}`; there are {}", arg.name, all_initializers()),
        );
    }

    /// Some are known by the first or by the last name of an author, and there are two of most.
    pub fn unknown_initializer(&mut self, name: &Ident) {
        let usual = text(name).to_lowercase().replace("kaiming", "he").replace("glorot", "xavier");
        let names = || initializers::ALL.iter().map(|known| known.name);
        let both: Vec<&str> =
            names().filter(|known| known.strip_prefix(&usual).is_some_and(|rest| rest.starts_with('_'))).collect();
        let hint = match (closest(&usual, names()), &both[..]) {
            _ if let Some(hint) = hints::hint(SourcePlace::Init, &text(name)) => hint,
            (_, [uniform, normal]) => format!("; did you mean `{uniform}` or `{normal}`?"),
            (Some(closest), _) => did_you_mean(Some(closest)),
            (None, _) => format!("; there are {}", all_initializers()),
        };
        self.report(name, format!("unknown initializer `{name}`{hint}"));
    }

    pub fn string_argument(&mut self, site: Site, owner: &str, arg: &ArgDef, content: &str) {
        let hint = match arg.kind {
            ArgKind::Word(words) if words.contains(&content) => format!("write `{} = {content}`", arg.name),
            ArgKind::Init if initializers::ALL.iter().any(|known| known.name == content) => {
                format!("write `{} = {content}`", arg.name)
            }
            kind => format!("`{}` of `{owner}` must be {}", arg.name, kind.wanted()),
        };
        self.report(site, format!("options are never strings; {hint}"));
    }
}

/// Bodies and expressions.
impl Errors {
    /// What `elaborate` says of shapes and types.
    pub fn elaborated(&mut self, site: Site, message: String) {
        self.report(site, message);
    }

    pub fn empty_body(&mut self, site: Site, owner: &str) {
        self.report(site, format!("`{owner}` has an empty body; it needs at least one layer"));
    }

    pub fn too_many_stages(&mut self, site: Site) {
        self.report(site, words::too_many_stages());
    }

    pub fn block_too_large(&mut self, name: &Ident, block: &str) {
        self.report(name, format!("with `{name}`, the block `{block}` stands for more than {MOST_STAGES} stages"));
    }

    pub fn block_too_deep(&mut self, name: &Ident, block: &str) {
        self.report(name, format!("with `{name}`, the block `{block}` nests more than {MOST_NESTED} bodies"));
    }

    pub fn bare_body(&mut self, site: impl Into<Site>) {
        self.report(site, "a body follows `residual`, `skip` or `repeat(n)`".to_string());
    }

    pub fn body_of_a_layer(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` has no body; `residual {{ .. }}` and `repeat(n) {{ .. }}` have one"));
    }

    pub fn skip_alone(&mut self, name: &Ident) {
        self.report(
            name,
            "`skip { .. }` comes right after `residual { .. }`, without a comma between them".to_string(),
        );
    }

    pub fn concat_with_arguments(&mut self, site: Site) {
        self.report(site, "`concat` takes no arguments: its bodies follow in `{ { .. }, { .. } }`".to_string());
    }

    pub fn residual_with_arguments(&mut self, site: Site) {
        self.report(site, "`residual` takes no arguments".to_string());
    }

    pub fn recursive_block(&mut self, name: &Ident) {
        self.report(name, arguments::recursive_block(&name.to_string()));
    }

    pub fn recursive_act(&mut self, name: &Ident) {
        self.report(name, arguments::recursive_act(&name.to_string()));
    }

    pub fn function_without_operand(&mut self, site: impl Into<Site>) {
        self.report(site, "a function needs a name for what comes in: `|x| ..`".to_string());
    }

    pub fn operand_with_value(&mut self, name: &Ident) {
        let message = format!(
            "`{name}` is what comes in and has no value of its own; trainable numbers follow it: `|x, {name} = ..|`"
        );
        self.report(name, message);
    }

    pub fn extra_without_value(&mut self, name: &Ident) {
        let message = format!(
            "a function takes one value; `{name}` can be a trainable number, which needs a start: `{name} = 1.0`"
        );
        self.report(name, message);
    }

    pub fn extra_without_owner(&mut self, site: Site, act: &str, extra: &str) {
        self.report(site, arguments::extra_without_owner(act, extra));
    }

    pub fn start_from_rust(&mut self, site: Site, found: &str) {
        self.report(
            site,
            format!("a trainable number starts from a literal or a `const` of the network, found `{found}`"),
        );
    }

    pub fn function_in_braces(&mut self, site: impl Into<Site>) {
        self.report(site, "a function is one expression, without braces around it".to_string());
    }

    pub fn parameter_in_function(&mut self, site: Site, path: &str) {
        self.report(site, format!("a function of your own only knows its own names, not `{path}`"));
    }

    pub fn public_const(&mut self, site: impl Into<Site>) {
        self.report(
            site,
            "a `const` is known in its `network!` alone; one that others use is a `const` of Rust".to_string(),
        );
    }

    pub fn size_of_other_type(&mut self, ty: &Ident) {
        self.report(ty, format!("a size that is chosen when the program runs is a `usize`, found `{ty}`"));
    }

    pub fn default_from_rust(&mut self, site: Site, found: &str) {
        self.report(
            site,
            format!("a size is a literal or a `const` of the network unless it is chosen, found `{found}`"),
        );
    }

    pub fn rust_function(&mut self, site: Site, path: &str) {
        self.report(site, format!("`{path}` is called, but only constants of Rust can be used here"));
    }

    pub fn no_value(&mut self, site: Site, found: &str) {
        self.report(site, format!("expected a number or a name, found `{found}`"));
    }

    pub fn remainder_in_expression(&mut self, site: Site) {
        self.report(site, "`%` only works on sizes".to_string());
    }
}

/// As they are written.
fn all_initializers() -> String {
    let written = |known: &&initializers::Initializer| match &known.number {
        Some(number) => format!("{}({})", known.name, number.name),
        None => known.name.to_string(),
    };
    let all: Vec<String> = initializers::ALL.iter().map(written).collect();
    and(&all.iter().map(String::as_str).collect::<Vec<_>>())
}
