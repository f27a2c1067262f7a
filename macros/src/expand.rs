//! From a checked network to Rust: its type, its metrics, and its description in constants.
//!
//! In: the networks and the mistakes. Out: tokens. After a mistake each network still has its type, with the ports as far
//! as they were understood, so that nothing that uses it is wrong as well; and its description, in which the names of
//! layers are the user's own tokens, so that an editor finds their documentation. No decision is made here. Every path is
//! absolute, or goes through the facade, whatever its name: what is in scope where a network is declared does not matter.

mod definition;
mod fragments;
mod generic;
mod names;
mod sizes;

use std::collections::HashSet;

use gradloom_runtime::elaborate::MOST_AXES;
use gradloom_runtime::network::{Extent, Port};
use gradloom_runtime::types::DType;
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, Path, Token, punctuated::Punctuated};

use crate::ast::{self, Level, Metric, Program, Setting, text};
use crate::diagnostics::Errors;
use crate::lint::Found;
use crate::resolve::{Network, Resolved};

/// What the parts of an expansion call their parameters. In the block of a network each is a function, too, which a parameter
/// may shadow: so none of them is taken for a constant or a unit struct of the user's.
const PARAMETERS: [&str; 9] =
    ["inputs", "metrics", "next", "number", "optimizer", "report", "stage", "targets", "visit"];

/// The same of what is assembled when the program runs.
const ASSEMBLY: [&str; 9] = ["act", "args", "assembly", "base", "declared", "operands", "param", "sizes", "values"];

/// Expands everything in a `network! { .. }`. `facade` is its `$crate`, and `lints` are those of each network, if there are
/// no mistakes.
pub fn program(
    facade: &TokenTree,
    program: &Program,
    Resolved { networks, fragments }: &Resolved<'_>,
    lints: &[Vec<Found>],
    errors: &Errors,
) -> TokenStream {
    let mistakes = errors.to_tokens();
    let names = names::names(program);
    let warnings = warnings(facade, networks, lints);
    let networks = networks.iter().map(|network| expand(facade, network));
    let fragments = fragments.iter().map(|fragment| fragments::fragment(facade, fragment));
    quote!(#mistakes #(#networks)* #(#fragments)* #names #warnings)
}

/// A use of a deprecated constant under the token that each lint is about: another way to warn is not stable.
fn warnings(facade: &TokenTree, networks: &[Network<'_>], lints: &[Vec<Found>]) -> TokenStream {
    let mut known = HashSet::new();
    let mut tokens = TokenStream::new();
    for (network, found) in networks.iter().zip(lints) {
        let attrs: Vec<&Attribute> = network.ast.attrs.iter().filter(|attr| is_shared(attr)).collect();
        for found in found {
            let level = match network.ast.levels.iter().rfind(|setting| setting.lint == found.lint) {
                Some(Setting { level: Level::Allow, .. }) => continue,
                Some(Setting { level: Level::Warn, span, .. }) => quote_spanned!(*span=> #[warn(deprecated)]),
                Some(Setting { level: Level::Deny, span, .. }) => quote_spanned!(*span=> #[deny(deprecated)]),
                None => TokenStream::new(),
            };
            // Networks may share a block.
            if known.insert(found.key()) {
                let lint = Ident::new(found.lint, found.site.start);
                tokens.extend(quote!(#(#attrs)* #level const _: () = #facade::lint::#lint;));
            }
        }
    }
    tokens
}

/// The type stands beside the user's own items; all else is in a block, where no name of it meets one of theirs.
fn expand(facade: &TokenTree, network: &Network<'_>) -> TokenStream {
    let network_type = network_type(network);
    let shared = shared(network);
    let assembly = if definition::is_assembled(network) { &ASSEMBLY[..] } else { &[] };
    let parameters = PARAMETERS.iter().chain(assembly).map(|name| format_ident!("{name}"));
    let report = report(network);
    let outputs = outputs_struct(network);
    let (sizes_type, sizes) = sizes::sizes(network);
    let definition = definition(network);
    let implementation = implementation(network, &sizes_type, &definition);
    let generic = generic::generic(network);
    let constructors = constructors(network);
    quote! {
        #network_type
        #shared
        // A size that comes from Rust is a path, and has to be one.
        #[allow(dead_code, unused_qualifications)]
        const _: () = {
            use #facade::__private as __gradloom;
            #(fn #parameters() {})*
            #report
            #outputs
            #sizes
            #implementation
            #generic
            #constructors
        };
    }
}

fn network_type(network: &Network<'_>) -> TokenStream {
    let (attrs, vis, name) = (&network.ast.attrs, &network.ast.vis, &network.ast.name);
    let derived: Vec<Path> = attrs.iter().flat_map(derived).collect();
    let is_derived =
        |name: &str| derived.iter().any(|path| path.segments.last().is_some_and(|last| last.ident == name));
    let traits = [("Clone", quote!(clone::Clone)), ("Copy", quote!(marker::Copy)), ("Debug", quote!(fmt::Debug))];
    let traits = traits.into_iter().filter(|(name, _)| !is_derived(name)).map(|(_, path)| path);
    let tokens = quote! {
        #(#attrs)*
        #[::core::prelude::v1::derive(#(::core::#traits),*)]
        #vis struct #name;
    };
    shown_by_name(&network.ast.name, tokens)
}

/// The keyword, the braces and the end of an item get the place of its name, which is what rustc then shows of it.
/// To lints they remain what a macro has written.
fn shown_by_name(name: &Ident, tokens: TokenStream) -> TokenStream {
    let span = Span::call_site().located_at(name.span());
    let shown = tokens.into_iter().map(|mut tree| {
        let is_frame = match &tree {
            TokenTree::Ident(word) => word == "impl" || word == "struct",
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Literal(_) => false,
        };
        if is_frame {
            tree.set_span(span);
        }
        tree
    });
    shown.collect()
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
        if is_shared(attr) {
            attr.to_tokens(&mut tokens);
        } else if attr.path().is_ident("deprecated") {
            tokens.extend(quote!(#[allow(deprecated)]));
        }
    }
    tokens
}

fn is_shared(attr: &Attribute) -> bool {
    ["cfg", "allow", "warn", "deny"].iter().any(|name| attr.path().is_ident(name))
}

/// The struct with the loss and the metrics.
fn report(network: &Network<'_>) -> TokenStream {
    let (vis, name, metrics_name) = (&network.ast.vis, &network.ast.name, metrics_name(network));
    let doc = format!(" Loss and metrics of [`{name}`]: of a step, before its update, or of an evaluation.");
    let loss_doc = loss_doc(network);
    let loss_docs = network.ast.losses.first().map_or(&[][..], |loss| &loss.docs);
    let fields = metrics(network).map(|metric| {
        let Metric { name, docs, expr } = metric;
        let doc = format!(" `{expr}`.");
        quote! {
            #(#docs)*
            #[doc = #doc]
            #vis #name: ::core::primitive::f32
        }
    });
    quote! {
        #[doc = #doc]
        #[::core::prelude::v1::derive(
            ::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq
        )]
        #vis struct #metrics_name {
            #(#loss_docs)*
            #[doc = #loss_doc]
            #vis loss: ::core::primitive::f32,
            #(#fields),*
        }
    }
}

/// The structs with several outputs: as views, and as arrays.
fn outputs_struct(network: &Network<'_>) -> Option<TokenStream> {
    if network.definition.outputs.len() < 2 {
        return None;
    }
    let (vis, name) = (&network.ast.vis, &network.ast.name);
    let [outputs_name, owned_name] = ["Outputs", "OwnedOutputs"].map(|what| own_name(network, what));
    let [doc, owned_doc] = ["views", "arrays"].map(|what| format!(" The outputs of [`{name}`], as {what}."));
    let fields = |ty: fn(&Port<'_>) -> TokenStream| -> Vec<TokenStream> {
        let ports = network.ast.outputs.iter().zip(output_ports(network));
        let field = |(written, port): (&ast::Port, Port<'_>)| {
            let (field, ty, doc) = (output_field(written), ty(&port), format!(" `{}`.", declared(&port)));
            quote!(#[doc = #doc] #vis #field: #ty)
        };
        ports.map(field).collect()
    };
    let (views, arrays) = (fields(view_of), fields(array_of));
    Some(quote! {
        #[doc = #doc]
        #[::core::prelude::v1::derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #outputs_name<'a> {
            #(#views),*
        }

        #[doc = #owned_doc]
        #[::core::prelude::v1::derive(::core::clone::Clone, ::core::fmt::Debug, ::core::cmp::PartialEq)]
        #vis struct #owned_name {
            #(#arrays),*
        }
    })
}

/// `score: [B]`, as written.
fn declared(port: &Port<'_>) -> String {
    let dims = port.dims.iter().map(|dim| match dim {
        Extent::Batch(_) => "B",
        Extent::Size(number) => number.text,
    });
    format!("{}: [{}]", port.name, dims.collect::<Vec<&str>>().join(", "))
}

/// The field of an output.
fn output_field(port: &ast::Port) -> Ident {
    port.name.clone().unwrap_or_else(|| Ident::new("out", port.site.start))
}

fn loss_doc(network: &Network<'_>) -> String {
    match network.ast.losses.first() {
        Some(loss) => format!(" The loss, `{}`.", loss.expr),
        None => " No loss is declared.".to_string(),
    }
}

/// The type of the metrics has no page of its own, so its fields are listed in the implementation of the trait.
fn metrics_docs(network: &Network<'_>) -> Vec<String> {
    let mut lines = vec![
        format!(" Loss and metrics of [`{}`], as fields:", network.ast.name),
        format!(" - `loss`: {}", loss_doc(network).trim_start()),
    ];
    lines.extend(metrics(network).map(|metric| format!(" - `{}`: `{}`.", text(&metric.name), metric.expr)));
    lines
}

/// Those that became part of the description: of two with one name the first.
fn metrics<'n>(network: &'n Network<'_>) -> impl Iterator<Item = &'n Metric> {
    let mut kept = network.definition.metrics.iter().peekable();
    network.ast.metrics.iter().filter(move |metric| kept.next_if(|kept| text(&metric.name) == kept.name).is_some())
}

/// As error messages call the type; outside of the block it is `<Net as Network>::Metrics`.
fn metrics_name(network: &Network<'_>) -> Ident {
    own_name(network, "Metrics")
}

/// The name of a type of the network's own.
fn own_name(network: &Network<'_>, what: &str) -> Ident {
    let name = &network.ast.name;
    let mut own = format!("{}{what}", text(name));
    // A size may come from a type of the user's that is called so.
    while network.deferred.numbers.values().any(|tokens| mentions(tokens, &own)) {
        own.push('_');
    }
    Ident::new(&own, name.span())
}

fn mentions(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|tree| match tree {
        TokenTree::Ident(name) => name == word,
        TokenTree::Group(group) => mentions(&group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The function that gives the declaration: a constant, or what is assembled for the sizes.
fn definition(network: &Network<'_>) -> TokenStream {
    let definition = definition::definition(network);
    if !definition::is_assembled(network) {
        return quote! {
            // A position has the span of the user's token, in which clippy reads a number that starts with 0.
            #[allow(clippy::zero_prefixed_literal)]
            fn definition(_: &()) -> &'static __gradloom::Definition<'static> {
                const DEFINITION: &__gradloom::Definition<'static> = &#definition;
                DEFINITION
            }
        };
    }
    let fields: Vec<&Ident> = network.ast.sizes.iter().map(|size| &size.name).collect();
    let (names, count) = (fields.iter().map(|field| text(field)), fields.len());
    quote! {
        #[allow(clippy::zero_prefixed_literal, unused_variables)]
        fn definition(sizes: &Self::Sizes) -> &'static __gradloom::Definition<'static> {
            let declared = [#(__gradloom::Size { name: #names, value: sizes.#fields }),*];
            __gradloom::assembled::<Self>(&declared, |assembly| {
                let sizes: [::core::primitive::usize; #count] = [#(sizes.#fields),*];
                #definition
            })
        }
    }
}

fn implementation(network: &Network<'_>, sizes: &TokenStream, definition: &TokenStream) -> TokenStream {
    let (name, metrics_name) = (&network.ast.name, metrics_name(network));
    let inputs = views(network.definition.inputs);
    let targets = views(network.definition.targets);
    let (outputs, next_outputs) = outputs(network);
    let (owned_outputs, next_owned_outputs) = owned_outputs(network);
    let visit_inputs = visits("inputs", network.definition.inputs);
    let visit_targets = visits("targets", network.definition.targets);
    let metrics_docs = metrics_docs(network);
    let metrics = metrics(network).enumerate().map(|(index, metric)| {
        let name = &metric.name;
        quote!(#name: report.metrics[#index])
    });
    let tokens = quote! {
        #[automatically_derived]
        impl __gradloom::Network for #name {
            type Inputs<'a> = #inputs;
            type Targets<'a> = #targets;
            type Outputs<'a> = #outputs;
            type OwnedOutputs = #owned_outputs;
            #(#[doc = #metrics_docs])*
            type Metrics = #metrics_name;
            type Sizes = #sizes;

            #definition

            #[allow(unused_variables)]
            fn inputs<'a>(
                inputs: Self::Inputs<'a>,
                visit: &mut dyn ::core::ops::FnMut(__gradloom::Tensor<'a>),
            ) {
                #visit_inputs
            }

            #[allow(unused_variables)]
            fn targets<'a>(
                targets: Self::Targets<'a>,
                visit: &mut dyn ::core::ops::FnMut(__gradloom::Tensor<'a>),
            ) {
                #visit_targets
            }

            #[allow(unused_variables)]
            fn outputs<'a>(
                next: &mut dyn ::core::ops::FnMut() -> __gradloom::ndarray::ArrayViewD<'a, ::core::primitive::f32>,
            ) -> Self::Outputs<'a> {
                #next_outputs
            }

            #[allow(unused_variables)]
            fn owned_outputs(
                next: &mut dyn ::core::ops::FnMut() -> __gradloom::ndarray::ArrayD<::core::primitive::f32>,
            ) -> Self::OwnedOutputs {
                #next_owned_outputs
            }

            fn metrics(report: &__gradloom::Report<'_>) -> Self::Metrics {
                #metrics_name { loss: report.loss, #(#metrics),* }
            }
        }
    };
    shown_by_name(&network.ast.name, tokens)
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
    quote! {
        impl #name {
            #[doc = #trainer]
            #vis fn trainer(optimizer: impl __gradloom::Optimizer + 'static) -> __gradloom::Trainer<#name> {
                __gradloom::Trainer::new(optimizer)
            }

            #[doc = #predictor]
            #vis fn predictor() -> __gradloom::PredictorBuilder<#name> {
                __gradloom::PredictorBuilder::new()
            }

            #[doc = #gradcheck]
            #vis fn gradcheck<'a>(
                inputs: <#name as __gradloom::Network>::Inputs<'a>,
                targets: <#name as __gradloom::Network>::Targets<'a>,
            ) -> ::core::result::Result<__gradloom::Gradcheck, __gradloom::Error> {
                __gradloom::gradcheck::<#name>(inputs, targets)
            }

            #[doc = #ir]
            #vis fn ir(stage: __gradloom::Stage) -> ::std::string::String {
                __gradloom::ir::<#name>(stage)
            }
        }
    }
}

/// The outputs as the user gets them: numbers, also where a mistaken declaration has something else.
fn output_ports<'n>(network: &Network<'n>) -> Vec<Port<'n>> {
    network.definition.outputs.iter().map(|port| Port { dtype: DType::F32, ..*port }).collect()
}

/// The type of the outputs, and how a value of it is made: one view, or a struct with the names of the ports.
fn outputs(network: &Network<'_>) -> (TokenStream, TokenStream) {
    let ports = &output_ports(network)[..];
    if ports.len() < 2 {
        return (views(ports), tuple(ports.iter().map(|_| quote!(__gradloom::view(next())))));
    }
    let name = own_name(network, "Outputs");
    let fields = network.ast.outputs.iter().map(output_field);
    (quote!(#name<'a>), quote!(#name { #(#fields: __gradloom::view(next())),* }))
}

/// The same for outputs that are arrays.
fn owned_outputs(network: &Network<'_>) -> (TokenStream, TokenStream) {
    let ports = &output_ports(network)[..];
    if ports.len() < 2 {
        let arrays = tuple(ports.iter().map(array_of));
        return (arrays, tuple(ports.iter().map(|_| quote!(__gradloom::array(next())))));
    }
    let name = own_name(network, "OwnedOutputs");
    let fields = network.ast.outputs.iter().map(output_field);
    (quote!(#name), quote!(#name { #(#fields: __gradloom::array(next())),* }))
}

/// The type of the tensors as the user passes them: one view, or a tuple of several.
fn views(ports: &[Port<'_>]) -> TokenStream {
    tuple(ports.iter().map(view_of))
}

fn view_of(port: &Port<'_>) -> TokenStream {
    let element = format_ident!("{}", port.dtype.to_string());
    let view = format_ident!("ArrayView{}", axes(port, "D"));
    quote!(__gradloom::ndarray::#view<'a, ::core::primitive::#element>)
}

fn array_of(port: &Port<'_>) -> TokenStream {
    let element = format_ident!("{}", port.dtype.to_string());
    let array = format_ident!("Array{}", axes(port, "D"));
    quote!(__gradloom::ndarray::#array<::core::primitive::#element>)
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
        1 => quote!(visit(::core::convert::Into::into(#variable));),
        n => {
            let fields = (0..n).map(syn::Index::from);
            quote!(#(visit(::core::convert::Into::into(#variable.#fields));)*)
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
