//! Declarations drawn from all of the language compute what they say: output, loss, metrics, running statistics, gradients.

use crate::declarations::{Family, edges_left_out, slips, sweep, words};
use crate::vocabulary;

const PLAIN: Family = Family { branches: false, acts: None, criterion: false, flows: false };
const ACTS: Family = Family { acts: Some(false), ..PLAIN };
const CRITERIA: Family = Family { criterion: true, ..PLAIN };
const BRANCHES: Family = Family { branches: true, ..PLAIN };
const BRANCHES_IN_ACTS: Family = Family { acts: Some(true), ..PLAIN };
const FLOWS: Family = Family { flows: true, ..PLAIN };
const FLOWS_AND_BRANCHES: Family = Family { flows: true, ..BRANCHES_IN_ACTS };

#[test]
fn declarations_without_branches_compute_what_they_say() {
    sweep(PLAIN, 48);
}

#[test]
fn functions_of_ones_own_compute_what_they_say() {
    sweep(ACTS, 48);
}

#[test]
fn losses_and_metrics_compute_what_they_say_at_every_rank() {
    sweep(CRITERIA, 48);
}

#[test]
fn branches_compute_what_they_say() {
    sweep(BRANCHES, 48);
}

#[test]
fn branches_in_functions_of_ones_own_compute_what_they_say() {
    sweep(BRANCHES_IN_ACTS, 48);
}

#[test]
fn flows_compute_what_they_say() {
    sweep(FLOWS, 64);
}

#[test]
fn branches_between_flows_compute_what_they_say() {
    sweep(FLOWS_AND_BRANCHES, 48);
}

#[test]
fn no_word_of_the_language_is_left_out() {
    let drawn: Vec<&str> = [BRANCHES, BRANCHES_IN_ACTS, FLOWS].iter().flat_map(|family| words(*family, 300)).collect();
    let missing: Vec<&str> = vocabulary::all().into_iter().filter(|word| !drawn.contains(word)).collect();
    assert!(missing.is_empty(), "never drawn: {missing:?}");
}

#[test]
fn no_name_number_or_count_at_an_edge_is_left_out() {
    let missing = edges_left_out(&[PLAIN, ACTS, CRITERIA, BRANCHES, BRANCHES_IN_ACTS, FLOWS, FLOWS_AND_BRANCHES], 1500);
    assert!(missing.is_empty(), "never drawn: {missing:?}");
}

#[test]
fn every_slip_is_refused_in_the_right_words() {
    slips(BRANCHES_IN_ACTS, 30);
}
