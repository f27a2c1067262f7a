//! Branches of `if`: what is taken, and that nothing else has any influence.
//!
//! A reduction in a branch is one of the whole value, its gradient reaches all of it, and a branch that is not taken
//! contributes exactly nothing to a gradient, whatever it reduces and however steep it is.

use gradloom::ndarray::{Array1, Array2, Array3, ArrayD, ArrayView2, ArrayView3, arr0, array};
use gradloom::{Network, Session, Sgd, Stage, Trainer, network};
use insta::assert_snapshot;

/// Three numbers a row to two, with weights and inputs that make some of `y` positive and some negative.
struct Line {
    x: Array2<f64>,
    weight: Array2<f64>,
    bias: Array1<f64>,
}

impl Line {
    fn new() -> Line {
        let rounded = |x: f64| f64::from(x as f32);
        Line {
            x: Array2::from_shape_fn((8, 3), |(i, j)| rounded(((3 * i + j) as f64 * 0.7).sin() * 1.5)),
            weight: Array2::from_shape_fn((3, 2), |(i, j)| rounded(((2 * i + j) as f64 + 0.5).cos())),
            bias: array![0.1, -0.2].mapv(rounded),
        }
    }

    /// Loss and gradient of `dense1.weight` against a loss written by hand, in f64, and its central differences.
    fn agrees<N>(&self, number: Option<(&str, f32)>, loss: impl Fn(&Array2<f64>) -> f64)
    where
        N: for<'a> Network<Inputs<'a> = ArrayView2<'a, f32>, Targets<'a> = ()>,
    {
        let mut net: Session<N> = Trainer::new(Sgd::new(0.1)).max_batch(8).build().unwrap();
        net.set_param("dense1.weight", self.weight.mapv(|x| x as f32).view()).unwrap();
        net.set_param("dense1.bias", self.bias.mapv(|x| x as f32).view()).unwrap();
        if let Some((name, value)) = number {
            net.set_param(name, arr0(value).view()).unwrap();
        }
        let found = net.gradients(self.x.mapv(|x| x as f32).view(), ()).unwrap();
        let at = |weight: &Array2<f64>| loss(&(self.x.dot(weight) + &self.bias));
        let want = at(&self.weight);
        assert!((f64::from(found.loss) - want).abs() < 1e-5 * (1.0 + want.abs()), "loss {} for {want}", found.loss);
        let gradient = found.get("dense1.weight").unwrap();
        for (i, j) in (0..3).flat_map(|i| (0..2).map(move |j| (i, j))) {
            let moved = |by: f64| {
                let mut weight = self.weight.clone();
                weight[[i, j]] += by;
                at(&weight)
            };
            let want = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            let found = f64::from(gradient[[i, j]]);
            assert!((found - want).abs() < 1e-5 * (1.0 + want.abs()), "gradient {i},{j}: {found} for {want}");
        }
    }
}

/// The mean over all elements of `then` where `p` holds, else of `other`.
fn mean_of(p: &Array2<bool>, then: &Array2<f64>, other: &Array2<f64>) -> f64 {
    let picked = p.indexed_iter().map(|(at, &p)| if p { then[at] } else { other[at] });
    picked.sum::<f64>() / p.len() as f64
}

fn softmax(y: &Array2<f64>) -> Array2<f64> {
    let mut p = y.mapv(f64::exp);
    for mut row in p.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    p
}

network! {
    Mean<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > 0.0 { y * mean(y) } else { -y });
    Softmax<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > 0.0 { softmax(y) } else { 0.1 * y });
    LogSoftmax<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > 0.0 { log_softmax(y) } else { 0.1 * y });
    Squares<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > 0.0 { y + 0.1 * l2(y) } else { y });
    Number<x: [B, 3] -> y: [B, 2]> { Dense(2), |x, a = 0.5| a * x }
    loss = mean(if y > 0.0 { sum(lambda1.a) * y } else { y });
    Loss<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > 0.0 { y * mse(y, y * y) } else { max(y) - y });
    Nested<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > 0.0 { if y > 0.7 { y * sum(y) } else { mean(y) * y * y } } else if y < -0.5 { softmax(y) } else { y });
}

#[test]
fn a_reduction_in_a_branch_is_one_of_the_whole_value() {
    let line = Line::new();
    let positive = |y: &Array2<f64>| y.mapv(|y| y > 0.0);
    line.agrees::<Mean>(None, |y| mean_of(&positive(y), &(y * y.mean().unwrap()), &-y));
    line.agrees::<Softmax>(None, |y| mean_of(&positive(y), &softmax(y), &(y * 0.1)));
    line.agrees::<LogSoftmax>(None, |y| mean_of(&positive(y), &softmax(y).mapv(f64::ln), &(y * 0.1)));
    line.agrees::<Squares>(None, |y| mean_of(&positive(y), &(y + 0.1 * y.mapv(|y| y * y).sum()), y));
    line.agrees::<Number>(Some(("lambda1.a", 0.75)), |h| mean_of(&positive(h), &(h * 0.75 * 0.75), &(h * 0.75)));
    line.agrees::<Loss>(None, |y| {
        let square = y.mapv(|y| (y - y * y).powi(2)).mean().unwrap();
        let top = y.fold(f64::NEG_INFINITY, |top, &y| top.max(y));
        mean_of(&positive(y), &(y * square), &(top - y))
    });
    line.agrees::<Nested>(None, |y| {
        let (sum, mean, share) = (y.sum(), y.mean().unwrap(), softmax(y));
        let each = y.indexed_iter().map(|(at, &y)| match y {
            y if y > 0.7 => y * sum,
            y if y > 0.0 => mean * y * y,
            y if y < -0.5 => share[at],
            y => y,
        });
        each.sum::<f64>() / y.len() as f64
    });
}

network! {
    act shares = |x| if x > 0.0 { softmax(x) } else { 0.1 * x };
    act roots = |x, a = 1.0| if x > 0.0 { a * sqrt(x) } else { x };
    Shares<x: [B, 3] -> y: [B, 2]> { Dense(2), shares }
    loss = mean(y * y);
    Within<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss = mean(if y > -0.5 { shares(2.0 * y) * mean(y) } else { roots(-y, a = 0.5) });
}

#[test]
fn a_function_of_ones_own_may_take_the_shares_of_a_row_in_a_branch() {
    let line = Line::new();
    let shares = |y: &Array2<f64>| {
        let p = softmax(y);
        Array2::from_shape_fn(y.raw_dim(), |at| if y[at] > 0.0 { p[at] } else { 0.1 * y[at] })
    };
    line.agrees::<Shares>(None, |h| shares(h).mapv(|y| y * y).mean().unwrap());
    line.agrees::<Within>(None, |y| {
        let root = |x: f64| if x > 0.0 { 0.5 * x.sqrt() } else { x };
        let then = shares(&(y * 2.0)) * y.mean().unwrap();
        mean_of(&y.mapv(|y| y > -0.5), &then, &y.mapv(|y| root(-y)))
    });
}

network! {
    Rows<x: [B, 2] -> y: [B, 2]> { |x, a = 3.0| a * x }
    loss(t: [B]) = mean(if t > 0.5 { mean(y * lambda1.a) } else { 0.0 });
    RowNorm<x: [B, 2] -> y: [B, 2]> { |x, a = 3.0| a * x }
    loss(t: [B]) = sum(if t > 0.5 { t * sqrt(l2(y)) } else { sqrt(sum(y)) * 0.0 + t });
}

#[test]
fn a_condition_of_one_decision_per_row_may_stand_before_a_reduction() {
    let mut net = Rows::trainer(Sgd::new(0.1)).build().unwrap();
    let (x, t) = (array![[1.0f32, 2.0], [3.0, 4.0]], array![1.0f32, 0.0]);
    let found = net.gradients(x.view(), t.view()).unwrap();
    // Half of a a mean(x), where the mean of x is 2.5.
    assert_eq!((found.loss, found.get("lambda1.a").unwrap().sum()), (11.25, 7.5));
    let mut net = RowNorm::trainer(Sgd::new(0.1)).build().unwrap();
    let found = net.gradients(array![[3.0, 0.0], [0.0, 4.0]].view(), array![1.0, 1.0].view()).unwrap();
    // Twice the norm of (9, 12), of which a is a factor.
    let slope = found.get("lambda1.a").unwrap().sum();
    assert!((found.loss - 30.0).abs() < 1e-4 && (slope - 10.0).abs() < 1e-4, "{} {slope}", found.loss);
}

network! {
    // Of zeros, so that every root, logarithm and quotient below is infinitely steep.
    OfOther<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = mean(if y > 100.0 { y * sqrt(l2(h.weight)) } else { y + x });
    OfWeights<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = if mean(y) > 100.0 { sqrt(l2(weights)) } else { mean(y) };
    OfAnotherShape<x: [B, 2] -> y: [B, 2]> { Dense(3) as h, Dense(2) }
    loss = mean(if y > 100.0 { y / sum(h) } else { y });
    OfItself<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = mean(if y > 100.0 { sqrt(y) } else { y });
    OfRows<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = mean(if y > 100.0 { ln(0.0 * softmax(y)) } else { y });
    // The repeated mean is used where a quotient is infinite, by elements that do not take the branch.
    OfTheMean<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = mean(if x > 0.0 { mean(y) / x } else { y });
    // What the inner branch reduces is taken nowhere, though each of both conditions holds somewhere.
    OfNeither<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = mean(if x > 0.0 { if x < 0.0 { y * sqrt(l2(h.weight)) } else { y } } else { y });
    // The same value in two branches: steep where it is taken in neither, and where it is flat.
    OfBoth<x: [B, 2] -> y: [B, 2]> { Dense(2) as h }
    loss = mean(if x > 5.0 { sqrt(y) } else if x > 4.0 { rsqrt(y) } else { mean(y) });
    InAFunction<x: [B, 2] -> y: [B, 2]> { Dense(2) as h, |x| if x > 100.0 { sqrt(x) * softmax(sqrt(x)) } else { x } }
    loss = mean(y);
    OfOneNumber<x: [B, 2] -> y: [B, 2]> { Dense(2) as h, |x, a = 0.0| if x > 100.0 { x * sqrt(a) } else { x + a } }
    loss = mean(y);
}

fn at_zero<N>() -> Vec<(String, ArrayD<f32>)>
where
    N: for<'a> Network<Inputs<'a> = ArrayView2<'a, f32>, Targets<'a> = ()>,
{
    let mut net: Session<N> = Trainer::new(Sgd::new(0.1)).build().unwrap();
    let zero = net.param("h.weight").unwrap().mapv(|_| 0.0);
    net.set_param("h.weight", zero.view()).unwrap();
    let found = net.gradients(array![[1.0f32, 2.0], [3.0, 0.0]].view(), ()).unwrap();
    assert!(found.loss.is_finite());
    found.iter().map(|(name, gradient)| (name.to_string(), gradient.to_owned())).collect()
}

#[test]
fn a_branch_that_is_not_taken_contributes_nothing_however_steep_it_is() {
    let found = [
        ("other", at_zero::<OfOther>()),
        ("weights", at_zero::<OfWeights>()),
        ("shape", at_zero::<OfAnotherShape>()),
        ("itself", at_zero::<OfItself>()),
        ("rows", at_zero::<OfRows>()),
        ("mean", at_zero::<OfTheMean>()),
        ("neither", at_zero::<OfNeither>()),
        ("both", at_zero::<OfBoth>()),
        ("function", at_zero::<InAFunction>()),
        ("number", at_zero::<OfOneNumber>()),
    ];
    for (name, found) in &found {
        for (param, gradient) in found {
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}: {param} {gradient}");
        }
    }
    // Three of the four elements take mean(y) / x, whose slope by a bias is half the sum of 1 + 1/2 + 1/3, by 4; the
    // fourth takes y itself.
    let (_, bias) = found[5].1.iter().find(|(param, _)| param == "h.bias").unwrap();
    let each = (1.0 + 1.0 / 2.0 + 1.0 / 3.0) / 8.0;
    assert!((bias[[0]] - each).abs() < 1e-6 && (bias[[1]] - each - 0.25).abs() < 1e-6, "{bias}");
}

network! {
    Deep<x: [B, 2, 3] -> y: [B, 2, 3]> { |x, a = 0.5| a * x }
    loss(t: [B, 2, 3]) = mean(if t > 0.0 { softmax(y) * sum(y) } else { mean(y) * t });
}

#[test]
fn branches_of_three_axes_reduce_along_one_and_along_all() {
    let x = Array3::from_shape_fn((3, 2, 3), |(i, j, k)| ((6 * i + 3 * j + k) as f32 * 0.9).sin());
    let t = Array3::from_shape_fn((3, 2, 3), |(i, j, k)| ((6 * i + 3 * j + k) as f32 * 1.7).cos());
    let loss = |a: f64| {
        let y: Array3<f64> = x.mapv(|x| a * f64::from(x));
        let (sum, mean) = (y.sum(), y.mean().unwrap());
        let each = t.indexed_iter().map(|((i, j, k), &t)| {
            let row: f64 = (0..3).map(|k| y[[i, j, k]].exp()).sum();
            if t > 0.0 { y[[i, j, k]].exp() / row * sum } else { mean * f64::from(t) }
        });
        each.sum::<f64>() / 18.0
    };
    let mut net = Deep::trainer(Sgd::new(0.1)).build().unwrap();
    let views: (ArrayView3<'_, f32>, ArrayView3<'_, f32>) = (x.view(), t.view());
    let found = net.gradients(views.0, views.1).unwrap();
    let want = (loss(0.5 + 1e-6) - loss(0.5 - 1e-6)) / 2e-6;
    assert!((f64::from(found.loss) - loss(0.5)).abs() < 1e-6);
    assert!((f64::from(found.get("lambda1.a").unwrap().sum()) - want).abs() < 1e-5);
}

network! {
    Root<x: [B, 2] -> y: [B, 2]> { |x, a = 1.0| a * x }
    loss = mean(if y > 0.0 { sqrt(y) } else { y });
    RootOfSum<x: [B, 2] -> y: [B, 2]> { |x, a = 1.0| a * x }
    loss = mean(if y > 0.0 { sqrt(sum(y)) } else { y });
}

#[test]
fn what_a_steep_branch_reads_passes_a_gate() {
    assert_snapshot!(Root::ir(Stage::Forward), @r"
    %0 = input x : f32[B,2]
    %1 = param lambda1.a : f32[]                                     # lambda1
    %2 = broadcast %1 : f32[B,2]                                     # lambda1
    %3 = mul %2, %0 : f32[B,2]                                       # lambda1
    %4 = gt %3, 0 : bool[B,2]                                        # loss
    %5 = detach %3 : f32[B,2]                                        # loss
    %6 = select %4, %3, %5 : f32[B,2]                                # loss
    %7 = sqrt %6 : f32[B,2]                                          # loss
    %8 = select %4, %7, %3 : f32[B,2]                                # loss
    %9 = sum %8 over 0,1 : f32[]                                     # loss
    %10 = count 2*B : f32[]                                          # loss
    %11 = div %9, %10 : f32[]                                        # loss
    output y = %3
    loss = %11
    ");
    assert_snapshot!(RootOfSum::ir(Stage::Forward), @r"
    %0 = input x : f32[B,2]
    %1 = param lambda1.a : f32[]                                     # lambda1
    %2 = broadcast %1 : f32[B,2]                                     # lambda1
    %3 = mul %2, %0 : f32[B,2]                                       # lambda1
    %4 = gt %3, 0 : bool[B,2]                                        # loss
    %5 = sum %3 over 0,1 : f32[]                                     # loss
    %6 = select %4, 1, 0 : f32[B,2]                                  # loss
    %7 = max %6 over 1 : f32[B]                                      # loss
    %8 = max %7 over 0 : f32[]                                       # loss
    %9 = gt %8, 0 : bool[]                                           # loss
    %10 = detach %5 : f32[]                                          # loss
    %11 = select %9, %5, %10 : f32[]                                 # loss
    %12 = sqrt %11 : f32[]                                           # loss
    %13 = broadcast %12 : f32[B,2]                                   # loss
    %14 = select %4, %13, %3 : f32[B,2]                              # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count 2*B : f32[]                                          # loss
    %17 = div %15, %16 : f32[]                                       # loss
    output y = %3
    loss = %17
    ");
}
