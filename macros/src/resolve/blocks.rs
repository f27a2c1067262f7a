//! How much each block stands for, before any is written out.
//!
//! In: the blocks as they are written. Out: for each whether it can be written out, and a mistake for those that contain
//! themselves, stand for too many stages or nest too deeply. Blocks are looked at from the innermost out, once each, so that
//! blocks that double, or chains of them, take no longer than they take to write.

use std::collections::HashMap;

use gradloom_runtime::elaborate::{MOST_NESTED, MOST_STAGES};
use proc_macro2::Ident;

use crate::ast::{Block, Body, Stage, StageKind, text};
use crate::diagnostics::Errors;

/// A block in the body of another.
struct Use<'a> {
    name: &'a Ident,
    block: usize,
    /// How many bodies it stands in.
    depth: usize,
}

/// What a block is made of.
#[derive(Default)]
struct Parts<'a> {
    stages: usize,
    depth: usize,
    uses: Vec<Use<'a>>,
}

/// What a block stands for, with all that is in it.
#[derive(Clone, Copy, Default)]
struct Extent {
    stages: usize,
    depth: usize,
}

/// For every block, whether it can be written out.
pub fn sound(blocks: &[Block], by_name: &HashMap<String, usize>, errors: &mut Errors) -> Vec<bool> {
    let parts: Vec<Parts<'_>> = blocks
        .iter()
        .map(|block| {
            let mut parts = Parts::default();
            body(&block.body, 1, by_name, &mut parts);
            parts
        })
        .collect();
    let mut sound = vec![true; blocks.len()];
    let mut extents = vec![Extent::default(); blocks.len()];
    // Of every block, the circle that it is in.
    let mut found_in = vec![usize::MAX; blocks.len()];
    for (number, circle) in circles(&parts).into_iter().enumerate() {
        circle.iter().for_each(|&block| found_in[block] = number);
        let is_inside = |used: &Use<'_>| found_in[used.block] == number;
        if circle.iter().any(|&block| parts[block].uses.iter().any(is_inside)) {
            for &block in &circle {
                sound[block] = false;
                let closing = parts[block].uses.iter().filter(|used| is_inside(used));
                closing.for_each(|used| errors.recursive_block(used.name));
            }
            continue;
        }
        let block = circle[0];
        // The mistake is reported, and one is enough.
        if parts[block].uses.iter().any(|used| !sound[used.block]) {
            sound[block] = false;
            continue;
        }
        match extent(&parts[block], &extents) {
            Ok(extent) => extents[block] = extent,
            Err(Excess::Stages(name)) => {
                sound[block] = false;
                errors.block_too_large(name, &text(&blocks[block].name));
            }
            Err(Excess::Depth(name)) => {
                sound[block] = false;
                errors.block_too_deep(name, &text(&blocks[block].name));
            }
        }
    }
    sound
}

/// What there is too much of, from this use on.
enum Excess<'a> {
    Stages(&'a Ident),
    Depth(&'a Ident),
}

fn extent<'a>(parts: &Parts<'a>, extents: &[Extent]) -> Result<Extent, Excess<'a>> {
    let mut whole = Extent { stages: parts.stages, depth: parts.depth };
    for used in &parts.uses {
        let inside = extents[used.block];
        whole.stages = whole.stages.saturating_add(inside.stages);
        whole.depth = whole.depth.max(used.depth + inside.depth);
        if whole.stages > MOST_STAGES {
            return Err(Excess::Stages(used.name));
        }
        if whole.depth > MOST_NESTED {
            return Err(Excess::Depth(used.name));
        }
    }
    Ok(whole)
}

fn body<'a>(written: &'a Body, depth: usize, by_name: &HashMap<String, usize>, parts: &mut Parts<'a>) {
    written.stages.iter().for_each(|written| stage(written, depth, by_name, parts));
    parts.depth = parts.depth.max(depth);
}

fn stage<'a>(written: &'a Stage, depth: usize, by_name: &HashMap<String, usize>, parts: &mut Parts<'a>) {
    parts.stages += 1;
    match &written.kind {
        StageKind::Call(name, _) => {
            let block = by_name.get(&text(name));
            parts.uses.extend(block.map(|&block| Use { name, block, depth }));
        }
        StageKind::Residual(inner, skip) => {
            body(inner, depth + 1, by_name, parts);
            skip.iter().for_each(|skip| body(skip, depth + 1, by_name, parts));
        }
        StageKind::Repeat(_, inner) | StageKind::Body(inner) => body(inner, depth + 1, by_name, parts),
        StageKind::Concat(bodies) => bodies.iter().for_each(|inner| body(inner, depth + 1, by_name, parts)),
        StageKind::Scan(scan) => {
            parts.depth = parts.depth.max(depth + 1);
            scan.stages().for_each(|written| stage(written, depth + 1, by_name, parts));
        }
        StageKind::Elsewhere(..) | StageKind::Lambda(_) | StageKind::Broken => {}
    }
}

/// The blocks in groups, each with those that contain one another, what is used before what uses it (Tarjan 1972, with a
/// stack of its own).
fn circles(parts: &[Parts<'_>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let mut found = Vec::new();
    let (mut number, mut low) = (vec![UNSEEN; parts.len()], vec![UNSEEN; parts.len()]);
    let mut waiting = Vec::new();
    let mut is_waiting = vec![false; parts.len()];
    let mut n_seen = 0;
    for root in 0..parts.len() {
        // A block, and how many of its uses were followed.
        let mut open: Vec<(usize, usize)> = if number[root] == UNSEEN { vec![(root, 0)] } else { Vec::new() };
        while let Some(&mut (block, ref mut followed)) = open.last_mut() {
            if *followed == 0 && number[block] == UNSEEN {
                (number[block], low[block]) = (n_seen, n_seen);
                n_seen += 1;
                waiting.push(block);
                is_waiting[block] = true;
            }
            if let Some(used) = parts[block].uses.get(*followed) {
                *followed += 1;
                if number[used.block] == UNSEEN {
                    open.push((used.block, 0));
                } else if is_waiting[used.block] {
                    low[block] = low[block].min(number[used.block]);
                }
                continue;
            }
            open.pop();
            if let Some(&(user, _)) = open.last() {
                low[user] = low[user].min(low[block]);
            }
            if low[block] == number[block] {
                let first = waiting.iter().rposition(|&other| other == block).expect("it waits since it was seen");
                let circle = waiting.split_off(first);
                circle.iter().for_each(|&block| is_waiting[block] = false);
                found.push(circle);
            }
        }
    }
    found
}
