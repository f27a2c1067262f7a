//! The description of a network: in constants, or as what its program assembles.

use gradloom_runtime::layers::{Arg, LayerDef};
use gradloom_runtime::network::{
    Act, At, BinaryOp, Clause, Definition, Expr, Extent, Flow, Kind, Number, Outcome, Port, Scalar, Scan, Span, Split,
    Stage, Value,
};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use crate::ast::Site;
use crate::resolve::{Deferred, Elsewhere, Network};

/// Whether a network is assembled when its program runs.
pub fn is_assembled(network: &Network<'_>) -> bool {
    let Deferred { elsewhere, has_lists, .. } = &network.deferred;
    !network.ast.sizes.is_empty() || !elsewhere.is_empty() || *has_lists
}

/// The tokens of a `Definition`.
pub fn definition(network: &Network<'_>) -> TokenStream {
    let writer = Writer { sites: &network.sites, deferred: &network.deferred, assembles: is_assembled(network) };
    let definition = &network.definition;
    match writer.assembles {
        false => {
            let acts = definition.acts.iter().map(|act| writer.act(act));
            let (acts, places) = (quote!(&[#(#acts),*]), writer.places());
            writer.definition(definition, &acts, &places)
        }
        true => {
            let begin = writer.begin(definition.acts);
            let definition = writer.definition(definition, &quote!(&[]), &quote!(&[]));
            quote!({ #begin #definition })
        }
    }
}

/// Writes constants, or what a program assembles: then nothing is a constant but has to be kept, and places and functions are
/// counted from where those of their part begin.
pub struct Writer<'n> {
    pub sites: &'n [Site],
    pub deferred: &'n Deferred,
    pub assembles: bool,
}

impl Writer<'_> {
    /// Brings the places and functions of a part to those of the whole.
    pub fn begin(&self, acts: &[Act<'_>]) -> TokenStream {
        let (places, count) = (self.places(), acts.len());
        let acts = self.acts(acts);
        quote!(let base = assembly.begin(#places, #count); #acts)
    }

    /// Puts functions in their places.
    pub fn acts(&self, acts: &[Act<'_>]) -> TokenStream {
        let acts = acts.iter().enumerate().map(|(index, act)| {
            let act = self.act(act);
            quote!({ let act = #act; assembly.act(base.act + #index, act); })
        });
        quote!(#(#acts)*)
    }

    pub fn places(&self) -> TokenStream {
        let places = self.sites.iter().map(|site| place(*site));
        quote!(&[#(#places),*])
    }

    /// A reference to a value.
    fn one(&self, value: TokenStream) -> TokenStream {
        if self.assembles { quote!(__gradloom::keep(#value)) } else { quote!(&#value) }
    }

    /// A reference to several.
    fn list(&self, values: impl Iterator<Item = TokenStream>) -> TokenStream {
        if self.assembles { quote!(__gradloom::keep_all([#(#values),*])) } else { quote!(&[#(#values),*]) }
    }

    fn at(&self, at: At) -> TokenStream {
        let index = at.0;
        if self.assembles { quote!(base.at(#index)) } else { quote!(__gradloom::At(#index)) }
    }

    fn act_index(&self, index: usize) -> TokenStream {
        if self.assembles { quote!(base.act + #index) } else { quote!(#index) }
    }

    fn definition(&self, definition: &Definition<'_>, acts: &TokenStream, places: &TokenStream) -> TokenStream {
        let name = definition.name;
        let [inputs, outputs, targets] = [definition.inputs, definition.outputs, definition.targets]
            .map(|ports| self.list(ports.iter().map(|port| self.port(port))));
        let scalars = self.list(definition.scalars.iter().map(|Scalar { name, value, at }| {
            let at = self.at(*at);
            quote!(__gradloom::Scalar { name: #name, value: #value, at: #at })
        }));
        let (layers, body) = (self.stages(definition.layers), self.stages(definition.body));
        let flows = self.list(definition.flows.iter().map(|flow| self.flow(flow)));
        let loss = option(definition.loss.as_ref().map(|loss| self.clause(loss)));
        let metrics = self.list(definition.metrics.iter().map(|metric| self.clause(metric)));
        quote! {
            __gradloom::Definition {
                name: #name,
                inputs: #inputs,
                outputs: #outputs,
                targets: #targets,
                acts: #acts,
                scalars: #scalars,
                layers: #layers,
                body: #body,
                flows: #flows,
                loss: #loss,
                metrics: #metrics,
                places: #places,
                assembled: ::core::option::Option::None,
            }
        }
    }

    fn port(&self, port: &Port<'_>) -> TokenStream {
        let Port { name, named, dtype, dims, at } = port;
        let dtype = format_ident!("{}", format!("{dtype:?}"));
        let dims = self.list(dims.iter().map(|dim| match dim {
            Extent::Batch(at) => {
                let at = self.at(*at);
                quote!(__gradloom::Extent::Batch(#at))
            }
            Extent::Size(number) => {
                let number = self.number(number);
                quote!(__gradloom::Extent::Size(#number))
            }
        }));
        let at = self.at(*at);
        quote! {
            __gradloom::Port {
                name: #name,
                named: #named,
                dtype: __gradloom::DType::#dtype,
                dims: #dims,
                at: #at,
            }
        }
    }

    fn number(&self, number: &Number<'_>) -> TokenStream {
        let Number { value, text, at } = number;
        let value = match (self.deferred.numbers.get(at), value) {
            (Some(tokens), _) => tokens.clone(),
            (None, Outcome::Int(n)) => quote!(__gradloom::Outcome::Int(#n)),
            (None, Outcome::Float(x)) => quote!(__gradloom::Outcome::Float(#x)),
            (None, _) => quote!(__gradloom::Outcome::Unknown),
        };
        let at = self.at(*at);
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

    pub fn stages(&self, stages: &[Stage<'_>]) -> TokenStream {
        self.list(stages.iter().map(|stage| self.stage(stage)))
    }

    fn flow(&self, flow: &Flow<'_>) -> TokenStream {
        let Flow { name, sources, stages, split, at } = flow;
        let (sources, stages, at) = (self.exprs(sources), self.stages(stages), self.at(*at));
        let split = option(split.map(|Split { names, axis, at }| {
            let (axis, at) = (self.number(&axis), self.at(at));
            quote!(__gradloom::Split { names: &[#(#names),*], axis: #axis, at: #at })
        }));
        quote!(__gradloom::Flow { name: #name, sources: #sources, stages: #stages, split: #split, at: #at })
    }

    fn stage(&self, stage: &Stage<'_>) -> TokenStream {
        let Stage { kind, segment, named, text, at } = stage;
        let kind = match kind {
            Kind::Layer(layer, args) => {
                let (layer, args) = (self.layer(layer, *at), self.values(args));
                quote!(__gradloom::Kind::Layer(#layer, #args))
            }
            Kind::Act(index, starts) => {
                let index = self.act_index(*index);
                quote!(__gradloom::Kind::Act(#index, &[#(#starts),*]))
            }
            Kind::Block(body) => {
                let body = self.stages(body);
                quote!(__gradloom::Kind::Block(#body))
            }
            Kind::Residual { body, skip } => {
                let (body, skip) = (self.stages(body), option(skip.map(|skip| self.stages(skip))));
                let residual = self.structure("Residual", *at);
                quote!(__gradloom::Kind::#residual { body: #body, skip: #skip })
            }
            Kind::Repeat { count, body } => {
                let (count, body) = (self.number(count), self.stages(body));
                let repeat = self.structure("Repeat", *at);
                quote!(__gradloom::Kind::#repeat { count: #count, body: #body })
            }
            Kind::Branches { bodies } => {
                let bodies = self.list(bodies.iter().map(|body| self.stages(body)));
                let branches = self.structure("Branches", *at);
                quote!(__gradloom::Kind::#branches { bodies: #bodies })
            }
            Kind::Scan(scan) => {
                let variant = self.structure("Scan", *at);
                let scan = self.scan(scan);
                quote!(__gradloom::Kind::#variant(#scan))
            }
            Kind::Shared(index) => quote!(__gradloom::Kind::Shared(#index)),
            Kind::Concat(axis) => {
                let (concat, axis) = (self.structure("Concat", *at), self.number(axis));
                quote!(__gradloom::Kind::#concat(#axis))
            }
            Kind::Elsewhere => self.stage_elsewhere(&self.deferred.elsewhere[at], *at),
            Kind::Broken => quote!(__gradloom::Kind::Broken),
        };
        let at = self.at(*at);
        quote! {
            __gradloom::DeclaredStage {
                kind: #kind,
                segment: #segment,
                named: #named,
                text: #text,
                at: #at,
            }
        }
    }

    /// A loop of the user's own.
    fn scan(&self, scan: &Scan<'_>) -> TokenStream {
        let Scan { args, element, state, numbers, lines, at } = scan;
        let numbers = numbers.iter().map(|(name, start)| quote!((#name, #start)));
        let (args, at) = (self.values(args), self.at(*at));
        let lines = self.list(lines.iter().map(|line| self.flow(line)));
        self.one(quote! {
            __gradloom::Scan {
                args: #args,
                element: #element,
                state: #state,
                numbers: &[#(#numbers),*],
                lines: #lines,
                at: #at,
            }
        })
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
        self.sites[at.0 as usize]
    }

    fn values(&self, values: &[Value<'_>]) -> TokenStream {
        self.list(values.iter().map(|value| match value {
            Value::Known(arg) => {
                let arg = self::arg(arg);
                quote!(__gradloom::Value::Known(__gradloom::Arg::#arg))
            }
            Value::Calculated(number) => {
                let number = self.number(number);
                quote!(__gradloom::Value::Calculated(#number))
            }
            Value::List(numbers, _) => {
                let numbers = numbers.iter().map(|number| self.number(number));
                quote!(__gradloom::list(&[#(#numbers),*]))
            }
            Value::Pair(pair) => {
                let [height, width] = pair.map(|number| self.number(&number));
                let pair = self.one(quote!([#height, #width]));
                quote!(__gradloom::Value::Pair(#pair))
            }
            Value::Init(initializer, at, values) => {
                let item = Ident::new(initializer.item, self.site(*at).start);
                let (at, values) = (self.at(*at), self.values(values));
                quote!(__gradloom::Value::Init(&__gradloom::initializers::#item, #at, #values))
            }
            Value::Broken => quote!(__gradloom::Value::Broken),
        }))
    }

    fn clause(&self, clause: &Clause<'_>) -> TokenStream {
        let Clause { name, expr, at } = clause;
        let (expr, at) = (self.expr(expr), self.at(*at));
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
        self.list(exprs.iter().map(|expr| self.expr(expr)))
    }

    fn expr(&self, expr: &Expr<'_>) -> TokenStream {
        let operand = |expr: &Expr<'_>| self.one(self.expr(expr));
        let variant = match *expr {
            Expr::Number(value) => quote!(Number(#value)),
            Expr::Constant(_, at) => {
                let value = &self.deferred.numbers[&at];
                let at = self.at(at);
                quote!(Constant(#value, #at))
            }
            Expr::Name(name) => quote!(Name(#name)),
            Expr::Path(path, at) => {
                let at = self.at(at);
                quote!(Path(#path, #at))
            }
            Expr::Weights(at) => {
                let at = self.at(at);
                quote!(Weights(#at))
            }
            Expr::Neg(at, x) => {
                let (at, x) = (self.at(at), operand(x));
                quote!(Neg(#at, #x))
            }
            Expr::Not(at, x) => {
                let (at, x) = (self.at(at), operand(x));
                quote!(Not(#at, #x))
            }
            Expr::Binary(op, at, x, y) => {
                let (op, at, x, y) = (operator(op), self.at(at), operand(x), operand(y));
                quote!(Binary(__gradloom::BinaryOp::#op, #at, #x, #y))
            }
            Expr::If(at, p, x, y) => {
                let (at, p, x, y) = (self.at(at), operand(p), operand(x), operand(y));
                quote!(If(#at, #p, #x, #y))
            }
            Expr::Call(function, at, options, operands) => {
                let item = Ident::new(function.item, self.site(at).start);
                let (at, options, operands) = (self.at(at), self.values(options), self.exprs(operands));
                quote!(Call(&__gradloom::functions::#item, #at, #options, #operands))
            }
            Expr::Apply(layer, at, options, x) => {
                let layer = self.layer(layer, at);
                let (at, options, x) = (self.at(at), self.values(options), operand(x));
                quote!(Apply(#layer, #at, #options, #x))
            }
            Expr::Part(at, x, spans) => {
                let (at, x) = (self.at(at), operand(x));
                let spans = self.list(spans.iter().map(|span| self.span(span)));
                quote!(Part(#at, #x, #spans))
            }
            Expr::Inline(index, at, operands) => {
                let (index, at, operands) = (self.act_index(index), self.at(at), self.exprs(operands));
                quote!(Inline(#index, #at, #operands))
            }
            Expr::Elsewhere(at, operands) => {
                return self.call_elsewhere(&self.deferred.elsewhere[&at], at, operands);
            }
            Expr::Broken => quote!(Broken),
        };
        quote!(__gradloom::Expr::#variant)
    }

    /// A block or a function that the macro does not see, as a stage.
    fn stage_elsewhere(&self, elsewhere: &Elsewhere, at: At) -> TokenStream {
        let Elsewhere { path, text, given } = elsewhere;
        let given = given.iter().filter_map(|given| {
            let (name, text, at) =
                (option(given.name.as_ref().map(|name| quote!(#name))), &given.text, self.at(given.at));
            let [size, number] = given.value.as_ref()?;
            let value = quote!(__gradloom::Bound { size: #size, number: #number });
            Some(quote!(__gradloom::Given { name: #name, value: #value, text: #text, at: #at }))
        });
        let at = self.at(at);
        quote!(assembly.stage::<#path>(#at, #text, &[#(#given),*]))
    }

    /// A function that the macro does not see, applied to operands.
    fn call_elsewhere(&self, elsewhere: &Elsewhere, at: At, operands: &[Expr<'_>]) -> TokenStream {
        let Elsewhere { path, text, given } = elsewhere;
        let operands = given.iter().zip(operands).map(|(given, operand)| {
            let (name, text, at) =
                (option(given.name.as_ref().map(|name| quote!(#name))), &given.text, self.at(given.at));
            let value = self.expr(operand);
            quote!(__gradloom::Operand { name: #name, value: #value, text: #text, at: #at })
        });
        let at = self.at(at);
        quote!({ let operands = [#(#operands),*]; assembly.function::<#path>(#at, #text, &operands) })
    }
}

fn arg(arg: &Arg) -> TokenStream {
    match arg {
        Arg::Int(n) => quote!(Int(#n)),
        Arg::Pair(height, width) => quote!(Pair(#height, #width)),
        Arg::Float(x) => quote!(Float(#x)),
        Arg::Flag(flag) => quote!(Flag(#flag)),
        Arg::Word(word) => quote!(Word(#word)),
        Arg::Path(path) => quote!(Path(#path)),
        Arg::Init(initializer, number) => {
            let item = format_ident!("{}", initializer.item);
            let number = option(number.map(|number| quote!(#number)));
            quote!(Init(&__gradloom::initializers::#item, #number))
        }
        Arg::Ints(list) => quote!(Ints(&[#(#list),*])),
        Arg::Numbers(list) => quote!(Numbers(&[#(#list),*])),
    }
}

/// rustc fills in the position, because the macro carries the span of the user's token.
fn place(site: Site) -> TokenStream {
    quote_spanned!(site.start=> __gradloom::place!())
}

/// The name of the variant.
fn operator(op: BinaryOp) -> Ident {
    format_ident!("{}", format!("{op:?}"))
}

pub fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
