//! What code that is generic over networks sees of one: its metrics by name, and what its dataset is made of.

use proc_macro2::TokenStream;
use quote::quote;

use super::{array_of, metrics, metrics_name, shown_by_name, tuple};
use crate::ast::text;
use crate::resolve::Network;

/// The implementations of `Metrics`, and of `Supervised` for a network with a loss.
pub fn generic(network: &Network<'_>) -> TokenStream {
    let (metrics, supervised) = (by_name(network), supervised(network));
    quote!(#metrics #supervised)
}

fn by_name(network: &Network<'_>) -> TokenStream {
    let metrics_name = metrics_name(network);
    let entries: Vec<TokenStream> = metrics(network)
        .map(|metric| {
            let (name, field) = (text(&metric.name), &metric.name);
            quote!((#name, self.#field))
        })
        .collect();
    let count = entries.len();
    quote! {
        #[automatically_derived]
        impl __gradloom::Metrics for #metrics_name {
            fn loss(&self) -> ::core::primitive::f32 {
                self.loss
            }

            fn metrics(&self) -> impl ::core::iter::Iterator<Item = (&'static ::core::primitive::str, ::core::primitive::f32)> {
                let metrics: [(&'static ::core::primitive::str, ::core::primitive::f32); #count] = [#(#entries),*];
                ::core::iter::IntoIterator::into_iter(metrics)
            }
        }
    }
}

fn supervised(network: &Network<'_>) -> Option<TokenStream> {
    network.definition.loss.as_ref()?;
    let name = &network.ast.name;
    let [inputs, targets] =
        [network.definition.inputs, network.definition.targets].map(|ports| tuple(ports.iter().map(array_of)));
    let tokens = quote! {
        #[automatically_derived]
        impl __gradloom::Supervised for #name {
            type InputArrays = #inputs;
            type TargetArrays = #targets;
        }
    };
    Some(shown_by_name(&network.ast.name, tokens))
}
