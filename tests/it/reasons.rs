//! Every kernel says what it costs and every decision of fusion why it was taken: that they are true, and how they read.

use gradloom::{Adam, Network, Sgd, Stage};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::{fuse, legalize, unfused};
use gradloom_runtime::ir::ops::is_transcendental;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role};
use gradloom_runtime::kernel::{BufferId, Cost, Count, Fused, Home, cost};
use gradloom_runtime::reason::{MaterializeReason, RematerializeReason, SplitReason};
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::fusion::{Classes, Deep, Norm, Relu, Tied};
use crate::handmade::{input, output, parameter};
use crate::passes::TanhNorm;
use crate::stages::{Line, Mlp, Rows, Sparse};

/// Training steps and predictions of all kinds.
fn programs() -> Vec<(Graph, Fused)> {
    let definitions = [
        Line::declared(),
        Mlp::declared(),
        Sparse::declared(),
        Rows::declared(),
        Relu::declared(),
        Classes::declared(),
        Deep::declared(),
        Tied::declared(),
        Norm::declared(),
        TanhNorm::declared(),
    ];
    let (adam, momentum) = (Adam::new(1e-3).into(), Sgd::new(0.1).momentum(0.9).into());
    let purposes = [Purpose::Train(&adam), Purpose::Train(&momentum), Purpose::Gradients(None), Purpose::Predict];
    let graphs = definitions.iter().flat_map(|&one| purposes.map(|purpose| simplified(one, purpose)));
    let graphs = graphs.map(|graph| legalize(&graph.expect("the network is sound")));
    graphs.map(|graph| (graph.clone(), fuse(&graph))).collect()
}

/// A graph with one output, fused as it is.
fn fused(build: fn(&mut Builder) -> NodeId) -> Fused {
    let mut b = Builder::new(Graph::default());
    let result = build(&mut b);
    output(&mut b, Role::Output(0), result);
    fuse(&b.finish())
}

/// A matrix of activations: `[B, 3]`.
fn x(b: &mut Builder, name: &'static str) -> NodeId {
    input(b, name, TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(3)])))
}

/// `1,234*B + 56`, read again.
fn count(text: &str) -> Count {
    let mut count = Count::default();
    for part in text.split(" + ") {
        let part = part.replace(',', "");
        match part.strip_suffix("*B") {
            Some(batch) => count.batch = batch.parse().expect("a number"),
            None => count.fixed = part.parse().expect("a number"),
        }
    }
    count
}

/// The operations and bytes on a line that ends with them, up to a reason.
fn printed(line: &str) -> Cost {
    let (text, _) = line.split_once(" bytes").expect("the line has bytes");
    let (text, bytes) = text.rsplit_once(" FLOP, ").expect("the line has operations");
    // After the last `: ` or `, `; commas between digits have no blank after them.
    let start = [": ", ", "].iter().filter_map(|mark| text.rfind(mark)).max().expect("the line has a heading") + 2;
    Cost { flops: count(&text[start..]), bytes: count(bytes) }
}

#[test]
fn a_kernel_prints_what_it_costs_and_the_last_lines_the_sums() {
    for (graph, fused) in programs() {
        let text = fused.to_string();
        let heads: Vec<Cost> = text.lines().filter(|line| line.starts_with("kernel ")).map(printed).collect();
        let costs: Vec<Cost> = (0..fused.kernels.len()).map(|index| cost(&fused, index)).collect();
        assert_eq!(heads, costs, "{text}");

        let mut sum = Cost::default();
        costs.iter().for_each(|&cost| sum += cost);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).map(printed);
        assert_eq!(line("in all: "), Some(sum), "{text}");
        assert_eq!(line("unfused: "), Some(unfused(&graph)), "{text}");
    }
}

#[test]
fn fusion_never_moves_more_bytes_than_operations_on_their_own_would() {
    for (graph, fused) in programs() {
        let bytes: Vec<Count> = (0..fused.kernels.len()).map(|index| cost(&fused, index).bytes).collect();
        for batch in [1, 7, 1000] {
            let moved: u64 = bytes.iter().map(|bytes| bytes.at(batch)).sum();
            assert!(moved <= unfused(&graph).bytes.at(batch), "{moved} bytes for {batch} rows of\n{fused}");
        }
    }
}

#[test]
fn operations_on_their_own_read_what_they_use_and_write_what_they_make() {
    // exp reads 12 bytes a row and writes 12, mul reads them and the 12 of `scale` and writes 12.
    assert_snapshot!(fused(|b| {
        let (x, scale) = (x(b, "x"), parameter(b, "scale", &[3]));
        let shape = b.shape(x);
        let scale = b.broadcast(scale, &shape, &[1]);
        let power = b.exp(x);
        b.mul(power, scale)
    }), @"
    kernel 0: B x 3, 6*B FLOP, 24*B + 12 bytes
      %3 = exp x : f32[B,3]
      %4 = mul %3, scale.col : f32[B,3]
      materialize %4                                                 # output y
    in all: 1 kernel, 6*B FLOP, 24*B + 12 bytes
    unfused: 6*B FLOP, 48*B + 12 bytes
    ");
}

/// The kernels that compute a value.
fn computing(fused: &Fused, id: NodeId) -> Vec<usize> {
    (0..fused.kernels.len()).filter(|&index| fused.kernels[index].computes(id)).collect()
}

/// Whether a kernel uses a value that it does not compute.
fn reads(fused: &Fused, index: usize, id: NodeId) -> bool {
    let written = fused.kernels.iter().flat_map(|kernel| &kernel.writes);
    let mut buffers =
        written.filter(|write| write.origin == id && fused.is_computed(write.buffer)).map(|write| write.buffer);
    buffers.any(|buffer| fused.kernels[index].buffers_read().any(|read| read == buffer))
}

#[test]
fn every_kernel_begins_for_a_reason_that_is_true_of_it() {
    let mut seen = [0; 4];
    for (_, fused) in programs() {
        for (index, kernel) in fused.kernels.iter().enumerate() {
            assert_eq!(kernel.split == SplitReason::Product, kernel.dot.is_some(), "kernel {index} of\n{fused}");
            let holds = match kernel.split {
                SplitReason::Product => true,
                SplitReason::Sum(sum) => {
                    seen[0] += 1;
                    let home = &fused.kernels[computing(&fused, sum)[0]];
                    let at = home.body.iter().position(|each| each.origin.node == sum);
                    at.is_some_and(|at| home.ends_later(at))
                        && computing(&fused, sum).iter().all(|&home| home < index)
                        && reads(&fused, index, sum)
                }
                SplitReason::Extents(value) => {
                    seen[1] += 1;
                    let other = |&home: &usize| home < index && fused.kernels[home].axes != kernel.axes;
                    computing(&fused, value).iter().any(other) && reads(&fused, index, value)
                }
                SplitReason::Check => {
                    seen[2] += 1;
                    let written = kernel.writes.iter().any(|write| !fused.is_computed(write.buffer));
                    written && fused.check.is_some_and(|check| index >= check)
                }
                SplitReason::Readers(param) => {
                    seen[3] += 1;
                    let is_param = |buffer: BufferId| fused.buffer(buffer).home == Home::Param(param);
                    let written = kernel.writes.iter().any(|write| is_param(write.buffer));
                    written && fused.kernels[..index].iter().any(|earlier| earlier.buffers_read().any(is_param))
                }
                SplitReason::Variance | SplitReason::Long | SplitReason::Apart => true,
            };
            assert!(holds, "kernel {index}: {:?} in\n{fused}", kernel.split);
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "every reason occurs: {seen:?}");
}

#[test]
fn every_value_is_kept_for_a_reason_that_is_true_of_it() {
    for (graph, fused) in programs() {
        for (index, kernel) in fused.kernels.iter().enumerate() {
            for write in &kernel.writes {
                let param = fused.param_written(write);
                assert_eq!(write.materialized.is_none(), param.is_some(), "{:?} in\n{fused}", write.origin);
                let readers: Vec<usize> =
                    (index + 1..fused.kernels.len()).filter(|&later| reads(&fused, later, write.origin)).collect();
                let by_product = |&later: &usize| {
                    let dot = &fused.kernels[later].dot;
                    dot.as_ref().is_some_and(|dot| dot.a == write.buffer || dot.b == write.buffer)
                };
                let holds = match write.materialized {
                    None => true,
                    Some(MaterializeReason::Result) => {
                        graph.outputs.iter().any(|out| graph.behind_reshapes(out.node) == write.origin)
                    }
                    Some(MaterializeReason::Operand) => readers.iter().any(by_product),
                    Some(MaterializeReason::Once) => !readers.is_empty() && computing(&fused, write.origin) == [index],
                    Some(MaterializeReason::Costly(effort)) => {
                        !readers.is_empty() && (effort.operations > 8 || effort.transfers() >= 2)
                    }
                    Some(MaterializeReason::Slope(function)) => {
                        let beside = computing(&fused, function).contains(&index);
                        !readers.is_empty() && beside && graph[function].operands == graph[write.origin].operands
                    }
                    Some(MaterializeReason::Beside(function)) => {
                        let once = computing(&fused, function) == [index];
                        !readers.is_empty() && once && is_transcendental(&graph[function].op)
                    }
                    Some(
                        MaterializeReason::Column
                        | MaterializeReason::Reshaped
                        | MaterializeReason::Prepared
                        | MaterializeReason::Long
                        | MaterializeReason::Tiles,
                    ) => !readers.is_empty(),
                    Some(MaterializeReason::Outside) => {
                        let in_loop = |&later: &usize| fused.loop_of(later).is_some();
                        readers.iter().any(in_loop) && fused.loop_of(index).is_none()
                    }
                    Some(MaterializeReason::Step) => kernel.is_strided(write),
                    Some(MaterializeReason::Carried) => write.part && write.access.position == 0,
                    Some(MaterializeReason::Part) => write.part && !write.coordinates.is_empty(),
                    Some(MaterializeReason::Overwritten) => graph[write.origin].operands.iter().any(|&operand| {
                        let written = |param| graph.output(&Role::Update(param)).is_some();
                        matches!(graph[graph.behind_views(operand)].op, Op::Param(param) if written(param))
                    }),
                    Some(MaterializeReason::Update(param)) => {
                        let writes = |&later: &usize| {
                            let mut written = fused.kernels[later].writes.iter();
                            written.any(|write| fused.param_written(write) == Some(param))
                        };
                        readers.iter().any(writes)
                    }
                };
                assert!(holds, "kernel {index}: {:?} of {:?} in\n{fused}", write.materialized, write.origin);
            }
        }
    }
}

#[test]
fn what_is_computed_again_costs_less_than_a_write_and_a_read() {
    for (_, fused) in programs() {
        for (index, kernel) in fused.kernels.iter().enumerate() {
            for step in &kernel.body {
                let first = computing(&fused, step.origin.node)[0] == index;
                let same = kernel.body.iter().filter(|other| other.origin.node == step.origin.node);
                let first = first && same.map(|other| other.stage).min() == Some(step.stage);
                assert_eq!(step.rematerialized.is_none(), first, "{step:?} of kernel {index} in\n{fused}");
                let ty = &step.origin.ty;
                let holds = match step.rematerialized {
                    None => true,
                    Some(RematerializeReason::Cheap(effort)) => effort.operations <= 8 && effort.transfers() < 2,
                    Some(RematerializeReason::Single) => ty.shape.len() == Some(Dim::Fixed(1)),
                    Some(RematerializeReason::RegisterOnly) => ty.dtype != DType::F32,
                    // A product is no step.
                    Some(RematerializeReason::Grows) => false,
                };
                assert!(holds, "{step:?} of kernel {index} in\n{fused}");
            }
        }
    }
}

#[test]
fn a_variance_is_not_taken_in_a_kernel_that_sums_along_rows() {
    assert_snapshot!(fused(|b| {
        let x = x(b, "x");
        let shape = b.shape(x);
        let along = b.sum(x, &[1]);
        let variance = b.variance(x, &[0]);
        let along = b.broadcast(along, &shape, &[0]);
        let variance = b.broadcast(variance, &shape, &[1]);
        b.mul(along, variance)
    }), @"
    kernel 0: B x 3, 3*B FLOP, 16*B bytes
      %1 = sum x over 1 : f32[B]
      materialize %1.row                                             # for kernel 2: sum runs once
    kernel 1: B x 3, 9*B FLOP, 12*B + 12 bytes                       # no variance after sums along rows
      %2 = variance x over 0 : f32[3]
    kernel 2: B x 3, 3*B FLOP, 16*B + 12 bytes                       # %2 is known when kernel 1 is done
      %5 = mul %1.row, %2.col : f32[B,3]
      materialize %5                                                 # output y
    in all: 3 kernels, 15*B FLOP, 44*B + 24 bytes
    unfused: 15*B FLOP, 44*B + 24 bytes
    ");
}

#[test]
fn a_kernel_shares_nothing_with_one_that_reads_other_values() {
    assert_snapshot!(fused(|b| {
        let (x, y) = (x(b, "x"), x(b, "y"));
        let (x, y) = (b.sum(x, &[0]), b.sum(y, &[0]));
        b.mul(x, y)
    }), @"
    kernel 0: B x 3, 3*B FLOP, 12*B + 12 bytes
      %2 = sum x over 0 : f32[3]
    kernel 1: B x 3, 3*B FLOP, 12*B + 12 bytes                       # no kernel over B x 3 has its operands
      %3 = sum y over 0 : f32[3]
    kernel 2: 1 x 3, 3 FLOP, 36 bytes                                # %3 is known when kernel 1 is done
      %4 = mul %2, %3 : f32[3]
      materialize %4                                                 # output y
    in all: 3 kernels, 6*B + 3 FLOP, 24*B + 60 bytes
    unfused: 6*B + 3 FLOP, 24*B + 60 bytes
    ");
}

#[test]
fn a_long_kernel_takes_no_more_updates() {
    let fused = updates(7);
    let long: Vec<usize> =
        (0..fused.kernels.len()).filter(|&at| fused.kernels[at].split == SplitReason::Long).collect();
    assert_eq!(long, [1], "{fused}");
    assert!(fused.kernels[0].body.len() >= 64, "{fused}");
    assert!(fused.to_string().contains("# the kernel before is long\n"), "{fused}");
}

/// So many parameters of one width, each the exponential of the exponential of itself and so on after an update.
fn updates(count: usize) -> Fused {
    let mut b = Builder::new(Graph::default());
    for index in 0..count {
        let mut value = parameter(&mut b, &format!("w{index}"), &[3]);
        for _ in 0..12 {
            value = b.exp(value);
        }
        output(&mut b, Role::Update(index), value);
    }
    fuse(&b.finish())
}

/// The operations of a training step, each with the kernels that compute it, and then those kernels.
#[test]
fn mlp_before_and_after_fusion() {
    let after = Mlp::trainer(Sgd::new(0.1)).ir(Stage::Fused);
    let mut kernel = "";
    let mut computed = Vec::new();
    for line in after.lines() {
        if let Some((head, _)) = line.strip_prefix("kernel ").and_then(|rest| rest.split_once(':')) {
            kernel = head;
        } else if let Some((name, _)) = line.trim_start().split_once(" = ") {
            computed.push((name, kernel));
        }
    }
    let before = Mlp::trainer(Sgd::new(0.1)).ir(Stage::Simplified);
    let lines = before.lines().map(|line| {
        let name = line.split_once(" = ").map_or("", |(name, _)| name);
        let kernels: Vec<&str> = computed.iter().filter(|(other, _)| *other == name).map(|(_, at)| *at).collect();
        match kernels.len() {
            0 => line.to_string(),
            1 => format!("{line:<90}kernel {}", kernels[0]),
            _ => format!("{line:<90}kernels {}", kernels.join(", ")),
        }
    });
    let lines: Vec<String> = lines.collect();
    assert_snapshot!(format!("BEFORE\n{}\n\nAFTER\n{after}", lines.join("\n")));
}
