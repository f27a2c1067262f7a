//! Messages about loops of the user's own.

use proc_macro2::Ident;

use super::Errors;
use crate::ast::Site;

impl Errors {
    pub fn names_of_a_loop(&mut self, site: Site) {
        let message = "`scan` names two values, the element and the state before the step: `|x, h| ..`; trainable numbers \
                       follow them: `|x, h, decay = 0.9| ..`";
        self.report(site, message.to_string());
    }

    pub fn names_of_a_layer(&mut self, name: &Ident) {
        self.report(
            name,
            format!("`{name}` takes no names; `scan(n) |x, h| ..` does, a loop over the elements of a sequence"),
        );
    }

    pub fn flow_without_braces(&mut self, site: impl Into<Site>) {
        let message = "without braces the next state is an expression; write `{ (x, h) -> concat, Dense(8) }`";
        self.report(site, message.to_string());
    }

    pub fn no_next_state(&mut self, site: impl Into<Site>) {
        let message = "the body of `scan` ends with the next state: an expression, or `(x, h) -> concat, Dense(8)`";
        self.report(site, message.to_string());
    }

    pub fn next_state_with_semicolon(&mut self, site: impl Into<Site>) {
        self.report(site, "the last expression of `scan` is the next state, and ends without `;`".to_string());
    }

    pub fn layer_in_a_loop(&mut self, name: &Ident) {
        let message = format!("`layer {name}` belongs to the network; write its line before that of the loop");
        self.report(name, message);
    }

    pub fn line_of_a_loop_without_let(&mut self, name: &Ident) {
        self.report(name, format!("the body of a loop makes no outputs; write `let {name} = ..;`"));
    }

    pub fn value_of_a_loop(&mut self, name: &Ident) {
        let message = format!(
            "`{name}` is another value at each step of a loop, and what is outside of the loop sees its states alone"
        );
        self.report(name, message);
    }

    pub fn stage_called_like_a_value(&mut self, site: Site, path: &str) {
        let message =
            format!("this stage would be called `{path}`, and so is a value of the loop; name one of them otherwise");
        self.report(site, message);
    }
}
