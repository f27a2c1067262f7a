//! The user's own names once more, as Rust knows them: so that an editor goes from the use of a port, a named value, a
//! constant, a function or a block to where it is declared and shows its documentation, and rustc warns of those of them
//! that nobody uses.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::Attribute;

use crate::ast::{
    Argument, Body, Const, Expr, ExprKind, Lambda, Line, Net, Program, Range, Scan, Stage, StageKind, text,
};

/// A constant without a value that mentions every name where the user does.
pub fn names(program: &Program) -> TokenStream {
    let acts = program.acts.iter().map(|act| (&act.name, &act.docs));
    let own: Vec<(&Ident, &Vec<Attribute>)> =
        acts.chain(program.blocks.iter().map(|block| (&block.name, &block.docs))).collect();
    let items: HashSet<String> =
        own.iter().map(|(name, _)| *name).chain(program.consts.iter().map(|item| &item.name)).map(text).collect();
    let scopes = program.nets.iter().map(|net| network(net, &items));
    let inner = program.acts.iter().map(|act| lambda(&act.lambda, &items));
    let blocks = program.blocks.iter().map(|block| {
        let mut names = Names::new(&items);
        for (param, default) in &block.params {
            default.iter().for_each(|default| names.expr(default));
            names.declare(param);
        }
        names.body(&block.body);
        names.scope()
    });
    // Of two with one name the first.
    let mut declared = HashSet::new();
    let mut tokens = TokenStream::new();
    for (name, docs) in own.into_iter().filter(|(name, _)| declared.insert(text(name))) {
        tokens.extend(quote!(#(#docs)* fn #name() {}));
    }
    for Const { docs, name, value } in program.consts.iter().filter(|item| declared.insert(text(&item.name))) {
        let mut names = Names::new(&items);
        names.expr(value);
        // Beside the constant: one that is defined in terms of itself is reported already.
        let uses = names.scope();
        tokens.extend(quote!(#(#docs)* const #name: () = (); #uses));
    }
    quote! {
        #[allow(non_snake_case, non_upper_case_globals, clippy::all)]
        const _: () = {
            #tokens
            #(#inner)*
            #(#blocks)*
            #(#scopes)*
        };
    }
}

fn network(net: &Net, items: &HashSet<String>) -> TokenStream {
    let mut names = Names::new(items);
    for size in &net.sizes {
        names.expr(&size.default);
        names.declare(&size.name);
    }
    let targets = net.losses.iter().flat_map(|loss| &loss.targets);
    for port in net.inputs.iter().chain(&net.outputs).chain(targets) {
        port.dims.iter().for_each(|dim| names.expr(dim));
        port.name.iter().for_each(|name| names.declare(name));
    }
    for scalar in &net.scalars {
        names.expr(&scalar.value);
        names.declare(&scalar.name);
    }
    names.body(&net.body);
    net.lines.iter().for_each(|line| names.line(line));
    net.losses.iter().for_each(|loss| names.expr(&loss.expr));
    net.metrics.iter().for_each(|metric| names.expr(&metric.expr));
    names.scope()
}

fn lambda(lambda: &Lambda, items: &HashSet<String>) -> TokenStream {
    let mut names = Names::new(items);
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
    /// Functions, blocks and constants.
    items: &'n HashSet<String>,
    tokens: TokenStream,
    own: HashSet<String>,
}

impl<'n> Names<'n> {
    fn new(items: &'n HashSet<String>) -> Names<'n> {
        Names { items, tokens: TokenStream::new(), own: HashSet::new() }
    }

    fn scope(self) -> TokenStream {
        let tokens = self.tokens;
        quote!({ #tokens })
    }

    fn declare(&mut self, name: &Ident) {
        // Not a variable: its pattern could be taken for a constant of the user's.
        if self.own.insert(text(name)) {
            self.tokens.extend(quote!(#[allow(dead_code)] fn #name() {}));
        }
    }

    fn mention(&mut self, name: &Ident) {
        let known = text(name);
        if self.own.contains(&known) || self.items.contains(&known) {
            self.tokens.extend(quote!(let _ = #name;));
        }
    }

    fn line(&mut self, line: &Line) {
        match line {
            Line::Layer(name, stage) => {
                self.stage(stage);
                self.declare(name);
            }
            Line::Flow(flow) => {
                flow.sources.iter().for_each(|source| self.expr(source));
                flow.stages.iter().for_each(|stage| self.stage(stage));
                // An output is declared as a port, and this is a use of it.
                flow.names.iter().for_each(|name| if flow.is_let { self.declare(name) } else { self.mention(name) });
            }
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
            StageKind::Elsewhere(_, args) => self.args(args),
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
            StageKind::Concat(bodies) => bodies.iter().for_each(|body| self.body(body)),
            StageKind::Scan(scan) => self.scan(scan),
            StageKind::Body(body) => self.body(body),
            StageKind::Broken => {}
        }
        stage.alias.iter().for_each(|alias| self.declare(alias));
    }

    /// A scope that sees this one.
    fn scan(&mut self, scan: &Scan) {
        self.args(&scan.args);
        scan.extras.iter().for_each(|(_, start)| self.expr(start));
        let seen: HashSet<String> = self.items.iter().chain(&self.own).cloned().collect();
        let mut inner = Names::new(&seen);
        scan.names().for_each(|name| inner.declare(name));
        scan.lines.iter().for_each(|line| inner.line(line));
        scan.next.sources.iter().for_each(|source| inner.expr(source));
        scan.next.stages.iter().for_each(|stage| inner.stage(stage));
        let inner = inner.scope();
        self.tokens.extend(inner);
    }

    fn args(&mut self, args: &[Argument]) {
        args.iter().for_each(|arg| self.expr(&arg.value));
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) => self.mention(name),
            // The path of a parameter may begin with the name of a value.
            ExprKind::Member(_, names) => names.first().iter().for_each(|name| self.mention(name)),
            ExprKind::Paren(x) | ExprKind::Neg(x) | ExprKind::Not(x) => self.expr(x),
            ExprKind::Binary(_, _, x, y) => [x, y].into_iter().for_each(|x| self.expr(x)),
            ExprKind::If(p, x, y) => [p, x, y].into_iter().for_each(|x| self.expr(x)),
            ExprKind::Part(x, ranges) => {
                self.expr(x);
                ranges.iter().flat_map(Range::bounds).for_each(|bound| self.expr(bound));
            }
            ExprKind::List(elements) | ExprKind::Tuple(elements) => elements.iter().for_each(|x| self.expr(x)),
            ExprKind::Call(name, args) => {
                self.mention(name);
                self.args(args);
            }
            ExprKind::Elsewhere(_, args) => self.args(args),
            _ => {}
        }
    }
}
