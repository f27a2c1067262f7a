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

/// A loop over products of a row of `[2, 3, B, 4]` in a loop over `[2, B, 4]`; it multiplies its state by what is made of both elements.
fn of_two_loops(b: &mut Builder, made: fn(&mut Builder, [NodeId; 2]) -> NodeId) -> NodeId {
    let dims = [Dim::Fixed(2), Dim::Fixed(3), Dim::B, Dim::Fixed(4)];
    let words = input(b, "words", TensorType::f32(Shape(dims.to_vec())));
    let sentences = input(b, "sentences", TensorType::f32(Shape([&dims[..1], &dims[2..]].concat())));
    let (initial, weight) = (x(b, "h", 4), parameter(b, "weight", &[4, 4]));
    let outer = b.carry(initial, 2, false);
    let (words, sentence) = (b.element(outer, words), b.element(outer, sentences));
    let words = b.product(words, weight, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
    let inner = b.carry_inside(Some(outer), outer, 3, false);
    let word = b.element(inner, words);
    let made = made(b, [sentence, word]);
    let next = b.mul(inner, made);
    let states = b.history(inner, next);
    let next = b.mean(states, &[0]);
    b.history(outer, next)
}

#[test]
fn of_elements_of_two_loops_that_of_the_inner_one_leaves_it() {
    let left = |before_and_after: String| {
        let (_, after) = before_and_after.split_once("=>").expect("there is a graph after the rule");
        after.lines().skip_while(|line| !line.contains("element")).collect::<Vec<&str>>().join("\n")
    };
    assert_snapshot!(left(rewritten("hoist-map", |b| of_two_loops(b, |b, [sentence, word]| b.add(sentence, word)))), @"
    %5 = element %4, %0 : f32[3,B,4]
    %6 = element %4, %1 : f32[B,4]
    %7 = dot %5, %3 over 2:0 : f32[3,B,4]
    %8 = carry %4, %4 for 3 steps : f32[B,4]
    %9 = broadcast %6 to 1,2 : f32[3,B,4]
    %10 = add %9, %7 : f32[3,B,4]
    %11 = element %8, %10 : f32[B,4]
    %12 = mul %8, %11 : f32[B,4]
    %13 = history %8, %12 : f32[4,B,4]
    %14 = sum %13 over 0 : f32[B,4]
    %15 = div %14, 4 : f32[B,4]
    %16 = history %4, %15 : f32[3,B,4]
    output y = %16
    ");
    assert_snapshot!(left(rewritten("hoist-dot", |b| {
        of_two_loops(b, |b, [sentence, word]| {
            let alike = b.product(sentence, word, DotAxes { batch: vec![(0, 0)], contracted: vec![(1, 1)] });
            let shape = Shape(vec![Dim::B, Dim::Fixed(4)]);
            b.broadcast(alike, &shape, &[0])
        })
    })), @"
    %5 = element %4, %1 : f32[B,4]
    %6 = dot %0, %3 over 3:0 : f32[2,3,B,4]
    %7 = element %4, %6 : f32[3,B,4]
    %8 = carry %4, %4 for 3 steps : f32[B,4]
    %9 = dot %5, %7 batch 0:1, over 1:2 : f32[B,3]
    %10 = transpose %9 by 1,0 : f32[3,B]
    %11 = element %8, %10 : f32[B]
    %12 = broadcast %11 to 0 : f32[B,4]
    %13 = mul %8, %12 : f32[B,4]
    %14 = history %8, %13 : f32[4,B,4]
    %15 = sum %14 over 0 : f32[B,4]
    %16 = div %15, 4 : f32[B,4]
    %17 = history %4, %16 : f32[3,B,4]
    output y = %17
    ");
}
