//! Where a library is that cargo links a crate with.
//!
//! In: the library's name. Out: the path of its file, as a string. A target folder may hold the same library many times, for
//! other features, profiles or compilers; only rustc is told which one it is, so its own command line is read.

use proc_macro::{Literal, TokenStream, TokenTree};

/// The path that follows `--extern name=` on the command line of the rustc that expands this.
#[proc_macro]
pub fn linked(name: TokenStream) -> TokenStream {
    let start = format!("{name}=");
    let args: Vec<String> = std::env::args().collect();
    let externs = args.windows(2).filter(|pair| pair[0] == "--extern").map(|pair| &pair[1]);
    // Options of `--extern` come before the name: `noprelude:name=path`.
    let named = externs.map(|value| {
        value.split_once(':').filter(|(options, _)| !options.contains('=')).map_or(&**value, |(_, rest)| rest)
    });
    let path = named.filter_map(|value| value.strip_prefix(&start)).next().unwrap_or_default();
    TokenTree::from(Literal::string(path)).into()
}
