//! What code that is generic over networks sees of one: its metrics by name, and what its dataset is made of.

use gradloom_runtime::network::Port;
use gradloom_runtime::types::DType;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{axes, metrics, metrics_name, shown_by_name};
use crate::ast::text;
use crate::resolve::Network;

/// The implementations of `Metrics`, and of `Supervised` for a network that a dataset fits.
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
    let ([input], [target]) = (network.definition.inputs, network.definition.targets) else { return None };
    if input.dtype != DType::F32 {
        return None;
    }
    let name = &network.ast.name;
    let dimension = |port: &Port<'_>| {
        let dimension = format_ident!("Ix{}", axes(port, "Dyn"));
        quote!(__gradloom::ndarray::#dimension)
    };
    let (input, element, target) = (dimension(input), format_ident!("{}", target.dtype.to_string()), dimension(target));
    let tokens = quote! {
        #[automatically_derived]
        impl __gradloom::Supervised for #name {
            type InputDim = #input;
            type Target = ::core::primitive::#element;
            type TargetDim = #target;
        }
    };
    Some(shown_by_name(network, tokens))
}
