//! Datasets: every row once a pass, together with its target, in an order that the seed decides.

use gradloom::ndarray::{Array1, Array2, Array3};
use gradloom::{ClassWeights, Dataset, DatasetError, Element};

/// Row `n` holds `n` and `10 n`, and has target `n`.
fn numbered(rows: usize) -> (Array2<f32>, Array1<u32>) {
    let inputs =
        Array2::from_shape_fn((rows, 2), |(row, column)| if column == 0 { row as f32 } else { 10.0 * row as f32 });
    (inputs, Array1::from_shape_fn(rows, |row| row as u32))
}

fn dataset(rows: usize, seed: u64) -> Dataset<Array2<f32>, Array1<u32>> {
    let (inputs, targets) = numbered(rows);
    Dataset::new(inputs, targets).expect("rows agree").seed(seed)
}

/// The targets of a pass in order; panics if a row has lost its target or a batch its size.
fn pass(data: &mut Dataset<Array2<f32>, Array1<u32>>, size: usize) -> Vec<u32> {
    let rows = data.len();
    let mut seen = Vec::new();
    for (inputs, targets) in data.batches(size) {
        assert_eq!(inputs.nrows(), targets.len());
        assert_eq!(targets.len(), size.min(rows - seen.len()), "every batch is full but the last");
        assert!(inputs.is_standard_layout(), "batches are read in place");
        for (row, &target) in inputs.rows().into_iter().zip(&targets) {
            assert_eq!([row[0], row[1]], [target as f32, 10.0 * target as f32]);
        }
        seen.extend(targets.iter().copied());
    }
    seen
}

#[test]
fn a_pass_covers_each_row_once_with_its_target() {
    for (rows, size) in [(1, 1), (1, 5), (10, 3), (64, 64), (100, 7)] {
        let mut data = dataset(rows, 1);
        for _ in 0..3 {
            let mut seen = pass(&mut data, size);
            seen.sort_unstable();
            assert_eq!(seen, (0..rows as u32).collect::<Vec<u32>>(), "{rows} rows in batches of {size}");
        }
    }
}

#[test]
fn the_seed_decides_the_order_and_every_pass_has_its_own() {
    let passes = |seed: u64| {
        let mut data = dataset(50, seed);
        [(); 3].map(|()| pass(&mut data, 8))
    };
    let first = passes(1);
    assert_eq!(first, passes(1));
    assert_ne!(first, passes(2));
    assert_ne!(first[0], first[1]);
    assert_ne!(first[1], first[2]);
}

#[test]
fn every_row_comes_first_about_as_often() {
    let mut data = dataset(4, 9);
    let mut counts = [0; 4];
    for _ in 0..4000 {
        counts[pass(&mut data, 4)[0] as usize] += 1;
    }
    // Five standard deviations of a binomial count around 1000.
    assert!(counts.iter().all(|count| (863..=1137).contains(count)), "{counts:?}");
}

#[test]
fn a_split_shares_the_rows_out() {
    let (mut train, mut test) = dataset(10, 4).split(0.3).expect("both sides have rows");
    assert_eq!((train.len(), test.len()), (7, 3));
    let mut all = [pass(&mut train, 4), pass(&mut test, 4)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<u32>>());
    assert_eq!(dataset(10, 4).split(1.5).map(drop), Err(DatasetError::Share(1.5)));
    let error = |share: f64| dataset(10, 4).split(share).map(drop).expect_err("a side has no rows").to_string();
    assert_eq!(error(0.01), "a share of 0.01 of 10 rows leaves none for the second part");
    assert_eq!(error(0.0), "a share of 0 of 10 rows leaves none for the second part");
    assert_eq!(error(0.99), "a share of 0.99 of 10 rows leaves none for the first part");
}

#[test]
fn rows_that_disagree_are_refused() {
    let (inputs, _) = numbered(3);
    let (_, targets) = numbered(4);
    assert_eq!(Dataset::new(inputs, targets).map(drop), Err(DatasetError::Rows { inputs: 3, targets: 4 }));
    let (inputs, targets) = numbered(0);
    assert_eq!(Dataset::new(inputs, targets).map(drop), Err(DatasetError::Empty));
    let number = gradloom::ndarray::arr0(1.0f32).into_dyn();
    assert_eq!(Dataset::new(number.clone(), number).map(drop), Err(DatasetError::Empty), "without an axis");
}

#[test]
fn rows_that_lie_in_order_are_taken_over_and_others_copied() {
    let (inputs, targets) = numbered(7);
    let (places, expected, same) = ((inputs.as_ptr(), targets.as_ptr()), inputs.clone(), targets.clone());
    let data = Dataset::new(inputs, targets).expect("rows agree");
    assert_eq!((data.inputs().as_ptr(), data.targets().as_ptr()), places);
    let across = Array2::from_shape_fn((2, 7), |(column, row)| expected[[row, column]]).reversed_axes();
    let data = Dataset::new(across, same).expect("rows agree");
    assert!(data.inputs().is_standard_layout());
    assert_eq!(data.inputs(), expected);
}

#[test]
fn the_sides_of_a_split_are_whole_datasets() {
    let (first, second) = dataset(10, 4).split(0.3).expect("both sides have rows");
    for (mut side, rows) in [(first, 7), (second, 3)] {
        assert_eq!((side.len(), side.inputs().len_of(gradloom::ndarray::Axis(0))), (rows, rows));
        assert!(side.inputs().is_standard_layout() && side.targets().is_standard_layout());
        let before: std::collections::BTreeSet<u32> = side.targets().iter().copied().collect();
        let after: std::collections::BTreeSet<u32> = pass(&mut side, 2).into_iter().collect();
        assert_eq!((before.len(), &before), (rows, &after));
        assert_eq!(side.clone().len(), rows);
    }
}

#[test]
fn the_order_of_a_seed_never_changes() {
    let mut data = dataset(10, 4);
    assert_eq!(pass(&mut data, 3), [2, 3, 8, 7, 5, 1, 9, 6, 0, 4]);
    assert_eq!(pass(&mut data, 10), [2, 9, 8, 0, 4, 6, 7, 3, 5, 1]);
    let (first, second) = data.split(0.3).expect("both sides have rows");
    assert_eq!(first.targets().to_vec(), [4, 7, 5, 8, 1, 2, 9]);
    assert_eq!(second.targets().to_vec(), [0, 3, 6]);
}

/// Passes over targets of any type, and inputs of three axes whose elements tell row and place.
fn tells_rows<T: Element + PartialEq + std::fmt::Debug>(width: usize, target: fn(usize) -> T) {
    let rows = 12;
    let element = |row: usize, i: usize, j: usize| (100 * row + 10 * i + j) as f32;
    let inputs = Array3::from_shape_fn((rows, 2, 3), |(row, i, j)| element(row, i, j));
    // Neither is in the standard layout, so that both are copied.
    let mut across = Array3::zeros((rows, 3, 2)).permuted_axes([0, 2, 1]);
    across.assign(&inputs);
    let targets = Array2::from_shape_fn((width, rows), |(column, row)| target(row + column)).reversed_axes();
    let mut data = Dataset::new(across, targets).expect("rows agree").seed(3);
    assert_eq!(data.inputs(), inputs);
    for _ in 0..3 {
        let mut seen = Vec::new();
        for (x, t) in data.batches(5) {
            for (x, t) in x.outer_iter().zip(t.outer_iter()) {
                let row = x[[0, 0]] as usize / 100;
                assert!(x.indexed_iter().all(|((i, j), &x)| x == element(row, i, j)));
                assert_eq!(t.to_vec(), (0..width).map(|column| target(row + column)).collect::<Vec<T>>());
                seen.push(row);
            }
        }
        assert!(!seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (0..rows).collect::<Vec<usize>>());
    }
}

#[test]
fn rows_of_every_type_are_exchanged_whole() {
    for width in [0, 1, 4] {
        tells_rows(width, |n| n as f32 + 0.5);
        tells_rows(width, |n| n as u8);
        tells_rows(width, |n| 1000 * n as u16);
        tells_rows(width, |n| 100_000 * n as u32);
    }
}

/// How often each class occurs.
fn counts(labels: &[u8]) -> [usize; 3] {
    [0, 1, 2].map(|class| labels.iter().filter(|&&label| label == class).count())
}

/// Row `n` holds `n`; 60 rows of class 0, 30 of class 1, 10 of class 2.
fn unbalanced() -> Dataset<Array1<f32>, Array1<u8>> {
    let class = |row: usize| match row * 7 % 10 {
        0..6 => 0,
        6..9 => 1,
        _ => 2,
    };
    let labels = Array1::from_shape_fn(100, class);
    Dataset::new(Array1::from_shape_fn(100, |row| row as f32), labels).expect("rows agree").seed(5)
}

#[test]
fn a_stratified_split_has_the_share_of_every_class() {
    let labels = unbalanced().targets().to_owned();
    let (first, second) = unbalanced().split_stratified(0.2).expect("both sides have rows");
    assert_eq!(counts(&first.targets().to_vec()), [48, 24, 8]);
    assert_eq!(counts(&second.targets().to_vec()), [12, 6, 2]);
    let mut rows: Vec<usize> = Vec::new();
    for side in [&first, &second] {
        for (&row, &label) in side.inputs().iter().zip(&side.targets()) {
            assert_eq!(labels[row as usize], label, "a row keeps its target");
            rows.push(row as usize);
        }
    }
    rows.sort_unstable();
    assert_eq!(rows, (0..100).collect::<Vec<usize>>());

    // The seed alone decides, whatever was done with the data before.
    let mut used = unbalanced();
    used.batches(7).for_each(drop);
    let (_, again) = used.split_stratified(0.2).expect("both sides have rows");
    let sorted = |side: &Dataset<Array1<f32>, Array1<u8>>| {
        let mut rows: Vec<i32> = side.inputs().iter().map(|&row| row as i32).collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(sorted(&again), sorted(&second));
    let (_, other) = unbalanced().seed(6).split_stratified(0.2).expect("both sides have rows");
    assert_ne!(sorted(&other), sorted(&second));
    // By chance alone the rare class comes out otherwise.
    let (_, plain) = unbalanced().split(0.2).expect("both sides have rows");
    assert_eq!((plain.len(), second.len()), (20, 20));
    assert_ne!(counts(&plain.targets().to_vec()), [12, 6, 2]);
}

#[test]
fn classes_of_a_stratified_split_come_from_anywhere() {
    let data = Dataset::new(
        (Array1::from_shape_fn(40, |row| row as u16), Array2::<f32>::zeros((40, 2))),
        (Array2::<f32>::zeros((40, 1)), Array1::from_shape_fn(40, |row| (row % 4) as u32)),
    );
    let data = data.expect("rows agree").seed(1);
    // Pairs of a decade of the first input and an id of the second target: four kinds of ten or so.
    let (_, second) = data
        .split_stratified_by(0.5, |(number, _), (_, id), row| (number[row] / 20, id[row] % 2))
        .expect("both sides have rows");
    let kinds: Vec<(u16, u32)> =
        second.inputs().0.iter().zip(&second.targets().1).map(|(&number, &id)| (number / 20, id % 2)).collect();
    for kind in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        assert_eq!(kinds.iter().filter(|&&found| found == kind).count(), 5, "{kind:?}");
    }
    let error = unbalanced().split_stratified(0.001).expect_err("a side has no rows");
    assert_eq!(error.to_string(), "a share of 0.001 of 100 rows leaves none for the second part");
}

#[test]
fn rows_that_stay_keep_their_order_and_their_targets() {
    let even = |_: &Array2<f32>, targets: &Array1<u32>, row: usize| targets[row].is_multiple_of(2);
    let data = dataset(11, 3).filter(even).expect("some rows stay");
    assert_eq!(data.targets().to_vec(), [0, 2, 4, 6, 8, 10]);
    assert!(data.inputs().rows().into_iter().zip(data.targets()).all(|(row, target)| row[0] == *target as f32));
    // It is a dataset like one that was made of these rows.
    let (inputs, targets) = data.clone().into_parts();
    let (mut filtered, mut made) = (data, Dataset::new(inputs, targets).expect("rows agree").seed(3));
    assert_eq!(pass(&mut filtered, 4), pass(&mut made, 4));
    // Of one that has been shuffled the present order counts, and each row is asked about once, one after the other.
    let order = filtered.targets().to_vec();
    let mut asked = Vec::new();
    let count = |_: &Array2<f32>, targets: &Array1<u32>, row: usize| {
        asked.push(targets[row]);
        asked.len() > 2
    };
    let rest = filtered.filter(count).expect("some rows stay");
    assert_eq!((&asked, &rest.targets().to_vec()[..]), (&order, &order[2..]));
    let none = dataset(3, 1).filter(|_, _, _| false).expect_err("no row stays");
    assert_eq!(none, DatasetError::Empty);
}

#[test]
fn weights_of_classes_are_in_inverse_proportion_to_their_counts() {
    let labels = unbalanced().targets().to_owned();
    let weights = ClassWeights::balanced(labels.view(), 3).expect("every class has rows");
    // 100 / (3 * 60), 100 / (3 * 30), 100 / (3 * 10)
    assert_eq!(weights.weights(), [5.0 / 9.0, 10.0 / 9.0, 10.0 / 3.0]);
    assert_eq!(ClassWeights::balanced(Array1::from_vec(vec![0u16, 1, 1, 1]).view(), 2).map(|w| w.to_string()), {
        Ok("[2, 0.6666667]".to_string())
    });
    let of_rows = weights.of_rows(labels.view()).expect("every class has a weight");
    assert!((of_rows.mean().expect("there are rows") - 1.0).abs() < 1e-6);
    assert_eq!((labels[8], of_rows[8]), (1, weights.weights()[1]));

    let error = |labels: Vec<u32>, classes| ClassWeights::balanced(Array1::from_vec(labels).view(), classes).map(drop);
    assert_eq!(error(vec![], 2), Err(DatasetError::Empty));
    assert_eq!(error(vec![0, 2, 2], 3), Err(DatasetError::Missing { class: 1, classes: 3 }));
    assert_eq!(error(vec![0, 1], usize::MAX), Err(DatasetError::Missing { class: 2, classes: usize::MAX }));
    let wrong = error(vec![0, 1, 3], 3).expect_err("there are three classes");
    assert_eq!(wrong.to_string(), "class id 3 in row 2, but there are 3 classes (0 to 2)");
    let squares = Array2::from_shape_vec((2, 2), vec![0u8, 1, 2, 3]).expect("as many");
    assert_eq!(weights.of_rows(squares.view()).expect_err("3 is none").to_string(), {
        "class id 3 in row 1, but there are 3 classes (0 to 2)"
    });
}

#[test]
fn every_row_validates_once_and_trains_with_all_other_parts() {
    let inputs = Array2::from_shape_fn((23, 2), |(row, column)| (10 * row + column) as f32);
    let labels = Array1::from_shape_fn(23, |row| u8::from(row % 4 == 0));
    let data = || Dataset::new(inputs.clone(), labels.clone()).expect("as many of both").seed(5);
    for stratified in [false, true] {
        let folds =
            if stratified { data().folds_stratified(4) } else { data().folds(4) }.expect("there are enough rows");
        let again =
            if stratified { data().folds_stratified(4) } else { data().folds(4) }.expect("there are enough rows");
        assert_eq!(folds.len(), 4);
        let numbers = |data: &Dataset<Array2<f32>, Array1<u8>>| -> Vec<usize> {
            let (x, labels) = (data.inputs(), data.targets());
            let mut rows: Vec<usize> = x.column(0).iter().map(|&x| x as usize / 10).collect();
            assert!(rows.iter().zip(&labels).all(|(row, &label)| label == u8::from(row % 4 == 0)), "targets go along");
            rows.sort_unstable();
            rows
        };
        let mut validated = Vec::new();
        for (pair, again) in folds.zip(again) {
            let ((training, validation), (_, same)) = (pair.expect("there is memory"), again.expect("there is memory"));
            let own = numbers(&validation);
            assert_eq!(own, numbers(&same), "the seed decides");
            assert!(own.len() == 5 || own.len() == 6, "{own:?}");
            let mut all = [own.clone(), numbers(&training)].concat();
            all.sort_unstable();
            assert_eq!(all, (0..23).collect::<Vec<usize>>());
            if stratified {
                let rare = own.iter().filter(|row| *row % 4 == 0).count();
                assert!(rare == 1 || rare == 2, "6 of 23 rows are of the rare class, {rare} of them here");
            }
            validated.extend(own);
        }
        assert_ne!(validated, (0..23).collect::<Vec<usize>>(), "they are shuffled");
        validated.sort_unstable();
        assert_eq!(validated, (0..23).collect::<Vec<usize>>());
    }
    let refused = |k| data().folds(k).expect_err("it is no number of parts").to_string();
    assert_eq!(refused(1), "1 parts of 23 rows: a cross-validation has 2 parts or more, each of at least one row");
    assert!(refused(24).starts_with("24 parts") && data().folds(23).is_ok());
}
