//! From a checked network to Rust: its type, its report, and its description in constants.
//!
//! In: the networks and the mistakes. Out: tokens. After a mistake each network still has its type, with the ports as far
//! as they were understood and an empty description, so that nothing that uses it is wrong as well. No decision is made
//! here, and every path is absolute, through the facade.

use gradloom_runtime::layers::{Arg, LayerDef};
use gradloom_runtime::network::BinaryOp;
use gradloom_runtime::types::{DType, Dim};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use crate::ast::{Site, text};
use crate::diagnostics::Errors;
use crate::resolve::{Clause, Expr, MOST_AXES, Network, Port, Stage};

/// Expands everything in a `network! { .. }`.
pub fn program(networks: &[Network<'_>], errors: &Errors) -> TokenStream {
    let mistakes = errors.to_tokens();
    let networks = networks.iter().map(|network| expand(network, errors.is_empty()));
    quote!(#mistakes #(#networks)*)
}

fn expand(network: &Network<'_>, sound: bool) -> TokenStream {
    let network_type = network_type(network);
    let report = report(network);
    let definition = if sound { definition(network) } else { empty_definition(network) };
    let implementation = implementation(network, &definition);
    let constructors = constructors(network);
    quote!(#network_type #report #implementation #constructors)
}

fn network_type(network: &Network<'_>) -> TokenStream {
    let (attrs, vis, name) = (&network.ast.attrs, &network.ast.vis, &network.ast.name);
    quote! {
        #(#attrs)*
        #[derive(Clone, Copy, Debug)]
        #vis struct #name;
    }
}

/// The struct with the loss and the metrics of a step.
fn report(network: &Network<'_>) -> TokenStream {
    let (vis, name, step) = (&network.ast.vis, &network.ast.name, step_name(network));
    let doc = format!(" What one step of [`{name}`] reports.");
    let loss_doc = match &network.loss {
        Some(loss) => format!(" The loss, `{}`, before the step.", loss.written),
        None => " No loss is declared.".to_string(),
    };
    let fields = network.metrics.iter().map(|metric| {
        let name = metric.name;
        let doc = format!(" `{}`, before the step.", metric.written);
        quote! {
            #[doc = #doc]
            #vis #name: f32
        }
    });
    quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(dead_code)]
        #vis struct #step {
            #[doc = #loss_doc]
            #vis loss: f32,
            #(#fields),*
        }
    }
}

fn step_name(network: &Network<'_>) -> Ident {
    let name = &network.ast.name;
    format_ident!("{}Step", name, span = name.span())
}

fn implementation(network: &Network<'_>, definition: &TokenStream) -> TokenStream {
    let (name, step) = (&network.ast.name, step_name(network));
    let inputs = views(&network.inputs);
    let targets = views(&network.targets);
    let outputs = views(&network.outputs);
    let visit_inputs = visits("inputs", &network.inputs);
    let visit_targets = visits("targets", &network.targets);
    let next_outputs = tuple(network.outputs.iter().map(|_| quote!(::gradloom::__private::view(next()))));
    let metrics = network.metrics.iter().enumerate().map(|(index, metric)| {
        let name = metric.name;
        quote!(#name: report.metrics[#index])
    });
    quote! {
        #[automatically_derived]
        impl ::gradloom::Network for #name {
            type Inputs<'a> = #inputs;
            type Targets<'a> = #targets;
            type Outputs<'a> = #outputs;
            type Step = #step;

            const DEFINITION: &'static ::gradloom::__private::Definition = &#definition;

            #[allow(unused_variables)]
            fn inputs<'a>(
                inputs: Self::Inputs<'a>,
                visit: &mut dyn ::core::ops::FnMut(::gradloom::__private::Tensor<'a>),
            ) {
                #visit_inputs
            }

            #[allow(unused_variables)]
            fn targets<'a>(
                targets: Self::Targets<'a>,
                visit: &mut dyn ::core::ops::FnMut(::gradloom::__private::Tensor<'a>),
            ) {
                #visit_targets
            }

            #[allow(unused_variables)]
            fn outputs<'a>(
                next: &mut dyn ::core::ops::FnMut() -> ::gradloom::ndarray::ArrayViewD<'a, f32>,
            ) -> Self::Outputs<'a> {
                #next_outputs
            }

            fn step(report: &::gradloom::__private::Report<'_>) -> Self::Step {
                #step { loss: report.loss, #(#metrics),* }
            }
        }
    }
}

fn constructors(network: &Network<'_>) -> TokenStream {
    let (vis, name) = (&network.ast.vis, &network.ast.name);
    let [trainer, predictor, ir] = [
        format!(" Configures a training session for [`{name}`]; `build()` compiles it."),
        format!(" Inference alone of [`{name}`], to read its stages: `ir(stage)`."),
        format!(" The text of a stage of [`{name}`] that needs neither an optimiser nor a machine."),
    ];
    quote! {
        #[allow(dead_code)]
        impl #name {
            #[doc = #trainer]
            #vis fn trainer(optimiser: impl ::gradloom::Optimiser + 'static) -> ::gradloom::Trainer<#name> {
                ::gradloom::Trainer::new(optimiser)
            }

            #[doc = #predictor]
            #vis fn predictor() -> ::gradloom::PredictorBuilder<#name> {
                ::gradloom::PredictorBuilder::new()
            }

            #[doc = #ir]
            #vis fn ir(stage: ::gradloom::Stage) -> ::std::string::String {
                ::gradloom::__private::ir::<#name>(stage)
            }
        }
    }
}

/// The type of the tensors as the user passes them: one view, or a tuple of several.
fn views(ports: &[Port]) -> TokenStream {
    tuple(ports.iter().map(|port| {
        let element = format_ident!("{}", port.dtype.unwrap_or(DType::F32).to_string());
        match port.dims.len() {
            rank @ 1..=MOST_AXES => {
                let view = format_ident!("ArrayView{rank}");
                quote!(::gradloom::ndarray::#view<'a, #element>)
            }
            _ => quote!(::gradloom::ndarray::ArrayViewD<'a, #element>),
        }
    }))
}

/// Hands out the tensors of a value of that type, one after the other.
fn visits(variable: &str, ports: &[Port]) -> TokenStream {
    let variable = format_ident!("{variable}");
    match ports.len() {
        1 => quote!(visit(#variable.into());),
        n => {
            let fields = (0..n).map(syn::Index::from);
            quote!(#(visit(#variable.#fields.into());)*)
        }
    }
}

/// The element alone if there is one, else a tuple.
fn tuple(elements: impl ExactSizeIterator<Item = TokenStream>) -> TokenStream {
    match elements.len() {
        1 => quote!(#(#elements)*),
        _ => quote!((#(#elements),*)),
    }
}

/// What stands in for the description after a mistake.
fn empty_definition(network: &Network<'_>) -> TokenStream {
    let name = text(&network.ast.name);
    quote! {
        ::gradloom::__private::Definition {
            name: #name,
            inputs: &[],
            outputs: &[],
            targets: &[],
            body: &[],
            loss: ::core::option::Option::None,
            metrics: &[],
        }
    }
}

fn definition(network: &Network<'_>) -> TokenStream {
    let name = text(&network.ast.name);
    let [inputs, outputs, targets] = [&network.inputs, &network.outputs, &network.targets].map(|ports| {
        let ports = ports.iter().map(port);
        quote!(&[#(#ports),*])
    });
    let body = network.body.iter().flatten().map(stage);
    let loss = option(network.loss.as_ref().map(clause));
    let metrics = network.metrics.iter().map(|metric| {
        let (name, expr) = (text(metric.name), clause(metric));
        quote!(::gradloom::__private::Metric { name: #name, expr: #expr })
    });
    quote! {
        ::gradloom::__private::Definition {
            name: #name,
            inputs: #inputs,
            outputs: #outputs,
            targets: #targets,
            body: &[#(#body),*],
            loss: #loss,
            metrics: &[#(#metrics),*],
        }
    }
}

fn port(port: &Port) -> TokenStream {
    let name = &port.name;
    let ty = port.ty().expect("a network without mistakes has ports that make sense");
    let dtype = format_ident!("{}", format!("{:?}", ty.dtype));
    let dims = ty.shape.0.iter().map(|dim| match dim {
        Dim::Fixed(n) => quote!(::gradloom::__private::Dim::Fixed(#n)),
        Dim::Batch(n) => quote!(::gradloom::__private::Dim::Batch(#n)),
    });
    quote! {
        ::gradloom::__private::Port {
            name: #name,
            dtype: ::gradloom::__private::DType::#dtype,
            dims: &[#(#dims),*],
        }
    }
}

fn stage(stage: &Stage) -> TokenStream {
    let layer = layer(stage.layer, stage.site.start);
    let args = args(stage.args.as_ref().expect("a network without mistakes has arguments that make sense"));
    let (path, text) = (&stage.path, &stage.text);
    let name = option(stage.alias.as_ref().map(|alias| quote!(#alias)));
    let place = place(stage.site);
    quote! {
        ::gradloom::__private::DeclaredStage {
            layer: #layer,
            args: #args,
            path: #path,
            name: #name,
            text: #text,
            place: #place,
        }
    }
}

/// The documented constant of a layer, under the user's token: that is where an editor looks it up.
fn layer(layer: &'static LayerDef, span: Span) -> TokenStream {
    let item = Ident::new(layer.item, span);
    quote!(&::gradloom::__private::layers::#item)
}

fn args(args: &[Arg]) -> TokenStream {
    let args = args.iter().map(|arg| match arg {
        Arg::Int(n) => quote!(::gradloom::__private::Arg::Int(#n)),
        Arg::Float(x) => quote!(::gradloom::__private::Arg::Float(#x)),
        Arg::Flag(flag) => quote!(::gradloom::__private::Arg::Flag(#flag)),
        Arg::Word(word) => quote!(::gradloom::__private::Arg::Word(#word)),
        Arg::Numbers(list) => quote!(::gradloom::__private::Arg::Numbers(&[#(#list),*])),
    });
    quote!(&[#(#args),*])
}

/// rustc fills in the position, because the macros carry the span of the user's token.
fn place(site: Site) -> TokenStream {
    quote_spanned! {site.start=>
        ::gradloom::__private::Place {
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
        }
    }
}

fn clause(clause: &Clause<'_>) -> TokenStream {
    expr(clause.expr.as_ref().expect("a network without mistakes has expressions that make sense"))
}

fn expr(tree: &Expr<'_>) -> TokenStream {
    let variant = match tree {
        Expr::Number(value) => quote!(Number(#value)),
        Expr::Name(name) | Expr::Param(name, _) => quote!(Name(#name)),
        Expr::Neg(_, x) => {
            let x = expr(x);
            quote!(Neg(&#x))
        }
        Expr::Binary(op, _, x, y) => {
            let (op, x, y) = (operator(*op), expr(x), expr(y));
            quote!(Binary(::gradloom::__private::BinaryOp::#op, &#x, &#y))
        }
        Expr::Call(function, name, options, operands) => {
            let item = Ident::new(function.item, name.span());
            let (options, operands) = (args(options), operands.iter().map(expr));
            quote!(Call(&::gradloom::__private::functions::#item, #options, &[#(#operands),*]))
        }
        Expr::Apply(def, name, options, x) => {
            let (layer, options, x) = (layer(def, name.span()), args(options), expr(x));
            quote!(Apply(#layer, #options, &#x))
        }
    };
    quote!(::gradloom::__private::Expr::#variant)
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
