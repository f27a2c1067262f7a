//! Truth values: `!`, `&&` and `||`, with the precedence that they have in Rust, against Rust's own.

use gradloom::{Network, Session, Sgd, Stage, network};
use insta::assert_snapshot;
use ndarray::{Array2, array};

network! {
    act inside = |x, a = 2.0| if !(x < 0.0 - a) && x < a || x == 5.0 { x } else { 0.0 };
    Logic<x: [B, 2] -> y: [B, 2]> { |z, a = 1.0| if z > 10.0 || !(z <= 10.0) { z } else { a * z } as scaled }
    loss(t: [B, 2], k: [u8; B]) = mean(square(if y > 0.0 && t > 0.0 { y } else { t }));
    metric not = mean(!(y > t));
    metric not_not = mean(!!(y > t));
    metric and = mean(y > 0.0 && t > 0.0);
    metric or = sum(y > 0.0 || t > 0.0);
    metric tighter_and = mean(y > 0.0 || t > 0.0 && y > t);
    metric parentheses = mean((y > 0.0 || t > 0.0) && y > t);
    metric from_the_left = mean(y > 0.0 && t > 0.0 && y > t);
    metric between = mean(0.0 <= y && y < 2.0);
    metric of_truths = mean((y > 0.0) == (t > 0.0) && !(y == t));
    metric single = mean(mean(y) > 0.0 && y > 0.0);
    metric single_last = mean(y > 0.0 || !(mean(y) > 0.0));
    metric classes = mean(k == 1 || k != 0 && argmax(y) == 1);
    metric minus = mean(!(-y > 0.0) && -y + 1.0 < t * 2.0);
    metric inside = mean(inside(y, a = 1.5));
}

/// Numbers of all signs, and none.
const VALUES: [f32; 5] = [-3.0, 0.0, 1.0, 5.0, f32::NAN];

/// Every pair of them, each of two rows; the values of a row, what they are compared with, and a class.
fn rows() -> (Vec<[f32; 2]>, Vec<[f32; 2]>, Vec<u8>) {
    let pairs: Vec<(f32, f32)> = VALUES.iter().flat_map(|&y| VALUES.map(|t| (y, t))).collect();
    let y = pairs.iter().map(|&(y, _)| [y, 1.0 - y]).collect();
    let t = pairs.iter().map(|&(_, t)| [t, 0.5]).collect();
    (y, t, (0..pairs.len()).map(|row| (row % 3) as u8).collect())
}

#[test]
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what is not a number is where it makes a difference")]
fn logic_is_that_of_rust() {
    let (y, t, k) = rows();
    // What is not a number has no mean.
    let finite: Vec<usize> = (0..y.len()).filter(|&row| y[row][0].is_finite()).collect();
    for rows in [(0..y.len()).collect::<Vec<usize>>(), finite] {
        let elements: Vec<(f32, f32, u8, bool)> = rows
            .iter()
            .flat_map(|&row| [0, 1].map(|at| (y[row][at], t[row][at], k[row], y[row][1] > y[row][0])))
            .collect();
        let mean = elements.iter().map(|(y, ..)| y).sum::<f32>() / elements.len() as f32;
        let count =
            |holds: &dyn Fn(f32, f32) -> bool| elements.iter().filter(|(y, t, ..)| holds(*y, *t)).count() as f32;
        let share = |holds: &dyn Fn(f32, f32) -> bool| count(holds) / elements.len() as f32;
        let classes = elements.iter().filter(|(_, _, k, second)| *k == 1 || *k != 0 && *second).count();
        let inside = |y: f32| if !(y < -1.5) && y < 1.5 || y == 5.0 { y } else { 0.0 };

        let array = |of: &[[f32; 2]]| Array2::from_shape_fn((rows.len(), 2), |(row, at)| of[rows[row]][at]);
        let k: ndarray::Array1<u8> = rows.iter().map(|&row| k[row]).collect();
        let mut net = Logic::trainer(Sgd::new(0.1)).max_batch(7).build().expect("it builds");
        let found = net.evaluate(array(&y).view(), (array(&t).view(), k.view())).expect("it runs");
        assert_eq!(found.not, share(&|y, t| !(y > t)));
        assert_eq!(found.not_not, share(&|y, t| y > t));
        assert_eq!(found.and, share(&|y, t| y > 0.0 && t > 0.0));
        assert_eq!(found.or, count(&|y, t| y > 0.0 || t > 0.0));
        assert_eq!(found.tighter_and, share(&|y, t| y > 0.0 || t > 0.0 && y > t));
        assert_eq!(found.parentheses, share(&|y, t| (y > 0.0 || t > 0.0) && y > t));
        assert_eq!(found.from_the_left, share(&|y, t| y > 0.0 && t > 0.0 && y > t));
        assert_eq!(found.between, share(&|y, _| (0.0..2.0).contains(&y)));
        assert_eq!(found.of_truths, share(&|y, t| (y > 0.0) == (t > 0.0) && y != t));
        assert_eq!(found.single, share(&|y, _| mean > 0.0 && y > 0.0));
        assert_eq!(found.single_last, share(&|y, _| y > 0.0 || !(mean > 0.0)));
        assert_eq!(found.classes, classes as f32 / elements.len() as f32);
        assert_eq!(found.minus, share(&|y, t| !(-y > 0.0) && -y + 1.0 < t * 2.0));
        assert_eq!(found.inside, elements.iter().map(|(y, ..)| inside(*y)).sum::<f32>() / elements.len() as f32);
    }
}

#[test]
fn a_gradient_goes_through_the_branch_that_logic_takes() {
    let mut net: Session<Logic> = Logic::trainer(Sgd::new(0.1)).build().expect("it builds");
    let (x, t) = (array![[3.0f32, -1.0], [20.0, 2.0]], array![[1.0f32, 1.0], [-1.0, 1.0]]);
    let k = array![0u8, 1];
    let gradients = net.gradients(x.view(), (t.view(), k.view())).expect("it runs");
    // Where y and t are above 0 the loss is y^2 / 4, and y is x times the only parameter, 1; but 20 is passed on as it is.
    let found = gradients.get("scaled.a").expect("it is there").sum();
    assert_eq!(found, 2.0 * 3.0 * 3.0 / 4.0 + 2.0 * 2.0 * 2.0 / 4.0);
}

#[test]
fn logic_is_printed_as_it_is_written() {
    let text = Logic::ir(Stage::Static);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| line.contains(['!', '&', '|'])).collect();
    assert_snapshot!(lines.join("\n"), @"
    act inside = |x, a = 2| if !(x < 0 - a) && x < a || x == 5 { x } else { 0 }
    scaled  |z, a = 1| if z > 10 || !(z <= 10) { z } else { a * z }  f32[B,2]  1 parameter
    loss(t: f32[B,2], k: u8[B]) = mean(square(if y > 0 && t > 0 { y } else { t }))
    metric not = mean(!(y > t))
    metric not_not = mean(!!(y > t))
    metric and = mean(y > 0 && t > 0)
    metric or = sum(y > 0 || t > 0)
    metric tighter_and = mean(y > 0 || t > 0 && y > t)
    metric parentheses = mean((y > 0 || t > 0) && y > t)
    metric from_the_left = mean(y > 0 && t > 0 && y > t)
    metric between = mean(0 <= y && y < 2)
    metric of_truths = mean((y > 0) == (t > 0) && !(y == t))
    metric single = mean(mean(y) > 0 && y > 0)
    metric single_last = mean(y > 0 || !(mean(y) > 0))
    metric classes = mean(k == 1 || k != 0 && argmax(y) == 1)
    metric minus = mean(!(-y > 0) && -y + 1 < t * 2)
    ");
    assert_eq!(Logic::declared().metrics.len(), 14);
}
