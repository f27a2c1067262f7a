//! From a checked network to Rust: its type, its metrics, and its description in constants.
//!
//! In: the networks and the mistakes. Out: tokens. After a mistake each network still has its type, with the ports as far
//! as they were understood, so that nothing that uses it is wrong as well; and its description, in which the names of
//! layers are the user's own tokens, so that an editor finds their documentation. No decision is made here, and every path
//! is absolute, through the facade.

mod definition;
mod generic;
mod names;

use gradloom_runtime::elaborate::MOST_AXES;
use gradloom_runtime::network::Port;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, Meta, Path, Token, punctuated::Punctuated};

use crate::ast::{Metric, Program, text};
use crate::diagnostics::Errors;
use crate::resolve::Network;

/// Expands everything in a `network! { .. }`.
pub fn program(program: &Program, networks: &[Network<'_>], errors: &Errors) -> TokenStream {
    let mistakes = errors.to_tokens();
    let names = names::names(program);
    let networks = networks.iter().map(expand);
    quote!(#mistakes #(#networks)* #names)
}

fn expand(network: &Network<'_>) -> TokenStream {
    let network_type = network_type(network);
    let report = report(network);
    let definition = definition::definition(network);
    let implementation = implementation(network, &definition);
    let generic = generic::generic(network);
    let constructors = constructors(network);
    quote!(#network_type #report #implementation #generic #constructors)
}

fn network_type(network: &Network<'_>) -> TokenStream {
    let (attrs, vis, name) = (&network.ast.attrs, &network.ast.vis, &network.ast.name);
    let derived: Vec<Path> = attrs.iter().flat_map(derived).collect();
    let is_derived =
        |name: &str| derived.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == name));
    let traits = ["Clone", "Copy", "Debug"].into_iter().filter(|name| !is_derived(name));
    let traits = traits.map(|name| format_ident!("{name}"));
    quote! {
        #(#attrs)*
        #[derive(#(#traits),*)]
        #vis struct #name;
    }
}

/// The traits that an attribute derives.
fn derived(attr: &Attribute) -> Vec<Path> {
    match attr.path().is_ident("derive") {
        true => attr
            .parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)
            .map(|paths| paths.into_iter().collect())
            .unwrap_or_default(),
        false => Vec::new(),
    }
}

/// The attributes of the network that hold for everything it expands to: whether it is compiled at all, and which lints speak
/// of it. A deprecated network does not warn of itself.
fn shared(network: &Network<'_>) -> TokenStream {
    let mut tokens = TokenStream::new();
    for attr in &network.ast.attrs {
        if ["cfg", "allow", "warn", "deny"].iter().any(|name| attr.path().is_ident(name)) {
            attr.to_tokens(&mut tokens);
        } else if attr.path().is_ident("deprecated") {
            tokens.extend(quote!(#[allow(deprecated)]));
        }
    }
    tokens
}

/// `#[deprecated]` and `#[doc(hidden)]` hold for the metrics, too.
fn reported(attr: &&Attribute) -> bool {
    attr.path().is_ident("deprecated") || attr.path().is_ident("doc") && matches!(attr.meta, Meta::List(_))
}

/// The struct with the loss and the metrics.
fn report(network: &Network<'_>) -> TokenStream {
    let (vis, name, metrics_name) = (&network.ast.vis, &network.ast.name, metrics_name(network));
    let (shared, attrs) = (shared(network), network.ast.attrs.iter().filter(reported));
    let doc = format!(" Loss and metrics of [`{name}`]: of a step, before its update, or of an evaluation.");
    let loss_doc = match network.ast.losses.first() {
        Some(loss) => format!(" The loss, `{}`.", loss.expr),
        None => " No loss is declared.".to_string(),
    };
    let loss_docs = network.ast.losses.first().map_or(&[][..], |loss| &loss.docs);
    let fields = metrics(network).map(|metric| {
        let Metric { name, docs, expr } = metric;
        let doc = format!(" `{expr}`.");
        quote! {
            #(#docs)*
            #[doc = #doc]
            #vis #name: f32
        }
    });
    quote! {
        #shared
        #(#attrs)*
        #[doc = #doc]
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(dead_code)]
        #vis struct #metrics_name {
            #(#loss_docs)*
            #[doc = #loss_doc]
            #vis loss: f32,
            #(#fields),*
        }
    }
}

/// Those that became part of the description: of two with one name the first.
fn metrics<'n>(network: &'n Network<'_>) -> impl Iterator<Item = &'n Metric> {
    let mut kept = network.definition.metrics.iter().peekable();
    network.ast.metrics.iter().filter(move |metric| kept.next_if(|kept| text(&metric.name) == kept.name).is_some())
}

fn metrics_name(network: &Network<'_>) -> Ident {
    let name = &network.ast.name;
    format_ident!("{}Metrics", name, span = name.span())
}

fn implementation(network: &Network<'_>, definition: &TokenStream) -> TokenStream {
    let (name, metrics_name) = (&network.ast.name, metrics_name(network));
    let inputs = views(network.definition.inputs);
    let targets = views(network.definition.targets);
    let outputs = views(network.definition.outputs);
    let visit_inputs = visits("inputs", network.definition.inputs);
    let visit_targets = visits("targets", network.definition.targets);
    let next_outputs = tuple(network.definition.outputs.iter().map(|_| quote!(::gradloom::__private::view(next()))));
    let metrics = metrics(network).enumerate().map(|(index, metric)| {
        let name = &metric.name;
        quote!(#name: report.metrics[#index])
    });
    let shared = shared(network);
    quote! {
        #shared
        #[automatically_derived]
        impl ::gradloom::Network for #name {
            type Inputs<'a> = #inputs;
            type Targets<'a> = #targets;
            type Outputs<'a> = #outputs;
            type Metrics = #metrics_name;

            // A position has the span of the user's token, in which clippy reads a number that starts with 0.
            #[allow(clippy::zero_prefixed_literal)]
            const DEFINITION: &'static ::gradloom::__private::Definition<'static> = &#definition;

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

            fn metrics(report: &::gradloom::__private::Report<'_>) -> Self::Metrics {
                #metrics_name { loss: report.loss, #(#metrics),* }
            }
        }
    }
}

fn constructors(network: &Network<'_>) -> TokenStream {
    let (vis, name) = (&network.ast.vis, &network.ast.name);
    let [trainer, predictor, gradcheck, ir] = [
        format!(" Configures a training session for [`{name}`]; `build()` compiles it."),
        format!(" Configures inference alone of [`{name}`]; `build()` compiles it, `ir(stage)` prints it."),
        format!(
            " Checks the gradients of [`{name}`] on a batch, symbolic and compiled, at parameters as training starts with."
        ),
        format!(" The text of a stage of [`{name}`] that needs neither an optimizer nor a machine."),
    ];
    let shared = shared(network);
    quote! {
        #shared
        #[allow(dead_code)]
        impl #name {
            #[doc = #trainer]
            #vis fn trainer(optimizer: impl ::gradloom::Optimizer + 'static) -> ::gradloom::Trainer<#name> {
                ::gradloom::Trainer::new(optimizer)
            }

            #[doc = #predictor]
            #vis fn predictor() -> ::gradloom::PredictorBuilder<#name> {
                ::gradloom::PredictorBuilder::new()
            }

            #[doc = #gradcheck]
            #vis fn gradcheck<'a>(
                inputs: <#name as ::gradloom::Network>::Inputs<'a>,
                targets: <#name as ::gradloom::Network>::Targets<'a>,
            ) -> ::core::result::Result<::gradloom::Gradcheck, ::gradloom::Error> {
                ::gradloom::__private::gradcheck::<#name>(inputs, targets)
            }

            #[doc = #ir]
            #vis fn ir(stage: ::gradloom::Stage) -> ::std::string::String {
                ::gradloom::__private::ir::<#name>(stage)
            }
        }
    }
}

/// The type of the tensors as the user passes them: one view, or a tuple of several.
fn views(ports: &[Port<'_>]) -> TokenStream {
    tuple(ports.iter().map(|port| {
        let element = format_ident!("{}", port.dtype.to_string());
        let view = format_ident!("ArrayView{}", axes(port, "D"));
        quote!(::gradloom::ndarray::#view<'a, #element>)
    }))
}

/// The number of axes of a port as `ndarray` writes it at the end of its types, or what it writes where that is not known.
fn axes(port: &Port<'_>, unknown: &str) -> String {
    match port.dims.len() {
        rank @ 1..=MOST_AXES => rank.to_string(),
        _ => unknown.to_string(),
    }
}

/// Hands out the tensors of a value of that type, one after the other.
fn visits(variable: &str, ports: &[Port<'_>]) -> TokenStream {
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
