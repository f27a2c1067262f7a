//! What networks expand to.

use insta::assert_snapshot;

use super::expanded;

#[test]
fn a_network_is_a_type_a_report_and_constants() {
    assert_snapshot!(expanded(
        "/// Two layers.
         pub Net<x: [B, 8] -> y: [B, 3]> { Dense(4 * 4) as h, BatchNorm(every = 2), gelu(approx = tanh), Dense(3) }
         loss(label: [u8; B]) = cross_entropy(y, label) + 1e-4 * mean(silu(h));
         metric accuracy = mean(argmax(y) == label);"
    ), @r#"
    /// Two layers.
    #[derive(Clone, Copy, Debug)]
    pub struct Net;
    /// What one step of [`Net`] reports.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[allow(dead_code)]
    pub struct NetStep {
        /// The loss, `cross_entropy(y, label) + 1e-4 * mean(silu(h))`, before the step.
        pub loss: f32,
        /// `mean(argmax(y) == label)`, before the step.
        pub accuracy: f32,
    }
    #[automatically_derived]
    impl ::gradloom::Network for Net {
        type Inputs<'a> = ::gradloom::ndarray::ArrayView2<'a, f32>;
        type Targets<'a> = ::gradloom::ndarray::ArrayView1<'a, u8>;
        type Outputs<'a> = ::gradloom::ndarray::ArrayView2<'a, f32>;
        type Step = NetStep;
        const DEFINITION: &'static ::gradloom::__private::Definition = &::gradloom::__private::Definition {
            name: "Net",
            inputs: &[
                ::gradloom::__private::Port {
                    name: "x",
                    dtype: ::gradloom::__private::DType::F32,
                    dims: &[
                        ::gradloom::__private::Dim::Batch(1usize),
                        ::gradloom::__private::Dim::Fixed(8usize),
                    ],
                },
            ],
            outputs: &[
                ::gradloom::__private::Port {
                    name: "y",
                    dtype: ::gradloom::__private::DType::F32,
                    dims: &[
                        ::gradloom::__private::Dim::Batch(1usize),
                        ::gradloom::__private::Dim::Fixed(3usize),
                    ],
                },
            ],
            targets: &[
                ::gradloom::__private::Port {
                    name: "label",
                    dtype: ::gradloom::__private::DType::U8,
                    dims: &[::gradloom::__private::Dim::Batch(1usize)],
                },
            ],
            body: &[
                ::gradloom::__private::DeclaredStage {
                    layer: &::gradloom::__private::layers::DENSE,
                    args: &[
                        ::gradloom::__private::Arg::Int(16u64),
                        ::gradloom::__private::Arg::Flag(true),
                        ::gradloom::__private::Arg::Word("auto"),
                    ],
                    path: "h",
                    name: ::core::option::Option::Some("h"),
                    text: "Dense(4 * 4)",
                    place: ::gradloom::__private::Place {
                        file: ::core::file!(),
                        line: ::core::line!(),
                        column: ::core::column!(),
                    },
                },
                ::gradloom::__private::DeclaredStage {
                    layer: &::gradloom::__private::layers::BATCH_NORM,
                    args: &[
                        ::gradloom::__private::Arg::Float(0.9f64),
                        ::gradloom::__private::Arg::Float(0.00001f64),
                        ::gradloom::__private::Arg::Int(2u64),
                    ],
                    path: "batch_norm1",
                    name: ::core::option::Option::None,
                    text: "BatchNorm(every = 2)",
                    place: ::gradloom::__private::Place {
                        file: ::core::file!(),
                        line: ::core::line!(),
                        column: ::core::column!(),
                    },
                },
                ::gradloom::__private::DeclaredStage {
                    layer: &::gradloom::__private::layers::GELU,
                    args: &[::gradloom::__private::Arg::Word("tanh")],
                    path: "gelu1",
                    name: ::core::option::Option::None,
                    text: "gelu(approx = tanh)",
                    place: ::gradloom::__private::Place {
                        file: ::core::file!(),
                        line: ::core::line!(),
                        column: ::core::column!(),
                    },
                },
                ::gradloom::__private::DeclaredStage {
                    layer: &::gradloom::__private::layers::DENSE,
                    args: &[
                        ::gradloom::__private::Arg::Int(3u64),
                        ::gradloom::__private::Arg::Flag(true),
                        ::gradloom::__private::Arg::Word("auto"),
                    ],
                    path: "dense2",
                    name: ::core::option::Option::None,
                    text: "Dense(3)",
                    place: ::gradloom::__private::Place {
                        file: ::core::file!(),
                        line: ::core::line!(),
                        column: ::core::column!(),
                    },
                },
            ],
            loss: ::core::option::Option::Some(
                ::gradloom::__private::Expr::Binary(
                    ::gradloom::__private::BinaryOp::Add,
                    &::gradloom::__private::Expr::Call(
                        &::gradloom::__private::functions::CROSS_ENTROPY,
                        &[
                            ::gradloom::__private::Arg::Float(0f64),
                            ::gradloom::__private::Arg::Numbers(&[]),
                        ],
                        &[
                            ::gradloom::__private::Expr::Name("y"),
                            ::gradloom::__private::Expr::Name("label"),
                        ],
                    ),
                    &::gradloom::__private::Expr::Binary(
                        ::gradloom::__private::BinaryOp::Mul,
                        &::gradloom::__private::Expr::Number(0.0001f64),
                        &::gradloom::__private::Expr::Call(
                            &::gradloom::__private::functions::MEAN,
                            &[],
                            &[
                                ::gradloom::__private::Expr::Apply(
                                    &::gradloom::__private::layers::SILU,
                                    &[],
                                    &::gradloom::__private::Expr::Name("h"),
                                ),
                            ],
                        ),
                    ),
                ),
            ),
            metrics: &[
                ::gradloom::__private::Metric {
                    name: "accuracy",
                    expr: ::gradloom::__private::Expr::Call(
                        &::gradloom::__private::functions::MEAN,
                        &[],
                        &[
                            ::gradloom::__private::Expr::Binary(
                                ::gradloom::__private::BinaryOp::Eq,
                                &::gradloom::__private::Expr::Call(
                                    &::gradloom::__private::functions::ARGMAX,
                                    &[],
                                    &[::gradloom::__private::Expr::Name("y")],
                                ),
                                &::gradloom::__private::Expr::Name("label"),
                            ),
                        ],
                    ),
                },
            ],
        };
        #[allow(unused_variables)]
        fn inputs<'a>(
            inputs: Self::Inputs<'a>,
            visit: &mut dyn ::core::ops::FnMut(::gradloom::__private::Tensor<'a>),
        ) {
            visit(inputs.into());
        }
        #[allow(unused_variables)]
        fn targets<'a>(
            targets: Self::Targets<'a>,
            visit: &mut dyn ::core::ops::FnMut(::gradloom::__private::Tensor<'a>),
        ) {
            visit(targets.into());
        }
        #[allow(unused_variables)]
        fn outputs<'a>(
            next: &mut dyn ::core::ops::FnMut() -> ::gradloom::ndarray::ArrayViewD<'a, f32>,
        ) -> Self::Outputs<'a> {
            ::gradloom::__private::view(next())
        }
        fn step(report: &::gradloom::__private::Report<'_>) -> Self::Step {
            NetStep {
                loss: report.loss,
                accuracy: report.metrics[0usize],
            }
        }
    }
    #[allow(dead_code)]
    impl Net {
        /// Configures a training session for [`Net`]; `build()` compiles it.
        pub fn trainer(
            optimiser: impl ::gradloom::Optimiser + 'static,
        ) -> ::gradloom::Trainer<Net> {
            ::gradloom::Trainer::new(optimiser)
        }
        /// Inference alone of [`Net`], to read its stages: `ir(stage)`.
        pub fn predictor() -> ::gradloom::PredictorBuilder<Net> {
            ::gradloom::PredictorBuilder::new()
        }
        /// The text of a stage of [`Net`] that needs neither an optimiser nor a machine.
        pub fn ir(stage: ::gradloom::Stage) -> ::std::string::String {
            ::gradloom::__private::ir::<Net>(stage)
        }
    }
    "#);
}

#[test]
fn a_mistake_leaves_the_type_with_its_ports() {
    assert_snapshot!(expanded(
        "pub(crate) Net<[B, 8, 8] -> logits: [B, 3]> { Dense(3) }
         loss(label: [u16; B], weight: [B]) = nothing(logits);
         metric accuracy = 1;"
    ), @r#"
    ::core::compile_error! {
        "`Dense(3)` needs [B, features], found [B, 8, 8]; insert `flatten` before it (gives [B, 64])\nx [B,8,8]"
    }
    ::core::compile_error! {
        "unknown function `nothing`"
    }
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Net;
    /// What one step of [`Net`] reports.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[allow(dead_code)]
    pub(crate) struct NetStep {
        /// The loss, `nothing(logits)`, before the step.
        pub(crate) loss: f32,
        /// `1`, before the step.
        pub(crate) accuracy: f32,
    }
    #[automatically_derived]
    impl ::gradloom::Network for Net {
        type Inputs<'a> = ::gradloom::ndarray::ArrayView3<'a, f32>;
        type Targets<'a> = (
            ::gradloom::ndarray::ArrayView1<'a, u16>,
            ::gradloom::ndarray::ArrayView1<'a, f32>,
        );
        type Outputs<'a> = ::gradloom::ndarray::ArrayView2<'a, f32>;
        type Step = NetStep;
        const DEFINITION: &'static ::gradloom::__private::Definition = &::gradloom::__private::Definition {
            name: "Net",
            inputs: &[],
            outputs: &[],
            targets: &[],
            body: &[],
            loss: ::core::option::Option::None,
            metrics: &[],
        };
        #[allow(unused_variables)]
        fn inputs<'a>(
            inputs: Self::Inputs<'a>,
            visit: &mut dyn ::core::ops::FnMut(::gradloom::__private::Tensor<'a>),
        ) {
            visit(inputs.into());
        }
        #[allow(unused_variables)]
        fn targets<'a>(
            targets: Self::Targets<'a>,
            visit: &mut dyn ::core::ops::FnMut(::gradloom::__private::Tensor<'a>),
        ) {
            visit(targets.0.into());
            visit(targets.1.into());
        }
        #[allow(unused_variables)]
        fn outputs<'a>(
            next: &mut dyn ::core::ops::FnMut() -> ::gradloom::ndarray::ArrayViewD<'a, f32>,
        ) -> Self::Outputs<'a> {
            ::gradloom::__private::view(next())
        }
        fn step(report: &::gradloom::__private::Report<'_>) -> Self::Step {
            NetStep {
                loss: report.loss,
                accuracy: report.metrics[0usize],
            }
        }
    }
    #[allow(dead_code)]
    impl Net {
        /// Configures a training session for [`Net`]; `build()` compiles it.
        pub(crate) fn trainer(
            optimiser: impl ::gradloom::Optimiser + 'static,
        ) -> ::gradloom::Trainer<Net> {
            ::gradloom::Trainer::new(optimiser)
        }
        /// Inference alone of [`Net`], to read its stages: `ir(stage)`.
        pub(crate) fn predictor() -> ::gradloom::PredictorBuilder<Net> {
            ::gradloom::PredictorBuilder::new()
        }
        /// The text of a stage of [`Net`] that needs neither an optimiser nor a machine.
        pub(crate) fn ir(stage: ::gradloom::Stage) -> ::std::string::String {
            ::gradloom::__private::ir::<Net>(stage)
        }
    }
    "#);
}
