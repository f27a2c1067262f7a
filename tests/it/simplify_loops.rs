//! Rules of simplification that move what needs no state out of loops: each with a graph before and after it.

use gradloom_runtime::ir::{Builder, DotAxes, NodeId};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::handmade::{input, parameter};
use crate::simplify::{rewritten, x};

/// `[3, B, n]`, as the elements of a loop.
fn sequence(b: &mut Builder, columns: usize) -> NodeId {
    input(b, "x", TensorType::f32(Shape(vec![Dim::Fixed(3), Dim::B, Dim::Fixed(columns)])))
}

#[test]
fn what_is_the_same_at_every_step_is_no_element() {
    assert_snapshot!(rewritten("element-of-repeated", |b| {
        let (initial, bias) = (x(b, "x", 2), parameter(b, "bias", &[2]));
        let repeated = b.broadcast(bias, &Shape(vec![Dim::Fixed(3), Dim::B, Dim::Fixed(2)]), &[2]);
        let carry = b.carry(initial, 3, false);
        let element = b.element(carry, repeated);
        let next = b.mul(carry, element);
        b.history(carry, next)
    }), @"
    %0 = input x : f32[B,2]
    %1 = param bias : f32[2]
    %2 = broadcast %1 to 2 : f32[3,B,2]
    %3 = carry %0 for 3 steps : f32[B,2]
    %4 = element %3, %2 : f32[B,2]
    %5 = mul %3, %4 : f32[B,2]
    %6 = history %3, %5 : f32[4,B,2]
    output y = %6
    =>
    %0 = input x : f32[B,2]
    %1 = param bias : f32[2]
    %2 = carry %0 for 3 steps : f32[B,2]
    %3 = broadcast %1 to 1 : f32[B,2]
    %4 = mul %2, %3 : f32[B,2]
    %5 = history %2, %4 : f32[4,B,2]
    output y = %5
    ");
}

#[test]
fn sequences_and_states_are_not_collected_once_more() {
    assert_snapshot!(rewritten("collect-of-known", |b| {
        let (initial, sequence) = (x(b, "h", 2), sequence(b, 2));
        let carry = b.carry(initial, 3, true);
        let element = b.element(carry, sequence);
        let next = b.mul(carry, element);
        let history = b.history(carry, next);
        let states = b.collect(history, carry);
        b.mul(states, sequence)
    }), @"
    %0 = input h : f32[B,2]
    %1 = input x : f32[3,B,2]
    %2 = carry %0 for 3 steps from the last : f32[B,2]
    %3 = element %2, %1 : f32[B,2]
    %4 = mul %2, %3 : f32[B,2]
    %5 = history %2, %4 : f32[4,B,2]
    %6 = collect %5, %2 : f32[3,B,2]
    %7 = mul %6, %1 : f32[3,B,2]
    output y = %7
    =>
    %0 = input h : f32[B,2]
    %1 = input x : f32[3,B,2]
    %2 = carry %0 for 3 steps from the last : f32[B,2]
    %3 = element %2, %1 : f32[B,2]
    %4 = mul %2, %3 : f32[B,2]
    %5 = history %2, %4 : f32[4,B,2]
    %6 = slice %5 axis 0, 3 from 1 : f32[3,B,2]
    %7 = mul %6, %1 : f32[3,B,2]
    output y = %7
    ");
}

#[test]
fn a_product_that_needs_no_state_is_computed_for_all_steps_at_once() {
    assert_snapshot!(rewritten("hoist-dot", |b| {
        let (initial, sequence, weight) = (x(b, "h", 4), sequence(b, 2), parameter(b, "weight", &[2, 4]));
        let carry = b.carry(initial, 3, false);
        let element = b.element(carry, sequence);
        let product = b.dot(element, weight, false, false);
        let next = b.mul(carry, product);
        b.history(carry, next)
    }), @"
    %0 = input h : f32[B,4]
    %1 = input x : f32[3,B,2]
    %2 = param weight : f32[2,4]
    %3 = carry %0 for 3 steps : f32[B,4]
    %4 = element %3, %1 : f32[B,2]
    %5 = dot %4, %2 : f32[B,4]
    %6 = mul %3, %5 : f32[B,4]
    %7 = history %3, %6 : f32[4,B,4]
    output y = %7
    =>
    %0 = input h : f32[B,4]
    %1 = input x : f32[3,B,2]
    %2 = param weight : f32[2,4]
    %3 = carry %0 for 3 steps : f32[B,4]
    %4 = dot %1, %2 over 2:0 : f32[3,B,4]
    %5 = element %3, %4 : f32[B,4]
    %6 = mul %3, %5 : f32[B,4]
    %7 = history %3, %6 : f32[4,B,4]
    output y = %7
    ");
}

#[test]
fn what_is_added_to_such_a_product_is_part_of_its_kernel() {
    assert_snapshot!(rewritten("hoist-map", |b| {
        let (initial, sequence, weight) = (x(b, "h", 4), sequence(b, 2), parameter(b, "weight", &[2, 4]));
        let product = b.product(sequence, weight, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
        let carry = b.carry(initial, 3, false);
        let element = b.element(carry, product);
        let shifted = b.offset(element, 1.0);
        let next = b.mul(carry, shifted);
        b.history(carry, next)
    }), @"
    %0 = input h : f32[B,4]
    %1 = input x : f32[3,B,2]
    %2 = param weight : f32[2,4]
    %3 = dot %1, %2 over 2:0 : f32[3,B,4]
    %4 = carry %0 for 3 steps : f32[B,4]
    %5 = element %4, %3 : f32[B,4]
    %6 = add %5, 1 : f32[B,4]
    %7 = mul %4, %6 : f32[B,4]
    %8 = history %4, %7 : f32[4,B,4]
    output y = %8
    =>
    %0 = input h : f32[B,4]
    %1 = input x : f32[3,B,2]
    %2 = param weight : f32[2,4]
    %3 = dot %1, %2 over 2:0 : f32[3,B,4]
    %4 = carry %0 for 3 steps : f32[B,4]
    %5 = add %3, 1 : f32[3,B,4]
    %6 = element %4, %5 : f32[B,4]
    %7 = mul %4, %6 : f32[B,4]
    %8 = history %4, %7 : f32[4,B,4]
    output y = %8
    ");
}
