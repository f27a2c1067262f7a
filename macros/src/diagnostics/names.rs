//! Messages about names: those that nobody knows, those that are taken, and those that mean something already.

use gradloom_runtime::elaborate::words::{closest, did_you_mean};
use gradloom_runtime::network::COLUMNS;
use proc_macro2::Ident;

use super::{Errors, and};
use crate::ast::{Site, text};

impl Errors {
    pub fn unknown_layer(&mut self, name: &Ident, closest: Option<&str>) {
        let kind = if text(name).starts_with(char::is_uppercase) { "layer" } else { "activation" };
        self.report(name, format!("unknown {kind} `{name}`{}", did_you_mean(closest)));
    }

    pub fn unknown_function(&mut self, name: &Ident, closest: Option<&str>) {
        self.report(name, format!("unknown function `{name}`{}", did_you_mean(closest)));
    }

    pub fn function_as_stage(&mut self, name: &Ident, elementwise: bool) {
        let hint = if elementwise { format!("; write `|x| {name}(x)`") } else { String::new() };
        self.report(name, format!("`{name}` is a function for expressions, not a stage of a body{hint}"));
    }

    pub fn layer_as_function(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is a stage of a body, not a function for expressions"));
    }

    pub fn unknown_name(&mut self, name: &Ident, closest: Option<&str>) {
        self.report(name, format!("unknown name `{name}`{}", did_you_mean(closest)));
    }

    pub fn unknown_size(&mut self, name: &Ident, closest: Option<&str>) {
        self.report(name, format!("unknown size `{name}`{}", did_you_mean(closest)));
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

    pub fn report_taken(&mut self, name: &Ident, network: &str) {
        self.report(name, format!("`{name}` is what the steps of `{network}` report; choose another name"));
    }

    pub fn target_without_name(&mut self, site: Site) {
        self.report(site, "a target needs a name: `label: [B, ...]`".to_string());
    }

    pub fn second_loss(&mut self, keyword: &Ident) {
        self.report(keyword, "a network has one `loss`; add the terms up in one expression".to_string());
    }
}
