#![doc = include_str!("../guide/README.md")]

macro_rules! chapters {
    ($($(#[$when:meta])? $name:ident: $text:literal)*) => { $(
        $(#[$when])?
        #[doc = links!()]
        #[doc = include_str!($text)]
        pub mod $name {}
    )* };
}

// As a reader meets them.
chapters! {
    first_network: "../guide/first_network.md"
    language: "../guide/language.md"
    data: "../guide/data.md"
    #[cfg(feature = "csv")]
    tables: "../guide/tables.md"
    training: "../guide/training.md"
    losses: "../guide/losses.md"
    optimizers: "../guide/optimizers.md"
    tools: "../guide/tools.md"
    images: "../guide/images.md"
    sequences: "../guide/sequences.md"
    flows: "../guide/flows.md"
    functions: "../guide/functions.md"
    inference: "../guide/inference.md"
    ir: "../guide/ir.md"
    saving: "../guide/saving.md"
    deployment: "../guide/deployment.md"
    generic: "../guide/generic.md"
    debugging: "../guide/debugging.md"
    speed: "../guide/speed.md"
    cargo: "../guide/cargo.md"
    learning: "../guide/learning.md"
    coming_from: "../guide/coming_from.md"
    limits: "../guide/limits.md"
    reference: "../guide/reference.md"
}
