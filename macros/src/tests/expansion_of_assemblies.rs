//! What is assembled when the program runs: networks with sizes that are chosen then, and blocks that others use.

use insta::assert_snapshot;

use super::expanded;

#[test]
fn what_is_known_when_the_program_runs_is_a_calculation_of_its_sizes() {
    let expanded = expanded("Net(hidden: usize = 4)<x: [B, 8] -> y: [B, 3]> { blocks::Res(2 * hidden), Dense(3) }");
    let start = expanded.find("fn definition").expect("there is one");
    let end = start + expanded[start..].find("fn inputs").expect("it follows");
    assert_snapshot!(&expanded[start..end], @r#"
    fn definition(sizes: &Self::Sizes) -> &'static Definition<'static> {
                let declared = [
                    Size {
                        name: "hidden",
                        value: sizes.hidden,
                    },
                ];
                assembled::<
                    Self,
                >(
                    &declared,
                    |assembly| {
                        let sizes: [::core::primitive::usize; 1usize] = [sizes.hidden];
                        {
                            let base = assembly
                                .begin(
                                    &[
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
                                    0usize,
                                );
                            Definition {
                                name: "Net",
                                inputs: keep_all([
                                    Port {
                                        name: "x",
                                        named: true,
                                        dtype: DType::F32,
                                        dims: keep_all([
                                            Extent::Batch(base.at(0u32)),
                                            Extent::Size(Number {
                                                value: Outcome::Int(8i64),
                                                text: "8",
                                                at: base.at(1u32),
                                            }),
                                        ]),
                                        at: base.at(2u32),
                                    },
                                ]),
                                outputs: keep_all([
                                    Port {
                                        name: "y",
                                        named: true,
                                        dtype: DType::F32,
                                        dims: keep_all([
                                            Extent::Batch(base.at(3u32)),
                                            Extent::Size(Number {
                                                value: Outcome::Int(3i64),
                                                text: "3",
                                                at: base.at(4u32),
                                            }),
                                        ]),
                                        at: base.at(5u32),
                                    },
                                ]),
                                targets: keep_all([]),
                                acts: &[],
                                scalars: keep_all([]),
                                layers: keep_all([]),
                                body: keep_all([
                                    DeclaredStage {
                                        kind: assembly
                                            .stage::<
                                                blocks::Res,
                                            >(
                                                base.at(6u32),
                                                "blocks::Res(2 * hidden)",
                                                &[
                                                    Given {
                                                        name: ::core::option::Option::None,
                                                        value: Bound {
                                                            size: Outcome::Int(2i64).mul(Outcome::size(sizes[0usize])),
                                                            number: Outcome::Int(2i64).mul(Outcome::size(sizes[0usize])),
                                                        },
                                                        text: "2 * hidden",
                                                        at: base.at(7u32),
                                                    },
                                                ],
                                            ),
                                        segment: "res1",
                                        named: false,
                                        text: "blocks::Res(2 * hidden)",
                                        at: base.at(6u32),
                                    },
                                    DeclaredStage {
                                        kind: Kind::Layer(
                                            &layers::DENSE,
                                            keep_all([
                                                Value::Known(Arg::Int(3u64)),
                                                Value::Known(Arg::Flag(true)),
                                                Value::Known(
                                                    Arg::Init(&initializers::AUTO, ::core::option::Option::None),
                                                ),
                                                Value::Known(Arg::Path("")),
                                            ]),
                                        ),
                                        segment: "dense1",
                                        named: false,
                                        text: "Dense(3)",
                                        at: base.at(8u32),
                                    },
                                ]),
                                flows: keep_all([]),
                                loss: ::core::option::Option::None,
                                metrics: keep_all([]),
                                places: &[],
                                assembled: ::core::option::Option::None,
                            }
                        }
                    },
                )
            }
            #[allow(unused_variables)]
    "#);
}

#[test]
fn a_block_that_others_use_is_a_type() {
    assert_snapshot!(expanded("pub block Wide(c, by = 2 * c) { Dense(by, bias = false), |x| c * x }"), @r#"
    #[allow(non_camel_case_types)]
    #[::core::prelude::v1::derive(
        ::core::clone::Clone,
        ::core::marker::Copy,
        ::core::fmt::Debug
    )]
    pub struct Wide {}
    #[allow(dead_code, unused_qualifications)]
    const _: () = {
        use facade::__private as __gradloom;
        fn act() {}
        fn args() {}
        fn assembly() {}
        fn base() {}
        fn declared() {}
        fn operands() {}
        fn param() {}
        fn sizes() {}
        fn values() {}
        #[automatically_derived]
        #[allow(unused_variables)]
        impl Fragment for Wide {
            const NAME: &'static ::core::primitive::str = "Wide";
            const OPERAND: ::core::option::Option<&'static ::core::primitive::str> = ::core::option::Option::None;
            const PARAMS: &'static [&'static ::core::primitive::str] = &["c", "by"];
            #[allow(clippy::zero_prefixed_literal)]
            const PLACES: &'static [SourcePlace] = &[
                place!(),
                place!(),
                place!(),
                place!(),
                place!(),
            ];
            const ACTS: ::core::primitive::usize = 1usize;
            fn default(
                param: ::core::primitive::usize,
                args: &[Bound],
            ) -> ::core::option::Option<Bound> {
                match param {
                    1usize => {
                        ::core::option::Option::Some(Bound {
                            size: Outcome::Int(2i64).mul(args[0usize].size),
                            number: Outcome::Int(2i64).mul(args[0usize].number),
                        })
                    }
                    _ => ::core::option::Option::None,
                }
            }
            fn assemble(base: Base, args: &[Bound], assembly: &mut Assembly) -> Piece {
                {
                    let act = Act {
                        name: ::core::option::Option::None,
                        operand: "x",
                        extras: &[],
                        expr: Expr::Binary(
                            BinaryOp::Mul,
                            base.at(3u32),
                            keep(
                                Expr::Constant(args[0usize].number.to_f64(), base.at(2u32)),
                            ),
                            keep(Expr::Name("x")),
                        ),
                    };
                    assembly.act(base.act + 0usize, act);
                }
                Piece::Block(
                    keep_all([
                        DeclaredStage {
                            kind: Kind::Layer(
                                &layers::DENSE,
                                keep_all([
                                    Value::Calculated(Number {
                                        value: args[1usize].size,
                                        text: "by",
                                        at: base.at(0u32),
                                    }),
                                    Value::Known(Arg::Flag(false)),
                                    Value::Known(
                                        Arg::Init(&initializers::AUTO, ::core::option::Option::None),
                                    ),
                                    Value::Known(Arg::Path("")),
                                ]),
                            ),
                            segment: "dense1",
                            named: false,
                            text: "Dense(by, bias = false)",
                            at: base.at(1u32),
                        },
                        DeclaredStage {
                            kind: Kind::Act(base.act + 0usize, &[]),
                            segment: "lambda1",
                            named: false,
                            text: "|x| c * x",
                            at: base.at(4u32),
                        },
                    ]),
                )
            }
        }
    };
    #[allow(non_snake_case, non_upper_case_globals, clippy::all)]
    const _: () = {
        fn Wide() {}
        {
            #[allow(dead_code)]
            fn c() {}
            let _ = c;
            #[allow(dead_code)]
            fn by() {}
            let _ = by;
            {
                #[allow(dead_code)]
                fn x() {}
                let _ = x;
            }
        }
    };
    "#);
}
