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
    #[::core::prelude::v1::derive(
        ::core::clone::Clone,
        ::core::marker::Copy,
        ::core::fmt::Debug
    )]
    pub struct Net;
    #[allow(dead_code, unused_qualifications)]
    const _: () = {
        use facade::__private as __gradloom;
        fn inputs() {}
        fn metrics() {}
        fn next() {}
        fn number() {}
        fn optimizer() {}
        fn report() {}
        fn stage() {}
        fn targets() {}
        fn visit() {}
        /// Loss and metrics of [`Net`]: of a step, before its update, or of an evaluation.
        #[::core::prelude::v1::derive(
            ::core::clone::Clone,
            ::core::marker::Copy,
            ::core::fmt::Debug,
            ::core::cmp::PartialEq
        )]
        pub struct NetMetrics {
            /// The loss, `cross_entropy(y, label) + 1e-4 * mean(silu(h))`.
            pub loss: ::core::primitive::f32,
            /// `mean(argmax(y) == label)`.
            pub accuracy: ::core::primitive::f32,
        }
        #[automatically_derived]
        impl Network for Net {
            type Inputs<'a> = ndarray::ArrayView2<'a, ::core::primitive::f32>;
            type Targets<'a> = ndarray::ArrayView1<'a, ::core::primitive::u8>;
            type Outputs<'a> = ndarray::ArrayView2<'a, ::core::primitive::f32>;
            type OwnedOutputs = ndarray::Array2<::core::primitive::f32>;
            /// Loss and metrics of [`Net`], as fields:
            /// - `loss`: The loss, `cross_entropy(y, label) + 1e-4 * mean(silu(h))`.
            /// - `accuracy`: `mean(argmax(y) == label)`.
            type Metrics = NetMetrics;
            type Sizes = ();
            #[allow(clippy::zero_prefixed_literal)]
            fn definition(_: &()) -> &'static Definition<'static> {
                const DEFINITION: &Definition<'static> = &Definition {
                    name: "Net",
                    inputs: &[
                        Port {
                            name: "x",
                            named: true,
                            dtype: DType::F32,
                            dims: &[
                                Extent::Batch(At(0u32)),
                                Extent::Size(Number {
                                    value: Outcome::Int(8i64),
                                    text: "8",
                                    at: At(1u32),
                                }),
                            ],
                            at: At(2u32),
                        },
                    ],
                    outputs: &[
                        Port {
                            name: "y",
                            named: true,
                            dtype: DType::F32,
                            dims: &[
                                Extent::Batch(At(3u32)),
                                Extent::Size(Number {
                                    value: Outcome::Int(3i64),
                                    text: "3",
                                    at: At(4u32),
                                }),
                            ],
                            at: At(5u32),
                        },
                    ],
                    targets: &[
                        Port {
                            name: "label",
                            named: true,
                            dtype: DType::U8,
                            dims: &[Extent::Batch(At(10u32))],
                            at: At(11u32),
                        },
                    ],
                    acts: &[],
                    scalars: &[],
                    layers: &[],
                    body: &[
                        DeclaredStage {
                            kind: Kind::Layer(
                                &layers::DENSE,
                                &[
                                    Value::Known(Arg::Int(16u64)),
                                    Value::Known(Arg::Flag(true)),
                                    Value::Known(
                                        Arg::Init(&initializers::AUTO, ::core::option::Option::None),
                                    ),
                                    Value::Known(Arg::Path("")),
                                ],
                            ),
                            segment: "h",
                            named: true,
                            text: "Dense(4 * 4)",
                            at: At(6u32),
                        },
                        DeclaredStage {
                            kind: Kind::Layer(
                                &layers::BATCH_NORM,
                                &[
                                    Value::Known(Arg::Float(0.9f64)),
                                    Value::Known(Arg::Float(0.00001f64)),
                                    Value::Known(Arg::Int(2u64)),
                                ],
                            ),
                            segment: "batch_norm1",
                            named: false,
                            text: "BatchNorm(every = 2)",
                            at: At(7u32),
                        },
                        DeclaredStage {
                            kind: Kind::Layer(
                                &layers::GELU,
                                &[Value::Known(Arg::Word("tanh"))],
                            ),
                            segment: "gelu1",
                            named: false,
                            text: "gelu(approx = tanh)",
                            at: At(8u32),
                        },
                        DeclaredStage {
                            kind: Kind::Layer(
                                &layers::DENSE,
                                &[
                                    Value::Known(Arg::Int(3u64)),
                                    Value::Known(Arg::Flag(true)),
                                    Value::Known(
                                        Arg::Init(&initializers::AUTO, ::core::option::Option::None),
                                    ),
                                    Value::Known(Arg::Path("")),
                                ],
                            ),
                            segment: "dense2",
                            named: false,
                            text: "Dense(3)",
                            at: At(9u32),
                        },
                    ],
                    flows: &[],
                    loss: ::core::option::Option::Some(Clause {
                        name: "loss",
                        expr: Expr::Binary(
                            BinaryOp::Add,
                            At(16u32),
                            &Expr::Call(
                                &functions::CROSS_ENTROPY,
                                At(12u32),
                                &[
                                    Value::Known(Arg::Float(0f64)),
                                    Value::Known(Arg::Numbers(&[])),
                                    Value::Known(Arg::Word("none")),
                                ],
                                &[Expr::Name("y"), Expr::Name("label")],
                            ),
                            &Expr::Binary(
                                BinaryOp::Mul,
                                At(15u32),
                                &Expr::Number(0.0001f64),
                                &Expr::Call(
                                    &functions::MEAN,
                                    At(14u32),
                                    &[
                                        Value::Known(Arg::Ints(&[])),
                                        Value::Known(Arg::Flag(false)),
                                    ],
                                    &[
                                        Expr::Apply(&layers::SILU, At(13u32), &[], &Expr::Name("h")),
                                    ],
                                ),
                            ),
                        ),
                        at: At(17u32),
                    }),
                    metrics: &[
                        Clause {
                            name: "accuracy",
                            expr: Expr::Call(
                                &functions::MEAN,
                                At(20u32),
                                &[
                                    Value::Known(Arg::Ints(&[])),
                                    Value::Known(Arg::Flag(false)),
                                ],
                                &[
                                    Expr::Binary(
                                        BinaryOp::Eq,
                                        At(19u32),
                                        &Expr::Call(
                                            &functions::ARGMAX,
                                            At(18u32),
                                            &[Value::Known(Arg::Ints(&[-1i64]))],
                                            &[Expr::Name("y")],
                                        ),
                                        &Expr::Name("label"),
                                    ),
                                ],
                            ),
                            at: At(21u32),
                        },
                    ],
                    places: &[
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                        place!(),
                    ],
                    assembled: ::core::option::Option::None,
                };
                DEFINITION
            }
            #[allow(unused_variables)]
            fn inputs<'a>(
                inputs: Self::Inputs<'a>,
                visit: &mut dyn ::core::ops::FnMut(Tensor<'a>),
            ) {
                visit(::core::convert::Into::into(inputs));
            }
            #[allow(unused_variables)]
            fn targets<'a>(
                targets: Self::Targets<'a>,
                visit: &mut dyn ::core::ops::FnMut(Tensor<'a>),
            ) {
                visit(::core::convert::Into::into(targets));
            }
            #[allow(unused_variables)]
            fn outputs<'a>(
                next: &mut dyn ::core::ops::FnMut(
                ) -> ndarray::ArrayViewD<'a, ::core::primitive::f32>,
            ) -> Self::Outputs<'a> {
                view(next())
            }
            #[allow(unused_variables)]
            fn owned_outputs(
                next: &mut dyn ::core::ops::FnMut(
                ) -> ndarray::ArrayD<::core::primitive::f32>,
            ) -> Self::OwnedOutputs {
                array(next())
            }
            fn metrics(report: &Report<'_>) -> Self::Metrics {
                NetMetrics {
                    loss: report.loss,
                    accuracy: report.metrics[0usize],
                }
            }
        }
        #[automatically_derived]
        impl Metrics for NetMetrics {
            fn loss(&self) -> ::core::primitive::f32 {
                self.loss
            }
            fn metrics(
                &self,
            ) -> impl ::core::iter::Iterator<
                Item = (&'static ::core::primitive::str, ::core::primitive::f32),
            > {
                let metrics: [(
                    &'static ::core::primitive::str,
                    ::core::primitive::f32,
                ); 1usize] = [("accuracy", self.accuracy)];
                ::core::iter::IntoIterator::into_iter(metrics)
            }
        }
        #[automatically_derived]
        impl Supervised for Net {
            type InputArrays = ndarray::Array2<::core::primitive::f32>;
            type TargetArrays = ndarray::Array1<::core::primitive::u8>;
        }
        impl Net {
            /// Configures a training session for [`Net`]; `build()` compiles it.
            pub fn trainer(optimizer: impl Optimizer + 'static) -> Trainer<Net> {
                Trainer::new(optimizer)
            }
            /// Configures inference alone of [`Net`]; `build()` compiles it, `ir(stage)` prints it.
            pub fn predictor() -> PredictorBuilder<Net> {
                PredictorBuilder::new()
            }
            /// Checks the gradients of [`Net`] on a batch, symbolic and compiled, at parameters as training starts with.
            pub fn gradcheck<'a>(
                inputs: <Net as Network>::Inputs<'a>,
                targets: <Net as Network>::Targets<'a>,
            ) -> ::core::result::Result<Gradcheck, Error> {
                gradcheck::<Net>(inputs, targets)
            }
            /// The text of a stage of [`Net`] that needs neither an optimizer nor a machine.
            pub fn ir(stage: Stage) -> ::std::string::String {
                ir::<Net>(stage)
            }
        }
    };
    #[allow(non_snake_case, non_upper_case_globals, clippy::all)]
    const _: () = {
        {
            #[allow(dead_code)]
            fn x() {}
            #[allow(dead_code)]
            fn y() {}
            #[allow(dead_code)]
            fn label() {}
            #[allow(dead_code)]
            fn h() {}
            let _ = y;
            let _ = label;
            let _ = h;
            let _ = y;
            let _ = label;
        }
    };
    "#);
}
