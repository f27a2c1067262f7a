#![doc = include_str!("../guide/README.md")]

macro_rules! chapters {
    ($($name:ident: $text:literal)*) => { $(
        #[doc = links!()]
        #[doc = include_str!($text)]
        pub mod $name {}
    )* };
}

// As a reader meets them.
chapters! {
    first_network: "../guide/first_network.md"
    language: "../guide/language.md"
    training: "../guide/training.md"
    data: "../guide/data.md"
    losses: "../guide/losses.md"
    optimizers: "../guide/optimizers.md"
    inference: "../guide/inference.md"
    ir: "../guide/ir.md"
    saving: "../guide/saving.md"
    generic: "../guide/generic.md"
    debugging: "../guide/debugging.md"
    speed: "../guide/speed.md"
    cargo: "../guide/cargo.md"
}
