//! Dropout: masks that another implementation draws too, that statistics cannot tell from coins, and that nothing decides but
//! seed, layer, forward pass and position.

use gradloom::ndarray::{Array2, Axis};
use gradloom::{Adam, Network, Session, Sgd, Stage, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role, ScalarSlot, ops};
use gradloom_runtime::layers::{self, Arg, Mode};
use gradloom_runtime::lower::lower;
use gradloom_runtime::types::{Dim, Shape};
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::compiled::Compiled;
use crate::golden_file::GoldenFile;
use crate::handmade;
use crate::train::state;

network! {
    /// Between two products.
    Dropped<x: [B, 2] -> y: [B, 1]> { Dense(3), relu, Dropout(0.25), Dense(1) }
    loss(target: [B, 1]) = mse(y, target);

    /// The gradient of its weight is the sum of the rows that are left; a step at rate 0 changes nothing.
    Masked<x: [B, 64] -> y: [B, 1]> { Dropout(p = 0.5), Dense(1, bias = false) }
    loss = sum(y);

    /// Four layers that drop, two of them copies.
    Several<x: [B, 256] -> y: [B, 256]> {
        Dropout(0.5) as a, Dropout(0.5) as b, repeat(2) { Dropout(0.5) as c, |x| x + 1.0 }, Dense(256),
    }
    loss = mean(y);

    /// Nothing to draw.
    Undropped<x: [B, 2] -> y: [B, 2]> { Dropout(0), Dense(2) }
    loss = sum(y);

    /// Losses that overflow where the target does.
    Fragile<x: [B, 5] -> y: [B, 1]> { Dropout(0.5), Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

// ---- The stages -----------------------------------------------------------------------------------------------------

#[test]
fn dropped_static() {
    assert_snapshot!(Dropped::ir(Stage::Static), @"
    network Dropped<x: f32[B,2] -> y: f32[B,1]>
      dense1    Dense(3)       f32[B,3]  9 parameters
      relu1     relu           f32[B,3]
      dropout1  Dropout(0.25)  f32[B,3]
      dense2    Dense(1)       f32[B,1]  4 parameters
      loss(target: f32[B,1]) = mse(y, target)
      13 parameters
    ");
}

#[test]
fn dropped_forward() {
    assert_snapshot!(Dropped::ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,3]                              # dense1
    %2 = dot %0, %1 : f32[B,3]                                       # dense1
    %3 = param dense1.bias : f32[3]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,3]                                # dense1
    %5 = add %2, %4 : f32[B,3]                                       # dense1
    %6 = max 0, %5 : f32[B,3]                                        # relu1
    %7 = scalar dropout1.key0 : u32[]                                # dropout1
    %8 = scalar dropout1.key1 : u32[]                                # dropout1
    %9 = iota axis 0 : u32[B,3]                                      # dropout1
    %10 = iota axis 1 : u32[B,3]                                     # dropout1
    %11 = broadcast %7 : u32[B,3]                                    # dropout1
    %12 = broadcast %8 : u32[B,3]                                    # dropout1
    %13 = uniform %11, %12, %9, %10 : f32[B,3]                       # dropout1
    %14 = ge %13, 0.25 : bool[B,3]                                   # dropout1
    %15 = mul %6, 1.3333334 : f32[B,3]                               # dropout1
    %16 = select %14, %15, 0 : f32[B,3]                              # dropout1
    %17 = param dense2.weight : f32[3,1]                             # dense2
    %18 = dot %16, %17 : f32[B,1]                                    # dense2
    %19 = param dense2.bias : f32[1]                                 # dense2
    %20 = broadcast %19 to 1 : f32[B,1]                              # dense2
    %21 = add %18, %20 : f32[B,1]                                    # dense2
    %22 = target target : f32[B,1]
    %23 = sub %21, %22 : f32[B,1]                                    # loss
    %24 = mul %23, %23 : f32[B,1]                                    # loss
    %25 = sum %24 over 0,1 : f32[]                                   # loss
    %26 = count B : f32[]                                            # loss
    %27 = div %25, %26 : f32[]                                       # loss
    output y = %21
    loss = %27
    ");
}

#[test]
fn dropped_backward() {
    assert_snapshot!(Dropped::ir(Stage::Backward));
}

#[test]
fn dropped_simplified() {
    assert_snapshot!(Dropped::trainer(Sgd::new(0.1)).ir(Stage::Simplified));
}

#[test]
fn the_backward_pass_draws_the_mask_again_rather_than_keep_it() {
    assert_snapshot!(Dropped::trainer(Sgd::new(0.1)).ir(Stage::Fused), @"
    kernel 0: B x 3, 30*B FLOP, 32*B + 36 bytes
      %2 = dot x, dense1.weight : f32[B,3]                           # dense1
      %5 = add %2, dense1.bias.col : f32[B,3]                        # dense1
      %6 = max 0, %5 : f32[B,3]                                      # relu1
      %13 = uniform dropout1.key0, dropout1.key1, row, column : f32[B,3] # dropout1
      %14 = ge %13, 0.25 : bool[B,3]                                 # dropout1
      %15 = mul %6, 1.3333334 : f32[B,3]                             # dropout1
      %16 = select %14, %15, 0 : f32[B,3]                            # dropout1
      materialize %5                                                 # for kernel 3: to rematerialize it takes 1 operation, 1 read, 1 write
      materialize %16                                                # for kernels 1, 4: a matmul reads memory
    kernel 1: B x 1, 13*B + 1 FLOP, 20*B + 24 bytes                  # a matmul
      %18 = dot %16, dense2.weight : f32[B,1]                        # dense2
      %21 = add %18, dense2.bias.col : f32[B,1]                      # dense2
      %23 = sub %21, target : f32[B,1]                               # loss
      %24 = mul %23, %23 : f32[B,1]                                  # loss
      %25 = sum %24 over 0,1 : f32[]                                 # loss
      %28 = div 1, B : f32[]                                         # loss
      %30 = mul %28.one, %23 : f32[B,1]                              # loss
      %31 = add %30, %30 : f32[B,1]                                  # loss
      %32 = sum %31 over 0 : f32[1]                                  # dense2
      materialize %31                                                # for kernels 3, 4: a matmul reads memory
    kernel 2: 1 x 1, 1 FLOP, 8 bytes                                 # %25 is known when kernel 1 is done
      %27 = div %25, B : f32[]                                       # loss
      materialize %27                                                # the loss
    check that the loss is finite
    kernel 3: B x 3, 27*B FLOP, 28*B + 24 bytes                      # a matmul
      %33 = dot %31, dense2.weight.T : f32[B,3]                      # dense2
      %13 = uniform dropout1.key0, dropout1.key1, row, column : f32[B,3] # dropout1, rematerialized: 5 operations
      %14 = ge %13, 0.25 : bool[B,3]                                 # dropout1, rematerialized: register-only
      %35 = select %14, %33, 0 : f32[B,3]                            # dropout1
      %36 = mul %35, 1.3333334 : f32[B,3]                            # dropout1
      %37 = gt %5, 0 : bool[B,3]                                     # relu1
      %38 = select %37, %36, 0 : f32[B,3]                            # relu1
      %39 = sum %38 over 0 : f32[3]                                  # dense1
      materialize %38                                                # for kernel 5: a matmul reads memory
    kernel 4: 3 x 1, 6*B + 7 FLOP, 16*B + 24 bytes                   # a matmul
      %34 = dot %16.T, %31 : f32[3,1]                                # dense2
      %42 = neg rate : f32[]                                         # optimizer
      %48 = mul_add %42.one, %34, dense2.weight : f32[3,1]           # dense2.weight
      dense2.weight <- %48
    kernel 5: 2 x 3, 12*B + 13 FLOP, 20*B + 48 bytes                 # a matmul
      %40 = dot x.T, %38 : f32[2,3]                                  # dense1
      %42 = neg rate : f32[]                                         # optimizer, rematerialized: one number
      %44 = mul_add %42.one, %40, dense1.weight : f32[2,3]           # dense1.weight
      dense1.weight <- %44
    kernel 6: 1 x 3, 7 FLOP, 36 bytes                                # %39 is known when kernel 3 is done
      %42 = neg rate : f32[]                                         # optimizer, rematerialized: one number
      %46 = mul_add %42.one, %39, dense1.bias : f32[3]               # dense1.bias
      dense1.bias <- %46
    kernel 7: 1 x 1, 3 FLOP, 12 bytes                                # updates wait for the check of the loss
      %42 = neg rate : f32[]                                         # optimizer, rematerialized: 1 operation
      %50 = mul_add %42, %32, dense2.bias : f32[1]                   # dense2.bias
      dense2.bias <- %50
    in all: 8 kernels, 88*B + 32 FLOP, 116*B + 212 bytes
    unfused: 82*B + 29 FLOP, 416*B + 312 bytes
    ");
}

#[test]
fn dropped_plan() {
    assert_snapshot!(Dropped::trainer(Sgd::new(0.1)).max_batch(4).ir(Stage::Plan));
}

#[test]
fn dropped_clif() {
    assert_snapshot!(Dropped::trainer(Sgd::new(0.1)).max_batch(4).ir(Stage::Clif));
}

#[test]
fn dropped_asm() {
    assert_snapshot!(Dropped::trainer(Sgd::new(0.1)).max_batch(4).ir(Stage::Asm));
}

#[test]
fn in_inference_nothing_is_left_of_it() {
    assert_snapshot!(Dropped::predictor().ir(Stage::Forward), @"
    %0 = input x : f32[B,2]
    %1 = param dense1.weight : f32[2,3]                              # dense1
    %2 = dot %0, %1 : f32[B,3]                                       # dense1
    %3 = param dense1.bias : f32[3]                                  # dense1
    %4 = broadcast %3 to 1 : f32[B,3]                                # dense1
    %5 = add %2, %4 : f32[B,3]                                       # dense1
    %6 = max 0, %5 : f32[B,3]                                        # relu1
    %7 = param dense2.weight : f32[3,1]                              # dense2
    %8 = dot %6, %7 : f32[B,1]                                       # dense2
    %9 = param dense2.bias : f32[1]                                  # dense2
    %10 = broadcast %9 to 1 : f32[B,1]                               # dense2
    %11 = add %8, %10 : f32[B,1]                                     # dense2
    %12 = target target : f32[B,1]
    %13 = sub %11, %12 : f32[B,1]                                    # loss
    %14 = mul %13, %13 : f32[B,1]                                    # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count B : f32[]                                            # loss
    %17 = div %15, %16 : f32[]                                       # loss
    output y = %11
    loss = %17
    ");
    assert!(!Undropped::ir(Stage::Forward).contains("uniform"), "nothing is drawn for p = 0 in training either");
}

// ---- The values -----------------------------------------------------------------------------------------------------

/// A network of one dropout, in training.
fn dropout(p: f64, rows: Dim, others: &[usize]) -> Graph {
    let dims: Vec<Dim> = [rows].into_iter().chain(others.iter().map(|&n| Dim::Fixed(n))).collect();
    let definition =
        handmade::single_layer(&layers::DROPOUT, &[Arg::Float(p), Arg::Flag(false)], handmade::port("x", &dims));
    lower(definition, Mode::Train).expect("dropout takes any shape")
}

/// The scalars of a graph in this forward pass.
fn scalars(graph: &Graph, seed: u64, pass: u64) -> Vec<f64> {
    let scalar = |slot: &ScalarSlot| match *slot {
        ScalarSlot::Key { stream, half, .. } => f64::from(ops::key(seed, stream, pass)[half]),
        _ => panic!("the graph has an optimizer or statistics"),
    };
    graph.slots.scalars.iter().map(scalar).collect()
}

#[test]
fn masks_and_gradients_are_those_of_another_implementation() {
    for case in GoldenFile::read("dropout").cases() {
        let whole = |key| case.floats(key)[0] as u64;
        let key = ops::key(whole("seed"), whole("stream") as u32, whole("forward"));
        assert_eq!(key.map(f64::from), case.floats("key"), "{}", case.name);
        let (x, dy) = (case.get("x").clone(), case.get("dy").clone());
        let (rows, columns) = (x.shape[0], x.shape[1]);
        let mut graph = dropout(case.floats("p")[0], Dim::B, &[columns]);
        let compiled = |graph: &Graph, values: &Values| Compiled::new(graph, rows).run(rows, values);
        let values = Values { inputs: vec![x.clone(), dy.clone()], params: vec![], scalars: key.map(f64::from).into() };
        let results = compiled(&graph, &values);
        // A quotient rounded to f32 twice is off by a unit in the last place at most.
        let single = Bound { relative: 1.3e-7, absolute: 0.0 };
        single.check(&case.name, results.get(&Role::Output(0)), case.floats("y"));

        let numbers = graph.ids().find(|&id| graph[id].op == Op::Uniform).expect("it draws");
        for precision in [Precision::F32, Precision::F64] {
            let evaluation = evaluate(&graph, precision, rows, &values);
            assert_eq!(evaluation[numbers].as_floats(), case.floats("u"), "{} in {precision:?}", case.name);
            single.check(&case.name, evaluation.output(&Role::Output(0)).as_floats(), case.floats("y"));
        }
        graph = handmade::with_batch(&graph, rows);
        let param = handmade::input_as_parameter(&mut graph, 0, rows);
        let graph = differentiate(&graph, &[param]);
        let values = Values { inputs: vec![x.clone(), dy], params: vec![x], ..values };
        let evaluation = evaluate(&graph, Precision::F64, rows, &values);
        let double = Bound { relative: 1e-15, absolute: 0.0 };
        double.check(&case.name, evaluation.output(&Role::Gradient(param)).as_floats(), case.floats("dx"));
        single.check(&case.name, compiled(&graph, &values).get(&Role::Gradient(param)), case.floats("dx"));
    }
}

#[test]
fn what_is_kept_is_scaled_and_what_is_dropped_is_zero_whatever_it_was() {
    let graph = dropout(0.75, Dim::B, &[16]);
    let x = [f64::NAN, f64::INFINITY, -1.0, 3.0].repeat(64);
    let inputs = vec![Tensor::floats(&[16, 16], x.as_slice()), Tensor::floats(&[16, 16], [1.0; 256])];
    let values = Values { inputs, params: vec![], scalars: scalars(&graph, 1, 2) };
    let results = Compiled::new(&graph, 16).run(16, &values);
    let interpreted = evaluate(&graph, Precision::F32, 16, &values);
    let mut kept = 0;
    for ((&y, &wanted), x) in
        results.get(&Role::Output(0)).iter().zip(interpreted.output(&Role::Output(0)).as_floats()).zip(x)
    {
        assert!(y == wanted || y.is_nan() && wanted.is_nan(), "{y} and {wanted} of {x}");
        assert!(y == 0.0 || y == 4.0 * x || x.is_nan() && y.is_nan(), "{y} of {x}");
        kept += usize::from(y != 0.0);
    }
    assert!((40..=88).contains(&kept), "{kept} of 256 are kept, 64 on average");
}

#[test]
fn the_batch_size_decides_no_mask() {
    // Blocks of rows, a rest of one, vectors and the rest of a row; matrices, images and vectors.
    for others in [&[37][..], &[3, 5], &[2, 3, 4], &[1], &[]] {
        let graph = dropout(0.4, Dim::B, others);
        let width: usize = others.iter().product();
        let mut drawn: Vec<Vec<f64>> = Vec::new();
        for (rows, max_batch) in [(300, 300), (300, 512), (129, 300), (5, 5), (1, 7)] {
            let shape: Vec<usize> = [&[rows], others].concat();
            let ones = Tensor::floats(&shape, vec![1.0; rows * width]);
            let values = Values { inputs: vec![ones.clone(), ones], params: vec![], scalars: scalars(&graph, 4, 9) };
            let results = Compiled::new(&graph, max_batch).run(rows, &values);
            drawn.push(results.get(&Role::Output(0)).to_vec());
            let interpreted = evaluate(&graph, Precision::F32, rows, &values);
            assert_eq!(drawn[drawn.len() - 1], interpreted.output(&Role::Output(0)).as_floats());
        }
        for fewer in &drawn[1..] {
            assert_eq!(drawn[0][..fewer.len()], fewer[..], "{others:?}");
        }
    }
}

// ---- Sessions -------------------------------------------------------------------------------------------------------

/// The mask of one row, as the gradient shows it.
fn row_of_mask(net: &mut Session<Masked>, row: usize, rows: usize) -> Vec<f32> {
    let mut x = Array2::zeros((rows, 64));
    x.row_mut(row).fill(1.0);
    let gradients = net.gradients(x.view(), ()).expect("the batch fits");
    gradients.get("dense1.weight").expect("it is a parameter").iter().copied().collect()
}

fn masked(seed: u64) -> Session<Masked> {
    Masked::trainer(Sgd::new(0.0)).max_batch(200).seed(seed).build().expect("it builds")
}

/// One step at rate 0.
fn step(net: &mut Session<Masked>) {
    net.step(Array2::ones((3, 64)).view(), ()).expect("the batch fits");
}

#[test]
fn every_step_row_and_seed_has_its_own_mask_and_every_one_can_be_drawn_again() {
    let mut net = masked(5);
    let mut drawn = Vec::new();
    for pass in 0..4 {
        assert_eq!(net.forward_count(), pass);
        let row = row_of_mask(&mut net, 1, 2);
        assert!(row.iter().all(|&x| x == 0.0 || x == 2.0), "{row:?}");
        assert_eq!(row, row_of_mask(&mut net, 1, 150), "neither the batch nor a second look moves the mask");
        drawn.extend([row, row_of_mask(&mut net, 0, 2)]);
        step(&mut net);
    }
    drawn.push(row_of_mask(&mut masked(6), 1, 2));
    for (index, mask) in drawn.iter().enumerate() {
        assert!(!drawn[..index].contains(mask), "mask {index} was there before");
    }
    net.set_forward_count(1);
    assert_eq!(row_of_mask(&mut net, 1, 2), drawn[2]);
    assert_eq!(row_of_mask(&mut masked(5), 1, 2), drawn[0], "another session of the same seed");
}

#[test]
fn gradients_are_those_that_the_next_step_follows() {
    let x = Array2::from_shape_fn((7, 2), |(i, j)| (3 * i + j) as f32 / 5.0 - 1.0);
    let target = Array2::from_shape_fn((7, 1), |(i, _)| (i % 3) as f32);
    let mut net = Dropped::trainer(Sgd::new(0.5)).max_batch(8).seed(1).build().expect("it builds");
    for _ in 0..3 {
        let before = net.param("dense1.weight").expect("it exists").to_owned();
        let gradients = net.gradients(x.view(), target.view()).expect("the batch fits");
        let (loss, gradient) = (gradients.loss, gradients.get("dense1.weight").expect("it exists").to_owned());
        assert_eq!(net.step(x.view(), target.view()).expect("the batch fits").loss, loss);
        let moved = before - net.param("dense1.weight").expect("it exists");
        let wanted: Vec<f64> = gradient.iter().map(|&x| 0.5 * f64::from(x)).collect();
        let moved: Vec<f64> = moved.iter().map(|&x| f64::from(x)).collect();
        Bound { relative: 1e-4, absolute: 1e-6 }.check("the step", &moved, &wanted);
    }
}

#[test]
fn inference_drops_nothing_and_moves_no_count() {
    let mut net = masked(2);
    let (twos, mut twin) = (Array2::from_elem((3, 64), 2.0), masked(2));
    let weight: f32 = net.param("dense1.weight").expect("it exists").iter().sum();
    let y = net.predict(twos.view()).expect("the batch fits").to_owned();
    assert!(y.iter().all(|y| (y - 2.0 * weight).abs() < 1e-4), "{y} of {weight}");
    let evaluated = net.evaluate(twos.view(), ()).expect("the batch fits").loss;
    assert!((evaluated - 6.0 * weight).abs() < 1e-3);
    assert_eq!(net.forward_count(), 0);
    assert_eq!(row_of_mask(&mut net, 0, 1), row_of_mask(&mut twin, 0, 1));
}

#[test]
fn every_look_of_a_gradient_check_has_the_same_mask() {
    let x = Array2::from_shape_fn((5, 2), |(i, j)| (3 * i + j) as f32 / 5.0 - 1.2);
    let target = Array2::from_shape_fn((5, 1), |(i, _)| (i % 3) as f32);
    let report = Dropped::gradcheck(x.view(), target.view()).expect("the loss is finite");
    assert!(report.passed() && report.params.iter().all(|param| param.symbolic.worst < 1e-8), "{report}");
    let mut net = Dropped::trainer(Sgd::new(0.1)).max_batch(5).build().expect("it builds");
    net.set_forward_count(17);
    let checked = net.gradcheck(x.view(), target.view()).expect("the loss is finite");
    let loss = net.step(x.view(), target.view()).expect("the loss is finite").loss;
    assert!((checked.loss - f64::from(loss)).abs() < 1e-6 * checked.loss, "{checked} {loss}");
}

#[test]
fn a_refused_step_draws_its_mask_again() {
    let (x, target) = (Array2::<f32>::ones((4, 5)), Array2::<f32>::ones((4, 1)));
    let build = || Fragile::trainer(Adam::new(0.1)).max_batch(4).seed(3).build().expect("it builds");
    let (mut net, mut twin) = (build(), build());
    for _ in 0..3 {
        net.step(x.view(), target.mapv(|_| 1e30).view()).expect_err("the loss overflows");
        net.gradients(x.view(), target.mapv(|_| 1e30).view()).expect_err("the loss overflows");
        let losses = [&mut net, &mut twin].map(|net| net.step(x.view(), target.view()).expect("it is finite").loss);
        assert_eq!(losses[0].to_bits(), losses[1].to_bits());
    }
    assert_eq!((state(&net), net.forward_count()), (state(&twin), 3));
}

#[test]
fn a_network_trains_through_it() {
    let x = Array2::from_shape_fn((64, 2), |(i, j)| ((i * (3 + 4 * j)) % 17) as f32 / 8.0 - 1.0);
    let target = x.sum_axis(Axis(1)).insert_axis(Axis(1));
    let mut net = Dropped::trainer(Adam::new(0.03)).max_batch(64).seed(2).build().expect("it builds");
    let first = net.evaluate(x.view(), target.view()).expect("the batch fits").loss;
    for _ in 0..400 {
        net.step(x.view(), target.view()).expect("the loss is finite");
    }
    let last = net.evaluate(x.view(), target.view()).expect("the batch fits").loss;
    assert!(last < 0.3 * first, "{first} to {last}");
}

// ---- Statistics -----------------------------------------------------------------------------------------------------

const ROWS: usize = 512;
const COLUMNS: usize = 256;

/// Random numbers, row after row.
fn numbers(seed: u64, stream: u32, pass: u64) -> Vec<f64> {
    let mut b = Builder::new(Graph::default());
    let slots = [0, 1].map(|half| ScalarSlot::Key { layer: String::new(), stream, half });
    b.graph_mut().slots.scalars.extend(slots);
    let shape = Shape::fixed(&[ROWS, COLUMNS]);
    let [row, column] = [0, 1].map(|axis| b.iota(axis, &shape));
    let key: [NodeId; 2] = [0, 1].map(|half| b.scalar(half));
    let key = key.map(|half| b.spread(half, &shape));
    let u = b.uniform(key, row, column);
    let graph = b.finish();
    let values = Values { scalars: scalars(&graph, seed, pass), ..Values::default() };
    evaluate(&graph, Precision::F32, 1, &values)[u].as_floats().to_vec()
}

/// A mask with mean 0 and variance 1.
fn standard(numbers: &[f64], p: f64) -> Vec<f64> {
    let deviation = (p * (1.0 - p)).sqrt();
    numbers.iter().map(|&u| if u >= p { p / deviation } else { (p - 1.0) / deviation }).collect()
}

/// Of coins, the mean of products of independent ones is normal with a deviation of `1 / sqrt(n)`.
#[track_caller]
fn check_independent(what: &str, x: impl Iterator<Item = f64>) {
    let (mut n, mut sum) = (0.0f64, 0.0);
    x.for_each(|x| (n, sum) = (n + 1.0, sum + x));
    let z = sum / n.sqrt();
    // One of 30,000 is as far off.
    assert!(z.abs() < 4.2, "{what}: {z:.2} standard deviations");
}

#[test]
fn numbers_are_uniform_in_their_high_and_in_their_low_bits() {
    let drawn = numbers(11, 0, 3);
    assert!(drawn.iter().all(|u| (0.0..1.0).contains(u)));
    for (what, scale) in [("high", 256.0), ("middle", 65_536.0), ("low", 16_777_216.0)] {
        let mut count = [0usize; 256];
        drawn.iter().for_each(|u| count[(u * scale) as usize % 256] += 1);
        let expected = drawn.len() as f64 / 256.0;
        let chi: f64 = count.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: a mean of 255 and a deviation of 22.6.
        assert!((170.0..350.0).contains(&chi), "the {what} bits: chi-squared {chi:.1}");
    }
}

#[test]
fn masks_have_the_mean_and_the_variance_of_coins_in_all_and_in_each_row_and_column() {
    for p in [0.1, 0.5, 0.9] {
        for pass in 0..3 {
            let mask = standard(&numbers(1, 0, pass), p);
            check_independent(&format!("all, p = {p}"), mask.iter().copied());
            let rows = mask.chunks(COLUMNS).map(|row| row.iter().sum::<f64>() / (COLUMNS as f64).sqrt());
            let columns = (0..COLUMNS).map(|column| {
                let sum: f64 = mask.iter().skip(column).step_by(COLUMNS).sum();
                sum / (ROWS as f64).sqrt()
            });
            // The squares of standard normal numbers have mean 1 and variance 2.
            check_independent(&format!("rows, p = {p}"), rows.map(|z| (z * z - 1.0) / 2f64.sqrt()));
            check_independent(&format!("columns, p = {p}"), columns.map(|z| (z * z - 1.0) / 2f64.sqrt()));
        }
    }
}

#[test]
fn masks_are_independent_of_neighbors_steps_layers_and_seeds() {
    for p in [0.2, 0.5] {
        let mask = standard(&numbers(1, 0, 0), p);
        // The next in the row, in another vector, in the next rows, on both diagonals.
        for (down, across) in [(0, 1), (0, 2), (0, 4), (0, 16), (1, 0), (2, 0), (128, 0), (1, 1), (3, 5)] {
            let pairs = (0..ROWS - down).flat_map(|row| (0..COLUMNS - across).map(move |column| (row, column)));
            let products = pairs
                .map(|(row, column)| mask[row * COLUMNS + column] * mask[(row + down) * COLUMNS + column + across]);
            check_independent(&format!("{down} down, {across} across, p = {p}"), products);
        }
        let antidiagonal = (0..ROWS - 1).flat_map(|row| (1..COLUMNS).map(move |column| row * COLUMNS + column));
        check_independent("antidiagonal", antidiagonal.map(|at| mask[at] * mask[at + COLUMNS - 1]));
        let squares = (0..ROWS - 1).flat_map(|row| (0..COLUMNS - 1).map(move |column| row * COLUMNS + column));
        let corners = |at: usize| mask[at] * mask[at + 1] * mask[at + COLUMNS] * mask[at + COLUMNS + 1];
        check_independent("corners of a square", squares.map(corners));
        let others =
            [(1, 0, 1), (1, 0, 2), (1, 0, 1 << 32), (1, 1, 0), (1, 2, 0), (2, 0, 0), (0, 0, 0), (1 << 32, 0, 0)];
        for (seed, stream, pass) in others {
            let other = standard(&numbers(seed, stream, pass), p);
            let what = format!("seed {seed}, layer {stream}, pass {pass}, p = {p}");
            check_independent(&what, mask.iter().zip(&other).map(|(x, y)| x * y));
        }
    }
}

#[test]
fn layers_and_copies_made_by_repeat_have_masks_of_their_own() {
    let graph = lower(Several::declared(), Mode::Train).expect("the network has no mistakes");
    let draws = graph.ids().filter(|&id| graph[id].op == Op::Uniform);
    let draws: Vec<(NodeId, &str)> = draws.map(|id| (id, &*graph[id].origin.layer)).collect();
    assert_eq!(draws.iter().map(|(_, layer)| *layer).collect::<Vec<_>>(), ["a", "b", "repeat1.1.c", "repeat1.2.c"]);
    let inputs = vec![Tensor::floats(&[64, 256], vec![1.0; 64 * 256])];
    let params =
        graph.slots.params.iter().map(|slot| Tensor::floats(&slot.shape, vec![0.0; slot.shape.iter().product()]));
    let values = Values { inputs, params: params.collect(), scalars: scalars(&graph, 8, 8) };
    let evaluation = evaluate(&graph, Precision::F32, 64, &values);
    let masks: Vec<Vec<f64>> = draws.iter().map(|&(id, _)| standard(evaluation[id].as_floats(), 0.5)).collect();
    for (index, mask) in masks.iter().enumerate() {
        for other in &masks[..index] {
            check_independent(draws[index].1, mask.iter().zip(other).map(|(x, y)| x * y));
        }
    }
}
