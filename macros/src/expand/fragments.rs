//! Blocks and functions that other networks use by their path: a type each, by which rustc finds them.

use proc_macro2::{TokenStream, TokenTree};
use quote::{format_ident, quote};

use super::definition::{Writer, option};
use super::{ASSEMBLY, shown_by_name};
use crate::ast::text;
use crate::resolve::{Fragment, Item, Param, Piece};

/// A type and its implementation.
pub fn fragment(facade: &TokenTree, fragment: &Fragment<'_>) -> TokenStream {
    let Fragment { ast, params, acts, piece, sites, deferred } = fragment;
    let (vis, docs, name, operand) = match ast {
        Item::Block(block) => (&block.vis, &block.docs, &block.name, None),
        Item::Act(act) => (&act.vis, &act.docs, &act.name, Some(text(&act.lambda.operand))),
    };
    let writer = Writer { sites, deferred, assembles: true };
    let (places, count, functions) = (writer.places(), acts.len(), writer.acts(acts));
    let piece = match piece {
        Piece::Block(stages) => {
            let stages = writer.stages(stages);
            quote!(Block(#stages))
        }
        // It follows those that it calls.
        Piece::Act => quote!(Act(base.act + (#count - 1))),
    };
    let operand = option(operand.map(|operand| quote!(#operand)));
    let names = params.iter().map(|param| &param.name);
    let defaults = params.iter().enumerate().filter_map(|(index, Param { default, .. })| {
        let [size, number] = default.as_ref()?;
        let bound = quote!(__gradloom::Bound { size: #size, number: #number });
        Some(quote!(#index => ::core::option::Option::Some(#bound),))
    });
    let parameters = ASSEMBLY.map(|name| format_ident!("{name}"));
    let written = text(name);
    let declared = quote! {
        #(#docs)*
        #[allow(non_camel_case_types)]
        #[::core::prelude::v1::derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #vis struct #name {}
    };
    let declared = shown_by_name(name, declared);
    quote! {
        #declared
        #[allow(dead_code, unused_qualifications)]
        const _: () = {
            use #facade::__private as __gradloom;
            #(fn #parameters() {})*

            #[automatically_derived]
            #[allow(unused_variables)]
            impl __gradloom::Fragment for #name {
                const NAME: &'static ::core::primitive::str = #written;
                const OPERAND: ::core::option::Option<&'static ::core::primitive::str> = #operand;
                const PARAMS: &'static [&'static ::core::primitive::str] = &[#(#names),*];
                #[allow(clippy::zero_prefixed_literal)]
                const PLACES: &'static [__gradloom::SourcePlace] = #places;
                const ACTS: ::core::primitive::usize = #count;

                fn default(
                    param: ::core::primitive::usize,
                    args: &[__gradloom::Bound],
                ) -> ::core::option::Option<__gradloom::Bound> {
                    match param {
                        #(#defaults)*
                        _ => ::core::option::Option::None,
                    }
                }

                fn assemble(
                    base: __gradloom::Base,
                    args: &[__gradloom::Bound],
                    assembly: &mut __gradloom::Assembly,
                ) -> __gradloom::Piece {
                    #functions
                    __gradloom::Piece::#piece
                }
            }
        };
    }
}
