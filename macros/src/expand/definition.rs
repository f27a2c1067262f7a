//! The description of a network in constants.

use gradloom_runtime::layers::{Arg, LayerDef};
use gradloom_runtime::network::{
    Act, At, BinaryOp, Clause, Expr, Extent, Flow, Kind, Number, Outcome, Port, Scalar, Span, Split, Stage, Value,
};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use crate::ast::Site;
use crate::resolve::Network;

/// The tokens of a `Definition`.
pub fn definition(network: &Network<'_>) -> TokenStream {
    Writer { network }.definition()
}

struct Writer<'n> {
    network: &'n Network<'n>,
}

impl Writer<'_> {
    fn definition(&self) -> TokenStream {
        let definition = &self.network.definition;
        let name = definition.name;
        let [inputs, outputs, targets] = [definition.inputs, definition.outputs, definition.targets].map(|ports| {
            let ports = ports.iter().map(|port| self.port(port));
            quote!(&[#(#ports),*])
        });
        let acts = definition.acts.iter().map(|act| self.act(act));
        let scalars = definition.scalars.iter().map(|Scalar { name, value, at }| {
            let at = self::at(*at);
            quote!(__gradloom::Scalar { name: #name, value: #value, at: #at })
        });
        let (layers, body) = (self.stages(definition.layers), self.stages(definition.body));
        let flows = definition.flows.iter().map(|flow| self.flow(flow));
        let loss = option(definition.loss.as_ref().map(|loss| self.clause(loss)));
        let metrics = definition.metrics.iter().map(|metric| self.clause(metric));
        let places = self.network.sites.iter().map(|site| place(*site));
        quote! {
            __gradloom::Definition {
                name: #name,
                inputs: #inputs,
                outputs: #outputs,
                targets: #targets,
                acts: &[#(#acts),*],
                scalars: &[#(#scalars),*],
                layers: #layers,
                body: #body,
                flows: &[#(#flows),*],
                loss: #loss,
                metrics: &[#(#metrics),*],
                places: &[#(#places),*],
            }
        }
    }

    fn port(&self, port: &Port<'_>) -> TokenStream {
        let Port { name, named, dtype, dims, at } = port;
        let dtype = format_ident!("{}", format!("{dtype:?}"));
        let dims = dims.iter().map(|dim| match dim {
            Extent::Batch(at) => {
                let at = self::at(*at);
                quote!(__gradloom::Extent::Batch(#at))
            }
            Extent::Size(number) => {
                let number = self.number(number);
                quote!(__gradloom::Extent::Size(#number))
            }
        });
        let at = self::at(*at);
        quote! {
            __gradloom::Port {
                name: #name,
                named: #named,
                dtype: __gradloom::DType::#dtype,
                dims: &[#(#dims),*],
                at: #at,
            }
        }
    }

    fn number(&self, number: &Number<'_>) -> TokenStream {
        let Number { value, text, at } = number;
        let value = match (self.network.deferred.get(at), value) {
            (Some(tokens), _) => tokens.clone(),
            (None, Outcome::Int(n)) => quote!(__gradloom::Outcome::Int(#n)),
            (None, Outcome::Float(x)) => quote!(__gradloom::Outcome::Float(#x)),
            (None, _) => quote!(__gradloom::Outcome::Unknown),
        };
        let at = self::at(*at);
        quote!(__gradloom::Number { value: #value, text: #text, at: #at })
    }

    fn act(&self, act: &Act<'_>) -> TokenStream {
        let Act { name, operand, extras, expr } = act;
        let name = option(name.map(|name| quote!(#name)));
        let extras = extras.iter().map(|(name, start)| quote!((#name, #start)));
        let expr = self.expr(expr);
        quote! {
            __gradloom::Act { name: #name, operand: #operand, extras: &[#(#extras),*], expr: #expr }
        }
    }

    fn stages(&self, stages: &[Stage<'_>]) -> TokenStream {
        let stages = stages.iter().map(|stage| self.stage(stage));
        quote!(&[#(#stages),*])
    }

    fn flow(&self, flow: &Flow<'_>) -> TokenStream {
        let Flow { name, sources, stages, split, at } = flow;
        let (sources, stages, at) = (self.exprs(sources), self.stages(stages), self::at(*at));
        let split = option(split.map(|Split { names, axis, at }| {
            let at = self::at(at);
            quote!(__gradloom::Split { names: &[#(#names),*], axis: #axis, at: #at })
        }));
        quote!(__gradloom::Flow { name: #name, sources: #sources, stages: #stages, split: #split, at: #at })
    }

    fn stage(&self, stage: &Stage<'_>) -> TokenStream {
        let Stage { kind, segment, named, text, at } = stage;
        let kind = match kind {
            Kind::Layer(layer, args) => {
                let (layer, args) = (self.layer(layer, *at), self.values(args));
                quote!(Layer(#layer, #args))
            }
            Kind::Act(index, starts) => quote!(Act(#index, &[#(#starts),*])),
            Kind::Block(body) => {
                let body = self.stages(body);
                quote!(Block(#body))
            }
            Kind::Residual { body, skip } => {
                let (body, skip) = (self.stages(body), option(skip.map(|skip| self.stages(skip))));
                let residual = self.structure("Residual", *at);
                quote!(#residual { body: #body, skip: #skip })
            }
            Kind::Repeat { count, body } => {
                let (count, body) = (self.number(count), self.stages(body));
                let repeat = self.structure("Repeat", *at);
                quote!(#repeat { count: #count, body: #body })
            }
            Kind::Branches { bodies } => {
                let bodies = bodies.iter().map(|body| self.stages(body));
                let branches = self.structure("Branches", *at);
                quote!(#branches { bodies: &[#(#bodies),*] })
            }
            Kind::Shared(index) => quote!(Shared(#index)),
            Kind::Concat(axis) => {
                let concat = self.structure("Concat", *at);
                quote!(#concat(#axis))
            }
            Kind::Broken => quote!(Broken),
        };
        let at = self::at(*at);
        quote! {
            __gradloom::DeclaredStage {
                kind: __gradloom::Kind::#kind,
                segment: #segment,
                named: #named,
                text: #text,
                at: #at,
            }
        }
    }

    /// The documented constant of a layer, under the user's token: that is where an editor looks it up.
    fn layer(&self, layer: &'static LayerDef, at: At) -> TokenStream {
        let item = Ident::new(layer.item, self.site(at).start);
        quote!(&__gradloom::layers::#item)
    }

    /// The documented variant of a structure, likewise.
    fn structure(&self, variant: &str, at: At) -> Ident {
        Ident::new(variant, self.site(at).start)
    }

    fn site(&self, at: At) -> Site {
        self.network.sites[at.0 as usize]
    }

    fn values(&self, values: &[Value<'_>]) -> TokenStream {
        let values = values.iter().map(|value| match value {
            Value::Known(arg) => {
                let arg = self::arg(arg);
                quote!(__gradloom::Value::Known(__gradloom::Arg::#arg))
            }
            Value::Calculated(number) => {
                let number = self.number(number);
                quote!(__gradloom::Value::Calculated(#number))
            }
            Value::Pair(pair) => {
                let [height, width] = pair.map(|number| self.number(&number));
                quote!(__gradloom::Value::Pair(&[#height, #width]))
            }
            Value::Init(initializer, at, values) => {
                let item = Ident::new(initializer.item, self.site(*at).start);
                let (at, values) = (self::at(*at), self.values(values));
                quote!(__gradloom::Value::Init(&__gradloom::initializers::#item, #at, #values))
            }
            Value::Broken => quote!(__gradloom::Value::Broken),
        });
        quote!(&[#(#values),*])
    }

    fn clause(&self, clause: &Clause<'_>) -> TokenStream {
        let Clause { name, expr, at } = clause;
        let (expr, at) = (self.expr(expr), self::at(*at));
        quote!(__gradloom::Clause { name: #name, expr: #expr, at: #at })
    }

    fn span(&self, span: &Span<'_>) -> TokenStream {
        let span = match span {
            Span::All => quote!(All),
            Span::Range(from, to) => {
                let [from, to] = [from, to].map(|bound| option(bound.as_ref().map(|bound| self.number(bound))));
                quote!(Range(#from, #to))
            }
            Span::One(at) => {
                let at = self.number(at);
                quote!(One(#at))
            }
        };
        quote!(__gradloom::Span::#span)
    }

    fn exprs(&self, exprs: &[Expr<'_>]) -> TokenStream {
        let exprs = exprs.iter().map(|expr| self.expr(expr));
        quote!(&[#(#exprs),*])
    }

    fn expr(&self, expr: &Expr<'_>) -> TokenStream {
        let variant = match *expr {
            Expr::Number(value) => quote!(Number(#value)),
            Expr::Constant(_, at) => {
                let value = &self.network.deferred[&at];
                let at = self::at(at);
                quote!(Constant(#value, #at))
            }
            Expr::Name(name) => quote!(Name(#name)),
            Expr::Path(path, at) => {
                let at = self::at(at);
                quote!(Path(#path, #at))
            }
            Expr::Weights(at) => {
                let at = self::at(at);
                quote!(Weights(#at))
            }
            Expr::Neg(at, x) => {
                let (at, x) = (self::at(at), self.expr(x));
                quote!(Neg(#at, &#x))
            }
            Expr::Not(at, x) => {
                let (at, x) = (self::at(at), self.expr(x));
                quote!(Not(#at, &#x))
            }
            Expr::Binary(op, at, x, y) => {
                let (op, at, x, y) = (operator(op), self::at(at), self.expr(x), self.expr(y));
                quote!(Binary(__gradloom::BinaryOp::#op, #at, &#x, &#y))
            }
            Expr::If(at, p, x, y) => {
                let (at, p, x, y) = (self::at(at), self.expr(p), self.expr(x), self.expr(y));
                quote!(If(#at, &#p, &#x, &#y))
            }
            Expr::Call(function, at, options, operands) => {
                let item = Ident::new(function.item, self.site(at).start);
                let (at, options, operands) = (self::at(at), self.values(options), self.exprs(operands));
                quote!(Call(&__gradloom::functions::#item, #at, #options, #operands))
            }
            Expr::Apply(layer, at, options, x) => {
                let layer = self.layer(layer, at);
                let (at, options, x) = (self::at(at), self.values(options), self.expr(x));
                quote!(Apply(#layer, #at, #options, &#x))
            }
            Expr::Part(at, x, spans) => {
                let (at, x) = (self::at(at), self.expr(x));
                let spans = spans.iter().map(|span| self.span(span));
                quote!(Part(#at, &#x, &[#(#spans),*]))
            }
            Expr::Inline(index, at, operands) => {
                let (at, operands) = (self::at(at), self.exprs(operands));
                quote!(Inline(#index, #at, #operands))
            }
            Expr::Broken => quote!(Broken),
        };
        quote!(__gradloom::Expr::#variant)
    }
}

fn arg(arg: &Arg) -> TokenStream {
    match arg {
        Arg::Int(n) => quote!(Int(#n)),
        Arg::Pair(height, width) => quote!(Pair(#height, #width)),
        Arg::Float(x) => quote!(Float(#x)),
        Arg::Flag(flag) => quote!(Flag(#flag)),
        Arg::Word(word) => quote!(Word(#word)),
        Arg::Init(initializer, number) => {
            let item = format_ident!("{}", initializer.item);
            let number = option(number.map(|number| quote!(#number)));
            quote!(Init(&__gradloom::initializers::#item, #number))
        }
        Arg::Ints(list) => quote!(Ints(&[#(#list),*])),
        Arg::Numbers(list) => quote!(Numbers(&[#(#list),*])),
    }
}

fn at(at: At) -> TokenStream {
    let index = at.0;
    quote!(__gradloom::At(#index))
}

/// rustc fills in the position, because the macro carries the span of the user's token.
fn place(site: Site) -> TokenStream {
    quote_spanned!(site.start=> __gradloom::place!())
}

/// The name of the variant.
fn operator(op: BinaryOp) -> Ident {
    format_ident!("{}", format!("{op:?}"))
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
