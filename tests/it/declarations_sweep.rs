//! Declarations drawn from all of the language compute what they say: output, loss, metrics, running statistics, gradients.

use crate::declarations::{Family, sweep};

const PLAIN: Family = Family { branches: false, acts: None, criterion: false };

#[test]
fn declarations_without_branches_compute_what_they_say() {
    sweep(PLAIN, 40);
}

#[test]
fn functions_of_ones_own_compute_what_they_say() {
    sweep(Family { acts: Some(false), ..PLAIN }, 40);
}

#[test]
fn losses_and_metrics_compute_what_they_say_at_every_rank() {
    sweep(Family { criterion: true, ..PLAIN }, 40);
}

#[test]
fn branches_compute_what_they_say() {
    sweep(Family { branches: true, ..PLAIN }, 40);
}

#[test]
fn branches_in_functions_of_ones_own_compute_what_they_say() {
    sweep(Family { acts: Some(true), ..PLAIN }, 40);
}
