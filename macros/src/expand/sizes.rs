//! The sizes of a network that are chosen when its program runs: a struct with a field for each.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::own_name;
use crate::ast::text;
use crate::resolve::Network;

/// The type of the sizes, and the struct if there is one.
pub fn sizes(network: &Network<'_>) -> (TokenStream, TokenStream) {
    if network.ast.sizes.is_empty() {
        return (quote!(()), TokenStream::new());
    }
    let (vis, name, own) = (&network.ast.vis, &network.ast.name, own_name(network, "Sizes"));
    let doc = format!(" The sizes of [`{name}`] that are chosen when the program runs.");
    let fields: Vec<&Ident> = network.ast.sizes.iter().map(|size| &size.name).collect();
    let declared = network.ast.sizes.iter().map(|size| {
        let (docs, field, doc) = (&size.docs, &size.name, format!(" {} unless it is chosen.", size.default));
        quote!(#(#docs)* #[doc = #doc] #vis #field: ::core::primitive::usize)
    });
    let defaults = network.defaults.iter().map(|&default| default as usize);
    let names = fields.iter().map(|field| text(field));
    let indices = 0..fields.len();
    let given = quote! {
        #[doc = #doc]
        #[::core::prelude::v1::derive(
            ::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq, ::core::cmp::Eq
        )]
        #vis struct #own {
            #(#declared),*
        }

        #[automatically_derived]
        impl ::core::default::Default for #own {
            fn default() -> #own {
                #own { #(#fields: #defaults),* }
            }
        }

        #[automatically_derived]
        impl __gradloom::Sizes for #own {
            const NAMES: &'static [&'static ::core::primitive::str] = &[#(#names),*];

            fn from_values(values: &[::core::primitive::usize]) -> #own {
                let declared = <#own as ::core::default::Default>::default();
                #own {
                    #(
                        #fields: match values.get(#indices) {
                            ::core::option::Option::Some(&number) => number,
                            ::core::option::Option::None => declared.#fields,
                        }
                    ),*
                }
            }
        }
    };
    (quote!(#own), given)
}
