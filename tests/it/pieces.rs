//! Evaluation in pieces: whatever the pieces, loss and metrics are those of one run over all rows.

use gradloom::ndarray::{Array1, Array2, s};
use gradloom::{Adam, MetricsOf, Network, Session, network};
use gradloom_runtime::chunked::{Merge, Parts, Tally, Total, parts};
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, verify};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::lower;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};
use insta::assert_snapshot;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::bound::Bound;
use crate::compiled::{Compiled, Reference, Results};
use crate::random_network::{Spec, specs};
use crate::{budget, draw, handmade};

// ---- Graphs ---------------------------------------------------------------------------------------------------------

/// Rows `from..to` of a tensor whose first axis is the batch.
fn rows(tensor: &Tensor, from: usize, to: usize) -> Tensor {
    let width: usize = tensor.shape[1..].iter().product();
    let shape: Vec<usize> = [to - from].iter().chain(&tensor.shape[1..]).copied().collect();
    match &tensor.data {
        Data::Float(values) => Tensor::floats(&shape, &values[from * width..to * width]),
        Data::Index(ids) => Tensor::indices(&shape, &ids[from * width..to * width]),
        Data::Mask(_) => panic!("an input of truth values"),
    }
}

/// Goes through the pieces of `values`; `run` gives the outputs of a level on a piece. What the last part is then given.
fn totals(
    parts: &Parts,
    batch: usize,
    max_batch: usize,
    values: &Values,
    mut run: impl FnMut(usize, usize, &Values) -> Vec<Vec<f64>>,
) -> Values {
    let number = |x: usize| Tensor::floats(&[], [x as f64]);
    let mut known = vec![number(batch), number(0)];
    for (index, level) in parts.levels.iter().enumerate() {
        let mut tallies: Vec<Tally> = level.totals.iter().map(Tally::new).collect();
        for from in (0..batch).step_by(max_batch) {
            let to = (from + max_batch).min(batch);
            known[1] = number(from);
            let own = values.inputs.iter().map(|tensor| rows(tensor, from, to));
            let outputs =
                run(index, to - from, &Values { inputs: own.chain(known.clone()).collect(), ..values.clone() });
            for (total, tally) in level.totals.iter().zip(&mut tallies) {
                let means = total.mean.map_or([&[][..]; 2], |parts| parts.map(|part| &outputs[part][..]));
                tally.add(to - from, &outputs[total.output], means);
            }
        }
        let merged = level.totals.iter().zip(&tallies);
        known.extend(merged.map(|(total, tally)| Tensor::floats(&total.ty.shape.at(1), tally.totals())));
    }
    Values { inputs: known, ..values.clone() }
}

/// The results of a graph from pieces, all of it interpreted in f64.
pub fn interpreted(graph: &Graph, batch: usize, max_batch: usize, values: &Values) -> Vec<f64> {
    let parts = parts(graph);
    parts.levels.iter().map(|level| &level.graph).chain([&parts.finish]).for_each(|graph| {
        verify(graph).unwrap_or_else(|fault| panic!("{fault}\n{graph}"));
    });
    let outputs = |graph: &Graph, batch, values: &Values| -> Vec<Vec<f64>> {
        let evaluation = evaluate(graph, Precision::F64, batch, values);
        evaluation.outputs().map(|(_, tensor)| tensor.as_floats().to_vec()).collect()
    };
    let last = totals(&parts, batch, max_batch, values, |level, batch, values| {
        outputs(&parts.levels[level].graph, batch, values)
    });
    outputs(&parts.finish, 1, &last).concat()
}

/// The same with compiled code.
pub fn compiled(graph: &Graph, batch: usize, max_batch: usize, values: &Values) -> Results {
    let parts = parts(graph);
    let mut levels: Vec<Compiled> = parts.levels.iter().map(|level| Compiled::new(&level.graph, max_batch)).collect();
    let last = totals(&parts, batch, max_batch, values, |level, batch, values| {
        let results = levels[level].run(batch, &draw::singles(values));
        (0..parts.levels[level].graph.outputs.len()).map(|index| results.get(&Role::Output(index)).to_vec()).collect()
    });
    Compiled::new(&parts.finish, 1).run(1, &draw::singles(&last))
}

/// Every result of a graph, one number each, in f64.
fn whole(graph: &Graph, batch: usize, values: &Values) -> Vec<f64> {
    let evaluation = evaluate(graph, Precision::F64, batch, values);
    evaluation.outputs().map(|(_, tensor)| tensor.number()).collect()
}

/// Adds a metric.
fn metric(b: &mut Builder, node: NodeId) {
    let names = &mut b.graph_mut().slots.metrics;
    names.push("m");
    let index = names.len() - 1;
    handmade::output(b, Role::Metric(index), node);
}

/// Two inputs of three columns.
fn two_inputs() -> (Builder, [NodeId; 2]) {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(3)]));
    let inputs = ["x", "y"].map(|name| handmade::input(&mut b, name, ty.clone()));
    (b, inputs)
}

#[test]
fn a_quotient_of_means_divides_after_the_last_piece() {
    let (mut b, [x, y]) = two_inputs();
    let (x, y) = (b.mean(x, &[0, 1]), b.mean(y, &[0, 1]));
    let quotient = b.div(x, y);
    metric(&mut b, quotient);
    let parts = parts(&simplify(&b.finish()));
    assert_eq!(parts.levels.len(), 1);
    assert_snapshot!(parts.levels[0].graph, @r"
    %0 = input x : f32[B,3]
    %1 = input y : f32[B,3]
    %2 = sum %0 over 0,1 : f32[]
    %3 = sum %1 over 0,1 : f32[]
    output total = %2
    output total = %3
    ");
    assert_snapshot!(parts.finish, @r"
    %0 = input total : f32[]
    %1 = input rows : f32[]
    %2 = mul %1, 3 : f32[]
    %3 = div %0, %2 : f32[]
    %4 = input total : f32[]
    %5 = div %4, %2 : f32[]
    %6 = div %3, %5 : f32[]
    metric m = %6
    ");
}

#[test]
fn deviations_from_a_mean_take_a_second_look_at_the_rows() {
    let (mut b, [x, _]) = two_inputs();
    let shape = b.shape(x);
    let mean = b.mean(x, &[0, 1]);
    let mean = b.spread(mean, &shape);
    let deviation = b.sub(x, mean);
    let square = b.mul(deviation, deviation);
    let variance = b.mean(square, &[0, 1]);
    metric(&mut b, variance);
    let parts = parts(&simplify(&b.finish()));
    assert_eq!(parts.levels.len(), 2);
    assert_snapshot!(parts.levels[0].graph, @r"
    %0 = input x : f32[B,3]
    %1 = sum %0 over 0,1 : f32[]
    output total = %1
    ");
    assert_snapshot!(parts.levels[1].graph, @r"
    %0 = input x : f32[B,3]
    %1 = input total : f32[]
    %2 = input rows : f32[]
    %3 = mul %2, 3 : f32[]
    %4 = div %1, %3 : f32[]
    %5 = broadcast %4 : f32[B,3]
    %6 = sub %0, %5 : f32[B,3]
    %7 = mul %6, %6 : f32[B,3]
    %8 = sum %7 over 0,1 : f32[]
    output total = %8
    ");
    assert_snapshot!(parts.finish, @r"
    %0 = input rows : f32[]
    %1 = mul %0, 3 : f32[]
    %2 = input total : f32[]
    %3 = div %2, %1 : f32[]
    metric m = %3
    ");
}

#[test]
fn a_result_without_rows_needs_no_piece() {
    let mut b = Builder::new(Graph::default());
    let w = handmade::parameter(&mut b, "w", &[4]);
    let sum = b.sum(w, &[0]);
    metric(&mut b, sum);
    let parts = parts(&b.finish());
    assert!(parts.levels.is_empty());
    assert_snapshot!(parts.finish, @r"
    %0 = param w : f32[4]
    %1 = sum %0 over 0 : f32[]
    metric m = %1
    ");
}

#[test]
fn a_variance_of_pieces_does_not_cancel_where_the_mean_is_10_000_deviations() {
    let mut random = Random::new(5, 5);
    let data: Vec<f64> = (0..1000).map(|_| f64::from((10_000.0 + random.normal()) as f32)).collect();
    let (mut b, [x, _]) = two_inputs();
    let variance = b.variance(x, &[0, 1]);
    metric(&mut b, variance);
    let graph = b.finish();
    let inputs = vec![Tensor::floats(&[300, 3], &data[..900]), Tensor::floats(&[300, 3], &data[..900])];
    let values = Values { inputs, ..Values::default() };
    let expected = whole(&graph, 300, &values);
    // A mean of 10,000 is off by up to 5e-4 as an f32, its square by 2.5e-7.
    let actual = compiled(&graph, 300, 7, &values);
    Bound { relative: 1e-5, absolute: 0.0 }.check("variance", actual.get(&Role::Metric(0)), &expected);
}

#[test]
fn positions_along_the_batch_are_those_of_all_rows() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B])));
    let best = (gradloom_runtime::functions::ARGMAX.lower)(&mut b, &[], &[x]);
    let best = b.to_float(best);
    metric(&mut b, best);
    let graph = simplify(&b.finish());
    // The largest twice: the first counts.
    let x: Vec<f64> = (0..50).map(|row| if row == 23 || row == 41 { 9.0 } else { f64::from(row % 7) }).collect();
    let values = Values { inputs: vec![Tensor::floats(&[50], x)], ..Values::default() };
    for max_batch in [1, 7, 24, 49] {
        assert_eq!(interpreted(&graph, 50, max_batch, &values), [23.0]);
        assert_eq!(compiled(&graph, 50, max_batch, &values).get(&Role::Metric(0)), [23.0]);
    }
}

#[test]
fn products_over_rows_and_sums_of_rows_with_a_number_add_up() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(2), Dim::Fixed(3)])));
    let ids = TensorType { dtype: DType::U32, shape: Shape(vec![Dim::B, Dim::Fixed(2)]) };
    let ids = handmade::input(&mut b, "ids", ids);
    let turned = b.transpose(x, &[1, 2, 0]);
    let product = b.product(turned, x, DotAxes { batch: vec![(0, 1)], contracted: vec![(2, 0)] });
    let rows = b.scatter_add(x, ids, 4);
    for total in [product, rows] {
        let bent = b.tanh(total);
        let axes = Vec::from_iter(0..b.shape(bent).rank());
        let number = b.sum(bent, &axes);
        metric(&mut b, number);
    }
    let graph = b.finish();
    assert_eq!(parts(&graph).levels.iter().map(|level| level.totals.len()).collect::<Vec<_>>(), [2]);
    let values = draw::values(&graph, 40, 3);
    let expected = whole(&graph, 40, &values);
    for max_batch in [1, 7, 40] {
        let bound = Bound { relative: 1e-12, absolute: 1e-12 };
        bound.check("totals", &interpreted(&graph, 40, max_batch, &values), &expected);
    }
}

#[test]
fn a_maximum_passes_nan_and_a_tally_of_nothing_is_below_everything() {
    let total = |merge| Total { merge, ty: TensorType::f32(Shape::fixed(&[2])), output: 0, mean: None };
    let largest = Op::MaxOver(vec![0]).def().reduction().expect("it is one");
    let mut tally = Tally::new(&total(Merge::Total(largest)));
    assert_eq!(tally.totals(), [f64::NEG_INFINITY; 2]);
    for part in [[1.0, f64::NAN], [3.0, 9.0], [2.0, 1.0]] {
        tally.add(1, &part, [&[], &[]]);
    }
    let top = tally.totals();
    assert!(top[0] == 3.0 && top[1].is_nan());
}

// ---- Random expressions ---------------------------------------------------------------------------------------------

/// A number for each element of three columns, from rows and from numbers over all rows.
fn element(b: &mut Builder, inputs: [NodeId; 2], depth: usize, random: &mut Random) -> NodeId {
    let leaf = inputs[random.below(2) as usize];
    if depth == 0 {
        return leaf;
    }
    let shape = b.shape(leaf);
    match random.below(6) {
        0 => leaf,
        1 => {
            let x = element(b, inputs, depth - 1, random);
            b.tanh(x)
        }
        2 => {
            let (x, y) = (element(b, inputs, depth - 1, random), element(b, inputs, depth - 1, random));
            b.mul(x, y)
        }
        3 => {
            let x = element(b, inputs, depth - 1, random);
            let column = column(b, inputs, depth - 1, random);
            let column = b.broadcast(column, &shape, &[1]);
            b.sub(x, column)
        }
        4 => {
            let x = element(b, inputs, depth - 1, random);
            let row = b.max_over(x, &[1]);
            let row = b.broadcast(row, &shape, &[0]);
            b.add(leaf, row)
        }
        _ => {
            let x = element(b, inputs, depth - 1, random);
            let number = number(b, inputs, depth - 1, random);
            let number = b.spread(number, &shape);
            b.add(x, number)
        }
    }
}

/// A number for each of three columns.
fn column(b: &mut Builder, inputs: [NodeId; 2], depth: usize, random: &mut Random) -> NodeId {
    let x = element(b, inputs, depth, random);
    reduced(b, x, &[0], random)
}

/// One number.
fn number(b: &mut Builder, inputs: [NodeId; 2], depth: usize, random: &mut Random) -> NodeId {
    match random.below(4) {
        0 => {
            let x = column(b, inputs, depth, random);
            let sum = b.sum(x, &[0]);
            b.tanh(sum)
        }
        1 if depth > 0 => {
            let (x, y) = (number(b, inputs, depth - 1, random), number(b, inputs, depth - 1, random));
            let square = b.mul(y, y);
            let divisor = b.offset(square, 0.5);
            b.div(x, divisor)
        }
        _ => {
            let x = element(b, inputs, depth, random);
            reduced(b, x, &[0, 1], random)
        }
    }
}

fn reduced(b: &mut Builder, x: NodeId, axes: &[usize], random: &mut Random) -> NodeId {
    match random.below(4) {
        0 => b.max_over(x, axes),
        1 => b.variance(x, axes),
        2 => {
            let sum = b.sum(x, axes);
            b.scale(sum, 0.01)
        }
        _ => b.mean(x, axes),
    }
}

#[test]
fn random_expressions_do_not_depend_on_the_pieces() {
    let (mut deepest, mut compared) = (0, 0);
    for seed in 0..budget::cases(200) {
        let mut random = Random::new(seed, 9);
        let (mut b, inputs) = two_inputs();
        for _ in 0..3 {
            let metric_node = number(&mut b, inputs, 4, &mut random);
            metric(&mut b, metric_node);
        }
        let graph = b.finish();
        deepest = deepest.max(parts(&graph).levels.len());
        let values = draw::singles(&draw::values(&graph, 40, seed));
        let expected = whole(&graph, 40, &values);
        for max_batch in [1, 7, 39] {
            for graph in [&graph, &simplify(&graph)] {
                let actual = interpreted(graph, 40, max_batch, &values);
                Bound { relative: 1e-9, absolute: 1e-9 }.check(&format!("seed {seed}"), &actual, &expected);
            }
        }
        let reference = Reference::new(&graph, 40, &values);
        if seed % 4 == 0 && reference.is_finite() {
            compared += 1;
            reference.check(&format!("seed {seed}"), &compiled(&simplify(&graph), 40, 7, &values));
        }
    }
    assert!(deepest >= 3, "some expressions need several levels, {deepest} at most");
    assert!(compared > 40, "{compared} were compiled");
}

#[test]
fn random_networks_do_not_depend_on_the_pieces() {
    let config = Config { cases: 60, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&specs(20), |spec: Spec| {
        let mut graph =
            lower(spec.definition(), Mode::Infer).map_err(|error| TestCaseError::reject(error.to_string()))?;
        graph.outputs.retain(|output| matches!(output.role, Role::Loss | Role::Metric(_)));
        let batch = 2 * spec.max_batch + 1;
        let values = draw::singles(&draw::values(&graph, batch, spec.seed));
        let reference = Reference::new(&graph, batch, &values);
        if !reference.is_finite() || reference.near_kink() {
            return Err(TestCaseError::reject("a result next to a kink, or none in f32"));
        }
        let expected = whole(&graph, batch, &values);
        let actual = interpreted(&graph, batch, spec.max_batch, &values);
        for (actual, expected) in actual.iter().zip(&expected) {
            let close = (actual - expected).abs() <= 1e-9 * (1.0 + expected.abs());
            proptest::prop_assert!(close, "{actual} is not {expected}");
        }
        let results = compiled(&simplify(&graph), batch, spec.max_batch, &values);
        reference.compare(&results).map(drop).map_err(TestCaseError::fail)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

// ---- Sessions -------------------------------------------------------------------------------------------------------

network! {
    /// Every kind of metric: means, counts, maxima, quotients, and what needs several looks at the rows.
    pub Measured<x: [B, 6] -> logits: [B, 4]> { Dense(5), BatchNorm, tanh as h, Dense(4) }
    loss(label: [u8; B], target: [B, 4], score: [B]) = cross_entropy(logits, label, label_smoothing = 0.1) + 0.01 * l2(dense1.weight);
    metric accuracy = mean(argmax(logits) == label);
    metric best = top_k(logits, label, k = 2);
    metric precise = precision(logits, label);
    metric found = recall(logits, label);
    metric above = precision(score, score - 0.5);
    metric fit = r2(logits, target);
    metric largest = max(h * 2.0 - 0.5);
    metric quotient = mean(h) / mean(logits * logits);
    metric spread = mean((score - mean(score)) * (score - mean(score)));
    metric skew = mean((score - mean(score)) / sqrt(mean((score - mean(score)) * (score - mean(score)))) * score);
    metric place = mean(argmax(score) == label);
    metric weights = l1(dense2.weight);
}

const ROWS: usize = 100;

fn numbers(report: &MetricsOf<Measured>) -> Vec<f64> {
    let r = report;
    let all = [
        r.loss, r.accuracy, r.best, r.precise, r.found, r.above, r.fit, r.largest, r.quotient, r.spread, r.skew,
        r.place, r.weights,
    ];
    all.iter().map(|&x| f64::from(x)).collect()
}

/// Inputs, labels, targets and scores.
fn samples() -> (Array2<f32>, Array1<u8>, Array2<f32>, Array1<f32>) {
    let mut random = Random::new(77, 0);
    let mut normal = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let (x, target) = (normal(ROWS, 6), normal(ROWS, 4));
    let mut score = normal(ROWS, 1).into_shape_with_order(ROWS).expect("one column");
    // The largest, so that its position is that of a class, and only in the first piece.
    score[2] = 5.0;
    (x, Array1::from_shape_fn(ROWS, |row| (row * 7 % 11 % 4) as u8), target, score)
}

fn session(max_batch: usize) -> Session<Measured> {
    Measured::trainer(Adam::new(1e-2)).max_batch(max_batch).seed(3).build().expect("the network compiles")
}

#[test]
fn an_evaluation_does_not_depend_on_max_batch() {
    let (x, label, target, score) = samples();
    let mut graph = lower(Measured::declared(), Mode::Infer).expect("the layers fit");
    graph.outputs.retain(|output| matches!(output.role, Role::Loss | Role::Metric(_)));
    let floats = |shape: &[usize], values: &mut dyn Iterator<Item = f32>| {
        Tensor::floats(shape, values.map(f64::from).collect::<Vec<f64>>())
    };
    let inputs = vec![
        floats(&[ROWS, 6], &mut x.iter().copied()),
        Tensor::indices(&[ROWS], label.iter().map(|&id| u32::from(id)).collect::<Vec<u32>>()),
        floats(&[ROWS, 4], &mut target.iter().copied()),
        floats(&[ROWS], &mut score.iter().copied()),
    ];
    let net = session(ROWS);
    let own = graph.slots.params.iter().map(|slot| net.param(&slot.name).expect("it has the name"));
    let params = own.map(|value| floats(value.shape(), &mut value.iter().copied())).collect();
    let expected = whole(&graph, ROWS, &Values { inputs, params, scalars: Vec::new() });
    let bound = Bound { relative: 2e-6, absolute: 2e-7 };
    for max_batch in [1, 7, 33, 50, 99, 100, 128] {
        let mut net = session(max_batch);
        // Twice: the second finds the programs and the memory of the first.
        for _ in 0..2 {
            let report =
                net.evaluate(x.view(), (label.view(), target.view(), score.view())).expect("any number of rows");
            bound.check(&format!("pieces of {max_batch}"), &numbers(&report), &expected);
        }
    }
}

#[test]
fn evaluation_in_pieces_leaves_training_as_it_was() {
    let (x, label, target, score) = samples();
    let (mut net, mut twin) = (session(ROWS / 2), session(ROWS / 2));
    let half = s![..ROWS / 2];
    let rows = s![..ROWS / 2, ..];
    let step = |net: &mut Session<Measured>| {
        let targets = (label.slice(half), target.slice(rows), score.slice(half));
        net.step(x.slice(rows), targets).expect("the batch fits").loss.to_bits()
    };
    for _ in 0..3 {
        net.evaluate(x.view(), (label.view(), target.view(), score.view())).expect("any number of rows");
        assert_eq!(step(&mut net), step(&mut twin));
    }
}

network! {
    /// More totals than a call has room for without allocating.
    pub Wide<x: [B, 2] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = mse(y, t);
    metric a = max(y) + max(t) + mean(abs(y)) + mean(abs(t)) + mean(y * t) + mean(exp(y)) + mean(exp(t)) + r2(y, t);
    metric b = mean(y > 0.1) * mean(y > 0.2) + mean(y > 0.3) * mean(t > 0.1) + mean(t > 0.2) * mean(t > 0.3) + max(y * t);
    metric c = mean(y < -0.1) + mean(y < -0.2) + mean(t < -0.1) + mean(t < -0.2) + max(y - t) + max(t - y);
}

#[test]
fn there_may_be_many_totals() {
    let (x, _, target, _) = samples();
    let (x, t) = (x.slice(s![.., ..2]).to_owned(), target.slice(s![.., ..2]).to_owned());
    let [whole, pieces] = [ROWS, 9].map(|max_batch| {
        let mut net = Wide::trainer(Adam::new(1e-2)).max_batch(max_batch).build().expect("the network compiles");
        let report = net.evaluate(x.view(), t.view()).expect("any number of rows");
        [report.loss, report.a, report.b, report.c].map(f64::from)
    });
    Bound { relative: 2e-6, absolute: 2e-7 }.check("metrics", &pieces, &whole);
}
