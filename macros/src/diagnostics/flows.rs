//! Messages about flows: the lines of a body, and the layers that they share.

use gradloom_runtime::elaborate::words;
use proc_macro2::Ident;

use super::{Errors, and};
use crate::ast::Site;

impl Errors {
    pub fn flow_without_name(&mut self, site: impl Into<Site>) {
        self.report(site, "a flow has a name: `let u = x -> Dense(8);`, or that of an output: `y = ..;`".to_string());
    }

    pub fn flow_among_stages(&mut self, site: impl Into<Site>) {
        let message = "a body is a list of stages, or, in a network, lines of named flows that end with `;`: this begins \
                       a line among stages";
        self.report(site, message.to_string());
    }

    pub fn several_ports(&mut self, site: Site, plural: &str) {
        let message = format!(
            "a body that is a list of stages has one flow; with several {plural}, write lines: `let u = x -> ..;`"
        );
        self.report(site, message);
    }

    pub fn used_before_made(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is used before it is made; write its line before this one"));
    }

    pub fn made_of_itself(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is made of itself"));
    }

    /// A circle of more than one flow.
    pub fn circle(&mut self, name: &Ident, others: &[&str]) {
        self.report(name, format!("{} are made of one another", and(others)));
    }

    pub fn made_twice(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is made twice"));
    }

    pub fn output_with_let(&mut self, name: &Ident) {
        self.report(name, format!("`{name}` is an output, which is made without `let`: `{name} = ..;`"));
    }

    pub fn flow_without_let(&mut self, name: &Ident, closest: Option<&str>) {
        let hint = closest.map(|output| format!("; did you mean the output `{output}`?")).unwrap_or_default();
        self.report(name, format!("`{name}` is no output of this network; write `let {name} = ..;`{hint}"));
    }

    pub fn output_not_made(&mut self, site: Site, name: &str) {
        self.report(site, format!("no line makes the output `{name}`; write `{name} = ..;`"));
    }

    pub fn never_used(&mut self, site: impl Into<Site>, what: &str, name: &str) {
        self.report(site, words::never_used(what, name));
    }

    pub fn several_names(&mut self, name: &Ident) {
        self.report(name, "several names are parts of one value: `let (u, v) = h -> split;`".to_string());
    }

    pub fn split_to_one(&mut self, site: Site) {
        self.report(site, "`split` gives several values, at the end of a line: `let (u, v) = h -> split;`".to_string());
    }

    pub fn named_layer_with_alias(&mut self, alias: &Ident) {
        self.report(alias, "a layer has its name already".to_string());
    }
}
