//! What is left of networks with mistakes.

use insta::assert_snapshot;

use super::expanded;

#[test]
fn a_mistake_leaves_the_type_with_its_ports() {
    assert_snapshot!(expanded(
        "pub(crate) Net<[B, 8, 8] -> logits: [B, 3]> { Dense(3) }
         loss(label: [u16; B], weight: [B]) = nothing(logits);
         metric accuracy = 1;"
    ), @r#"
    ::core::compile_error! {
        "`Dense(3)` works along the last axis of [B, 8, 8], which makes `logits` [B, 8, 3] instead of [B, 3]; insert `flatten` before it (gives [B, 64])\nx [B,8,8] -> Dense(3) [B,8,3]"
    }
    ::core::compile_error! {
        "unknown function `nothing`"
    }
    #[::core::prelude::v1::derive(
        ::core::clone::Clone,
        ::core::marker::Copy,
        ::core::fmt::Debug
    )]
    pub(crate) struct Net;
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
        pub(crate) struct NetMetrics {
            /// The loss, `nothing(logits)`.
            pub(crate) loss: ::core::primitive::f32,
            /// `1`.
            pub(crate) accuracy: ::core::primitive::f32,
        }
        #[automatically_derived]
        impl Network for Net {
            type Inputs<'a> = ndarray::ArrayView3<'a, ::core::primitive::f32>;
            type Targets<'a> = (
                ndarray::ArrayView1<'a, ::core::primitive::u16>,
                ndarray::ArrayView1<'a, ::core::primitive::f32>,
            );
            type Outputs<'a> = ndarray::ArrayView2<'a, ::core::primitive::f32>;
            type OwnedOutputs = ndarray::Array2<::core::primitive::f32>;
            /// Loss and metrics of [`Net`], as fields:
            /// - `loss`: The loss, `nothing(logits)`.
            /// - `accuracy`: `1`.
            type Metrics = NetMetrics;
            type Sizes = ();
            #[allow(clippy::zero_prefixed_literal)]
            fn definition(_: &()) -> &'static Definition<'static> {
                const DEFINITION: &Definition<'static> = &Definition {
                    name: "Net",
                    inputs: &[
                        Port {
                            name: "x",
                            named: false,
                            dtype: DType::F32,
                            dims: &[
                                Extent::Batch(At(0u32)),
                                Extent::Size(Number {
                                    value: Outcome::Int(8i64),
                                    text: "8",
                                    at: At(1u32),
                                }),
                                Extent::Size(Number {
                                    value: Outcome::Int(8i64),
                                    text: "8",
                                    at: At(2u32),
                                }),
                            ],
                            at: At(3u32),
                        },
                    ],
                    outputs: &[
                        Port {
                            name: "logits",
                            named: true,
                            dtype: DType::F32,
                            dims: &[
                                Extent::Batch(At(4u32)),
                                Extent::Size(Number {
                                    value: Outcome::Int(3i64),
                                    text: "3",
                                    at: At(5u32),
                                }),
                            ],
                            at: At(6u32),
                        },
                    ],
                    targets: &[
                        Port {
                            name: "label",
                            named: true,
                            dtype: DType::U16,
                            dims: &[Extent::Batch(At(8u32))],
                            at: At(9u32),
                        },
                        Port {
                            name: "weight",
                            named: true,
                            dtype: DType::F32,
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
                                    Value::Known(Arg::Int(3u64)),
                                    Value::Known(Arg::Flag(true)),
                                    Value::Known(
                                        Arg::Init(&initializers::AUTO, ::core::option::Option::None),
                                    ),
                                    Value::Known(Arg::Path("")),
                                ],
                            ),
                            segment: "dense1",
                            named: false,
                            text: "Dense(3)",
                            at: At(7u32),
                        },
                    ],
                    flows: &[],
                    loss: ::core::option::Option::Some(Clause {
                        name: "loss",
                        expr: Expr::Broken,
                        at: At(12u32),
                    }),
                    metrics: &[
                        Clause {
                            name: "accuracy",
                            expr: Expr::Number(1f64),
                            at: At(13u32),
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
                visit(::core::convert::Into::into(targets.0));
                visit(::core::convert::Into::into(targets.1));
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
            type InputArrays = ndarray::Array3<::core::primitive::f32>;
            type TargetArrays = (
                ndarray::Array1<::core::primitive::u16>,
                ndarray::Array1<::core::primitive::f32>,
            );
        }
        impl Net {
            /// Configures a training session for [`Net`]; `build()` compiles it.
            pub(crate) fn trainer(optimizer: impl Optimizer + 'static) -> Trainer<Net> {
                Trainer::new(optimizer)
            }
            /// Configures inference alone of [`Net`]; `build()` compiles it, `ir(stage)` prints it.
            pub(crate) fn predictor() -> PredictorBuilder<Net> {
                PredictorBuilder::new()
            }
            /// Checks the gradients of [`Net`] on a batch, symbolic and compiled, at parameters as training starts with.
            pub(crate) fn gradcheck<'a>(
                inputs: <Net as Network>::Inputs<'a>,
                targets: <Net as Network>::Targets<'a>,
            ) -> ::core::result::Result<Gradcheck, Error> {
                gradcheck::<Net>(inputs, targets)
            }
            /// The text of a stage of [`Net`] that needs neither an optimizer nor a machine.
            pub(crate) fn ir(stage: Stage) -> ::std::string::String {
                ir::<Net>(stage)
            }
        }
    };
    #[allow(non_snake_case, non_upper_case_globals, clippy::all)]
    const _: () = {
        {
            #[allow(dead_code)]
            fn logits() {}
            #[allow(dead_code)]
            fn label() {}
            #[allow(dead_code)]
            fn weight() {}
            let _ = logits;
        }
    };
    "#);
}

#[test]
fn outputs_are_numbers_whatever_is_declared() {
    let text = expanded("pub Net<x: [B, 8] -> y: [u32; B]> { y = argmax(x); }");
    for part in [
        "type Outputs<'a> = ndarray::ArrayView1<'a, ::core::primitive::f32>;",
        "type OwnedOutputs = ndarray::Array1<::core::primitive::f32>;",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
