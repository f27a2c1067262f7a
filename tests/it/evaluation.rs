//! Evaluation of predictions: worked by hand, against the examples of scikit-learn's documentation, and against definitions that
//! go through every pair.

use gradloom::evaluation::{ClassReport, Confusion, EvaluationError, roc_auc};
use gradloom::ndarray::{Array1, Array2, array};
use gradloom_runtime::init::Random;
use insta::assert_snapshot;

#[test]
fn a_confusion_matrix_counts_labels_against_predictions() {
    // The example of `sklearn.metrics.confusion_matrix`.
    let (labels, predictions) = (array![2u8, 0, 2, 2, 0, 1], array![0u32, 0, 2, 2, 0, 2]);
    let confusion = Confusion::new(labels.view(), predictions.view(), 3).expect("they belong together");
    assert_eq!(confusion.counts(), array![[2, 0, 0], [0, 0, 1], [1, 0, 2]]);
    assert_eq!(confusion.accuracy(), 4.0 / 6.0);
    // Labels for every step of a sequence are as good.
    let square = |ids: Vec<u8>| Array2::from_shape_vec((2, 3), ids).expect("as many");
    let (labels, predictions) = (square(labels.to_vec()), square(vec![0, 0, 2, 2, 0, 2]));
    assert_eq!(Confusion::new(labels.view(), predictions.view(), 3), Ok(confusion));
}

#[test]
fn precision_recall_and_f1_of_a_class_are_those_of_scikit_learn() {
    // The example of `sklearn.metrics.classification_report`, which prints 0.50 1.00 0.67, 0.00 0.00 0.00 and 1.00 0.67 0.80, an
    // accuracy of 0.60 and a macro average of 0.49.
    let (labels, predictions) = (array![0u8, 1, 2, 2, 2], array![0u8, 0, 2, 2, 1]);
    let confusion = Confusion::new(labels.view(), predictions.view(), 3).expect("they belong together");
    let report = |class, precision, recall, f1, support| ClassReport { class, precision, recall, f1, support };
    let wanted = [
        report(0, 0.5, 1.0, 2.0 / 3.0, 1),
        // Class 1 was predicted once, and wrongly.
        report(1, 0.0, 0.0, 0.0, 1),
        report(2, 1.0, 2.0 / 3.0, 0.8, 3),
    ];
    assert_eq!(confusion.classes(), wanted);
    assert_eq!((confusion.accuracy(), confusion.macro_f1()), (0.6, (2.0 / 3.0 + 0.8) / 3.0));
    assert_snapshot!(confusion, @"
    class  0  1  2  precision  recall     f1  support
        0  1  0  0      0.500   1.000  0.667        1
        1  1  0  0      0.000   0.000  0.000        1
        2  0  1  2      1.000   0.667  0.800        3
    accuracy 0.600
    ");
    assert_snapshot!(confusion.named(&["Gentoo", "é"]), @"
    class   Gentoo  é  2  precision  recall     f1  support
    Gentoo       1  0  0      0.500   1.000  0.667        1
         é       1  0  0      0.000   0.000  0.000        1
         2       0  1  2      1.000   0.667  0.800        3
    accuracy 0.600
    ");
    // A class that neither is nor is predicted.
    let confusion = Confusion::new(labels.view(), predictions.view(), 4).expect("they belong together");
    assert_eq!(confusion.classes()[3], report(3, 0.0, 0.0, 0.0, 0));
}

#[test]
fn the_largest_score_is_the_prediction_and_the_first_of_equals() {
    let scores = array![[0.1, 0.7, 0.2], [0.5, 0.5, 0.0], [f32::NEG_INFINITY, -1.0, -1.0], [0.0, 0.0, f32::INFINITY]];
    let confusion = Confusion::of_scores(array![1u16, 1, 2, 2].view(), scores.view()).expect("they belong together");
    assert_eq!(confusion.counts(), array![[0, 0, 0], [1, 1, 0], [0, 1, 1]]);
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let error = |labels: Vec<u8>, predictions: Vec<u8>, classes| {
        let (labels, predictions) = (Array1::from_vec(labels), Array1::from_vec(predictions));
        Confusion::new(labels.view(), predictions.view(), classes).expect_err("it is refused").to_string()
    };
    assert_snapshot!(error(vec![0, 1], vec![0], 2), @"labels [2], but predictions [1]");
    assert_snapshot!(error(vec![], vec![], 2), @"there are no predictions to judge");
    assert_snapshot!(error(vec![0, 2], vec![0, 1], 2), @"element 1 of the labels is class 2, but there are 2 classes");
    assert_snapshot!(error(vec![0, 1], vec![7, 1], 2), @"element 0 of the predictions is class 7, but there are 2 classes");
    assert_snapshot!(error(vec![0], vec![0], 0), @"element 0 of the labels is class 0, but there are 0 classes");
    assert_snapshot!(error(vec![0], vec![0], usize::MAX), @"not enough memory for a count of every pair of classes");
    let of_scores = |labels: Vec<u8>, scores: Array2<f32>| {
        Confusion::of_scores(Array1::from_vec(labels).view(), scores.view()).expect_err("it is refused").to_string()
    };
    assert_snapshot!(of_scores(vec![0], Array2::zeros((2, 2))), @"labels [1], but predictions [2, 2]");
    assert_snapshot!(of_scores(vec![0], Array2::zeros((1, 0))), @"there are no predictions to judge");
    assert_snapshot!(of_scores(vec![0, 2], Array2::zeros((2, 2))), @"element 1 of the labels is class 2, but there are 2 classes");
    assert_snapshot!(of_scores(vec![0, 0], array![[0.0, 1.0], [0.0, f32::NAN]]), @"the scores of row 1 are not all numbers");
}

fn auc(labels: &[u8], scores: &[f32]) -> Result<f64, EvaluationError> {
    roc_auc(Array1::from_vec(labels.to_vec()).view(), Array1::from_vec(scores.to_vec()).view())
}

#[test]
fn the_area_under_the_roc_curve_counts_pairs_and_ties_a_half() {
    // The example of `sklearn.metrics.roc_curve`: three of four pairs are in order.
    assert_eq!(auc(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8]), Ok(0.75));
    assert_eq!(auc(&[0, 0, 1, 1], &[1.0, 2.0, 3.0, 4.0]), Ok(1.0));
    assert_eq!(auc(&[1, 1, 0, 0], &[1.0, 2.0, 3.0, 4.0]), Ok(0.0));
    assert_eq!(auc(&[0, 1, 0, 1], &[3.0; 4]), Ok(0.5));
    // Of class 1, 0.9 is above both scores of class 0, and each 0.5 is above one and equal to the other: 5 of 6.
    assert_eq!(auc(&[0, 1, 0, 1, 1], &[0.5, 0.5, 0.2, 0.5, 0.9]), Ok(5.0 / 6.0));
    assert_eq!(auc(&[0, 1], &[0.0, -0.0]), Ok(0.5), "zeros are equal");
    assert_eq!(auc(&[1, 0, 0], &[f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY]), Ok(0.75));
}

#[test]
fn the_area_under_the_roc_curve_is_that_of_its_definition() {
    let mut random = Random::new(3, 0);
    for levels in [2, 5, 1000] {
        for _ in 0..20 {
            let labels: Vec<u8> = (0..60).map(|at| if at < 2 { at } else { random.below(2) as u8 }).collect();
            let scores: Vec<f32> = labels.iter().map(|_| random.below(levels) as f32 / 7.0 - 3.0).collect();
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (&one, _) in scores.iter().zip(&labels).filter(|(_, label)| **label == 1) {
                for (&zero, _) in scores.iter().zip(&labels).filter(|(_, label)| **label == 0) {
                    pairs += 1.0;
                    sum += if one > zero {
                        1.0
                    } else if one == zero {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
            assert_eq!(auc(&labels, &scores), Ok(sum / pairs));
        }
    }
}

#[test]
fn an_area_that_is_undefined_is_refused() {
    let error = |labels: &[u8], scores: &[f32]| auc(labels, scores).expect_err("it is refused").to_string();
    assert_snapshot!(error(&[0, 0], &[1.0, 2.0]), @"all labels are 0: telling two classes apart takes labels of both");
    assert_snapshot!(error(&[1], &[1.0]), @"all labels are 1: telling two classes apart takes labels of both");
    assert_snapshot!(error(&[], &[]), @"there are no predictions to judge");
    assert_snapshot!(error(&[0, 1], &[1.0]), @"labels [2], but predictions [1]");
    assert_snapshot!(error(&[0, 1, 2], &[1.0, 2.0, 3.0]), @"element 2 of the labels is class 2, but there are 2 classes");
    assert_snapshot!(error(&[0, 1, 1], &[1.0, f32::NAN, 3.0]), @"the scores of row 1 are not all numbers");
}
