//! Messages about names: those that nobody knows, those that are taken, and those that mean something already.

use gradloom_runtime::elaborate::arguments::stage_as_function;
use gradloom_runtime::elaborate::words::{closest, did_you_mean};
use gradloom_runtime::network::COLUMNS;
use proc_macro2::Ident;

use super::hints::{self, SourcePlace, hint};
use super::{Errors, and};
use crate::ast::{Argument, Site, text};

/// What an unknown name in an expression may have been meant for.
#[derive(Clone, Copy, Default)]
pub struct Ports {
    pub has_named_output: bool,
    pub has_targets: bool,
    /// In a function of the user's own there are none.
    pub is_function: bool,
}

/// How outputs and targets are often called.
const OUTPUTS: [&str; 10] =
    ["logits", "out", "output", "outputs", "pred", "prediction", "predictions", "scores", "y_hat", "y_pred"];
const TARGETS: [&str; 6] = ["label", "labels", "t", "target", "targets", "y_true"];

/// From the first name to the last.
fn path_site(path: &syn::Path) -> Site {
    let ends = path.segments.first().zip(path.segments.last()).expect("a path has names");
    Site::from(&ends.0.ident).to(&ends.1.ident)
}

/// The macro cannot tell a constant from a variable, but a path it takes for one.
fn rust_constant(name: &Ident) -> String {
    format!("; a constant of Rust is written with its path: `self::{name}` or `crate::{name}`")
}

/// Whether a name looks like that of a constant.
fn is_constant(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.len() > 1 && name == name.to_uppercase()
}

impl Errors {
    pub fn unknown_layer(&mut self, name: &Ident, closest: Option<&str>) {
        let kind = if text(name).starts_with(char::is_uppercase) { "layer" } else { "activation" };
        let hint = hint(SourcePlace::Stage, &text(name));
        let is_missing = hint.is_none() && closest.is_none();
        let hint = hint.unwrap_or_else(|| did_you_mean(closest));
        self.unknown(name, kind, hint, is_missing);
    }

    pub fn unknown_function(&mut self, name: &Ident, args: &[Argument], closest: Option<&str>) {
        let logical = [("not", "not(x)", "!x"), ("and", "and(x, y)", "x && y"), ("or", "or(x, y)", "x || y")];
        if let Some((_, found, meant)) = logical.into_iter().find(|(word, ..)| text(name) == *word) {
            return self.other_logical(name, found, meant);
        }
        let hint = match (text(name).as_str(), args) {
            ("accuracy", [y, label]) => format!("; write `mean(argmax({y}) == {label})`"),
            (known, _) => hints::function(known).unwrap_or_else(|| did_you_mean(closest)),
        };
        let is_missing = hint.is_empty();
        self.unknown(name, "function", hint, is_missing);
    }

    pub fn function_as_stage(&mut self, name: &Ident, elementwise: bool) {
        let hint = if elementwise { format!("; write `|x| {name}(x)`") } else { String::new() };
        self.report(name, format!("`{name}` is a function for expressions, not a stage of a body{hint}"));
    }

    pub fn layer_as_function(&mut self, name: &Ident) {
        self.report(name, stage_as_function(&name.to_string()));
    }

    /// `known` are the names there are, if they are few.
    pub fn unknown_name(&mut self, name: &Ident, closest: Option<&str>, known: &[&str], ports: Ports) {
        let is_one_of = |words: &[&str]| words.contains(&text(name).as_str());
        let target = format!("a target is declared with the loss: `loss({name}: [B, ..]) = ..`");
        let hint = hint(SourcePlace::Value, &text(name));
        let is_missing = hint.is_none() && closest.is_none();
        let hint = match (hint, closest) {
            (Some(hint), _) => hint,
            (None, Some(_)) => did_you_mean(closest),
            (None, None) if is_constant(&text(name)) => rust_constant(name),
            (None, None) if ports.is_function => String::new(),
            (None, None) if !ports.has_targets && is_one_of(&TARGETS) => format!("; {target}"),
            (None, None) if !ports.has_named_output && is_one_of(&OUTPUTS) => {
                format!("; the output is `out`, unless the signature gives it a name: `-> {name}: [B, ..]`")
            }
            (None, None) if known.is_empty() => String::new(),
            (None, None) if ports.has_targets => format!("; there are {}", and(known)),
            (None, None) => format!("; there are {}, and {target}", and(known)),
        };
        self.unknown(name, "name", hint, is_missing);
    }

    pub fn unknown_size(&mut self, name: &Ident, closest: Option<&str>) {
        let hint = hint(SourcePlace::Value, &text(name));
        let is_missing = hint.is_none() && closest.is_none();
        let hint = match (hint, closest) {
            (Some(hint), _) => hint,
            (None, Some(_)) => did_you_mean(closest),
            (None, None) if text(name).starts_with(char::is_uppercase) => rust_constant(name),
            (None, None) => "; a variable is not known when a network is declared: write a number, a `const` of \
                             `network!`, or a constant of Rust with its path, like `crate::N`"
                .to_string(),
        };
        self.unknown(name, "size", hint, is_missing);
    }

    /// A word of another library, or one that is misspelled, is a mistake wherever it stands; what is defined nowhere is one mistake.
    fn unknown(&mut self, name: &Ident, what: &str, hint: String, is_missing: bool) {
        let message = format!("unknown {what} `{name}`{hint}");
        // Values and sizes of one network may not be there in another; layers and functions are.
        let network = if matches!(what, "name" | "size") { self.networks } else { 0 };
        match is_missing {
            true => self.report_missing(name, format!("{what} {name} {network}"), message),
            false => self.report(name, message),
        }
    }

    pub fn unknown_dtype(&mut self, name: &Ident, known: &[&str]) {
        let message = match closest(&text(name), known.iter().copied()) {
            Some(closest) => format!("unknown element type `{name}`{}", did_you_mean(Some(closest))),
            None => format!("unknown element type `{name}`; there are {}", and(known)),
        };
        self.report(name, message);
    }

    /// Whether a name in `#[allow(..)]` was meant for a lint of the macro, and is none.
    pub fn unknown_lint(&mut self, path: &syn::Path, name: &str, is_own: bool, known: &[&str]) -> bool {
        let hint = match closest(name, known.iter().copied()) {
            Some(closest) => did_you_mean(Some(closest)),
            None if is_own => format!("; there are {}", and(known)),
            None => return false,
        };
        self.report(path_site(path), format!("unknown lint `{name}`{hint}"));
        true
    }

    pub fn expected_lint(&mut self, path: &syn::Path, lint: &str) {
        self.report(path_site(path), format!("lints of `network!` cannot be expected; write `#[allow({lint})]`"));
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

    pub fn duplicate_definition(&mut self, name: &Ident) {
        self.report(name, format!("the name `{name}` is defined twice"));
    }

    pub fn name_of_the_language(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is part of the language; choose another name"));
    }

    pub fn unused_name(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is never used"));
    }

    pub fn recursive_const(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is defined in terms of itself"));
    }

    /// Whether a name means something of its own wherever it stands, so that nothing else can be called so.
    pub fn is_reserved(&mut self, name: &Ident) -> bool {
        match text(name).as_str() {
            "B" => self.report(name, format!("`{name}` is the batch; choose another name")),
            "weights" => {
                self.report(name, format!("`{name}` stands for the weights of all layers; choose another name"));
            }
            _ => return false,
        }
        true
    }

    pub fn metric_named_loss(&mut self, name: &Ident) {
        self.report(name, "`loss` is the loss of the network; choose another name for the metric".to_string());
    }

    pub fn metric_named_like_a_column(&mut self, name: &Ident) {
        let message = format!(
            "a history has columns of its own, `{}` and `validation_..`; choose another name for the metric than `{name}`",
            COLUMNS.join("`, `")
        );
        self.report(name, message);
    }

    pub fn default_name_taken(&mut self, site: Site, default: &str) {
        self.report(
            site,
            format!("without a name this would be `{default}`, which is taken; give it one: `name: [..]`"),
        );
    }

    pub fn path_taken(&mut self, site: Site, path: &str) {
        let message =
            format!("this stage would be called `{path}`, and so is a port; name it with `as`, or rename the port");
        self.report(site, message);
    }

    pub fn target_without_name(&mut self, site: Site) {
        self.report(site, "a target needs a name: `label: [B, ...]`".to_string());
    }

    pub fn second_loss(&mut self, keyword: &Ident) {
        self.report(keyword, "a network has one `loss`; add the terms up in one expression".to_string());
    }
}
