//! A library of blocks, which knows nothing of the networks that use them.

/// What others use.
pub mod blocks {
    gradloom::network! {
        /// Two layers beside a way around them.
        pub block Res(c, drop = 0.0) { residual { Dense(c), relu, Dense(c), Dropout(drop) } }
        /// Grows with what comes in.
        pub act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    }
}
