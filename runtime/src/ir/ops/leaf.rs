//! Values that come from outside the graph, and constants. No gradient passes through them.

use super::{Body, OpDef};

macro_rules! leaf {
    ($(#[$doc:meta])* $name:ident $text:literal) => {
        $(#[$doc])*
        pub const $name: OpDef = OpDef {
            name: $text,
            ty: |_, _| Err(concat!("the type of `", $text, "` is given, not inferred").to_string()),
            vjp: |_, _| Vec::new(),
            body: Body::Leaf,
        };
    };
}

leaf! {
    /// An input or a target of the network.
    INPUT "input"
}
leaf! {
    /// A parameter, a running statistic or a part of the optimizer's state.
    PARAM "param"
}
leaf! {
    /// A number given at each run: `-> f32[]`, or `-> u32[]` for a half of a key.
    SCALAR "scalar"
}
leaf! {
    /// The same number in every element.
    CONST "const"
}
leaf! {
    /// The position along an axis, from 0: `-> u32[S]`.
    IOTA "iota"
}
leaf! {
    /// A constant times the batch size: `-> f32[]`. Exact up to 2^24.
    COUNT "count"
}
