//! That bounds on rounding are neither too wide nor too narrow.

use gradloom_runtime::interp::{Data, Tensor, Values};
use gradloom_runtime::ir::{Builder, Graph, Role};
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::compiled::{Compiled, Reference};
use crate::handmade;

/// Numbers that are alike: where roundings add up.
fn alike(number: f32, cols: usize, rows: usize) -> (Graph, Values) {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)])));
    let sum = b.sum(x, &[0, 1]);
    handmade::output(&mut b, Role::Metric(0), sum);
    let input = Tensor::floats(&[rows, cols], vec![f64::from(number); rows * cols]);
    (b.finish(), Values { inputs: vec![input], ..Values::default() })
}

#[test]
fn sums_of_numbers_that_are_alike_come_near_their_bound_and_not_over_it() {
    for (cols, rows) in [(21, 231), (2, 8192), (40, 300)] {
        let shares = (0..40).map(|at| {
            let (graph, values) = alike(1.0 + at as f32 * 0.0247, cols, rows);
            let results = Compiled::new(&graph, rows).run(rows, &values);
            Reference::new(&graph, rows, &values).compare(&results).unwrap_or_else(|message| panic!("{message}"))
        });
        let most = shares.fold(0.0, f64::max);
        assert!(most > 0.1, "{rows}x{cols}: {most} of what is allowed");
    }
}

#[test]
fn one_term_too_few_is_out_of_bounds() {
    for (cols, rows) in [(1, 64), (21, 231), (40, 300)] {
        let (graph, values) = alike(1.1, cols, rows);
        let (_, mut fewer) = alike(1.1, cols, rows);
        let Data::Float(floats) = &mut fewer.inputs[0].data else { panic!("the input is of floats") };
        floats[rows * cols / 2] = 0.0;
        let results = Compiled::new(&graph, rows).run(rows, &fewer);
        assert!(Reference::new(&graph, rows, &values).compare(&results).is_err(), "{rows}x{cols}");
    }
}
