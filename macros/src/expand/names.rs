//! The user's own names once more, as Rust knows them: so that an editor goes from the use of a port, a named value, a
//! function or a block to where it is declared, and rustc warns of functions and blocks that nobody uses.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::ast::{Argument, Body, Expr, ExprKind, Lambda, Net, Program, Stage, StageKind, text};

/// A constant without a value that mentions every name where the user does.
pub fn names(program: &Program) -> TokenStream {
    let items: Vec<&Ident> =
        program.acts.iter().map(|act| &act.name).chain(program.blocks.iter().map(|block| &block.name)).collect();
    let scopes = program.nets.iter().map(|net| network(net, &items));
    let inner = program.acts.iter().map(|act| lambda(&act.lambda, &items));
    let blocks = program.blocks.iter().map(|block| {
        let mut names = Names { items: &items, tokens: TokenStream::new(), own: Vec::new() };
        for (param, default) in &block.params {
            default.iter().for_each(|default| names.expr(default));
            names.declare(param);
        }
        names.body(&block.body);
        names.scope()
    });
    let mut declared: Vec<&Ident> = Vec::new();
    for item in &items {
        if !declared.iter().any(|known| text(known) == text(item)) {
            declared.push(item);
        }
    }
    quote! {
        #[allow(non_snake_case, clippy::all)]
        const _: () = {
            #(fn #declared() {})*
            #(#inner)*
            #(#blocks)*
            #(#scopes)*
        };
    }
}

fn network(net: &Net, items: &[&Ident]) -> TokenStream {
    let mut names = Names { items, tokens: TokenStream::new(), own: Vec::new() };
    let targets = net.losses.iter().flat_map(|loss| &loss.targets);
    for name in net.inputs.iter().chain(&net.outputs).chain(targets).filter_map(|port| port.name.as_ref()) {
        names.declare(name);
    }
    names.body(&net.body);
    net.losses.iter().for_each(|loss| names.expr(&loss.expr));
    net.metrics.iter().for_each(|metric| names.expr(&metric.expr));
    names.scope()
}

fn lambda(lambda: &Lambda, items: &[&Ident]) -> TokenStream {
    let mut names = Names { items, tokens: TokenStream::new(), own: Vec::new() };
    names.declare(&lambda.operand);
    for (extra, start) in &lambda.extras {
        names.expr(start);
        names.declare(extra);
    }
    names.expr(&lambda.body);
    names.scope()
}

/// One scope of names.
struct Names<'n> {
    /// Functions and blocks.
    items: &'n [&'n Ident],
    tokens: TokenStream,
    own: Vec<String>,
}

impl Names<'_> {
    fn scope(self) -> TokenStream {
        let tokens = self.tokens;
        quote!({ #tokens })
    }

    fn declare(&mut self, name: &Ident) {
        // Not a variable: its pattern could be taken for a constant of the user's.
        if !self.own.contains(&text(name)) {
            self.own.push(text(name));
            self.tokens.extend(quote!(#[allow(dead_code)] fn #name() {}));
        }
    }

    fn mention(&mut self, name: &Ident) {
        let known = self.own.contains(&text(name)) || self.items.iter().any(|item| text(item) == text(name));
        if known {
            self.tokens.extend(quote!(let _ = #name;));
        }
    }

    fn body(&mut self, body: &Body) {
        body.stages.iter().for_each(|stage| self.stage(stage));
    }

    fn stage(&mut self, stage: &Stage) {
        match &stage.kind {
            StageKind::Call(name, args) => {
                self.mention(name);
                self.args(args);
            }
            StageKind::Lambda(inner) => {
                let inner = lambda(inner, self.items);
                self.tokens.extend(inner);
            }
            StageKind::Residual(body, skip) => {
                self.body(body);
                skip.iter().for_each(|skip| self.body(skip));
            }
            StageKind::Repeat(args, body) => {
                self.args(args);
                self.body(body);
            }
            StageKind::Broken => {}
        }
        stage.alias.iter().for_each(|alias| self.declare(alias));
    }

    fn args(&mut self, args: &[Argument]) {
        args.iter().for_each(|arg| self.expr(&arg.value));
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) => self.mention(name),
            ExprKind::Paren(x) | ExprKind::Neg(x) => self.expr(x),
            ExprKind::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| self.expr(x)),
            ExprKind::If(p, x, y) => [p, x, y].into_iter().for_each(|x| self.expr(x)),
            ExprKind::List(elements) => elements.iter().for_each(|x| self.expr(x)),
            ExprKind::Call(name, args) => {
                self.mention(name);
                self.args(args);
            }
            _ => {}
        }
    }
}
