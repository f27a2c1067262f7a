//! From drafts to kernels: every operand becomes a value, a number or a read, and every view an access. Here the graph ends.

mod buffers;
mod writes;

use std::collections::HashMap;

use super::blocks::{block, is_flat};
use super::collapse::collapse;
use super::domain::{ReductionAxes, coordinates, elsewhere, read_access, reduction_axes};
use super::legalize::again::AGAIN;
use super::runs::{axes, base, forward, in_runs, summed};
use super::stages::{Step, staged};
use super::triangles::{Triangles, end_alone};
use super::view::{Source, follow, own_coordinates, reshaped, strides};
use super::wholes::Inside;
use super::{Draft, Loops, Store};
use crate::flops;
use crate::ir::print::Names;
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{
    Access, Affine, Arg, AxisSet, BufferId, Class, Dot, DotOrder, Fused, Gather, Instruction, Kernel, Number, Operands,
    Origin, Read, SumOrder, What, Winograd, WinogradForm, WinogradUse, runs,
};
use crate::reason::RematerializeReason;
use crate::types::{Dim, Shape};
use buffers::Buffers;

/// Makes kernels of drafts. The error is what cannot be read where it lies in something larger.
pub(super) fn finish(
    g: &Graph,
    (mut drafts, check): (Vec<Draft>, Option<usize>),
    (statistics, loops): (&[NodeId], &Loops),
    (inside, winograd): (HashMap<NodeId, Inside>, WinogradUse),
) -> Result<Fused, Vec<NodeId>> {
    // What lies in something larger is read there.
    let elsewhere = |store: &Store| store.is_whole() && inside.contains_key(&store.node);
    drafts.iter_mut().for_each(|draft| draft.stores.retain(|store| !elsewhere(store)));
    let buffers = Buffers::new(g, &drafts, inside);
    let triangles = Triangles::of(g);
    let kernels = drafts.into_iter().map(|draft| {
        let steps = draft.run.map_or(1, |number| loops.all[number].steps);
        let outer_steps = draft.run.map_or(1, |number| loops.outer_steps(number));
        let head = draft.run.map(|number| loops.all[number].carry);
        let made = Maker::new(g, (&buffers, &triangles), (draft, head), winograd).kernel();
        let mut kernel = Kernel { steps, outer_steps, ..made };
        if kernel.scattered_product().is_some() {
            kernel.writes[0].copied = false;
        }
        kernel
    });
    let kernels = kernels.collect();
    let refused = buffers.refused.take();
    if !refused.is_empty() {
        return Err(refused);
    }
    let results = g.outputs.iter().filter(|output| !matches!(output.role, Role::Update(_))).map(|output| {
        let node = g.behind_reshapes(output.node);
        (output.role.clone(), buffers.of(g, node).expect("a result is in memory"), g[output.node].ty.shape.clone())
    });
    let statistics = statistics.iter().filter_map(|&id| buffers.of(g, id));
    let mut fused = Fused {
        slots: g.slots.clone(),
        kernels,
        groups: Vec::new(),
        apart: Vec::new(),
        loops: Vec::new(),
        check,
        statistics: statistics.collect(),
        results: results.collect(),
        unfused: None,
        names: Names::new(g),
        buffers: buffers.all,
    };
    loops.close(g, &mut fused);
    end_alone(&mut fused);
    Ok(fused)
}

/// A kernel while it is being made of its draft.
struct Maker<'a> {
    g: &'a Graph,
    buffers: &'a Buffers,
    /// Which parts of products are left out.
    triangles: &'a Triangles,
    draft: Draft,
    /// The head of the innermost loop that it is in.
    head: Option<NodeId>,
    /// The extents, split wherever any value of the kernel needs it.
    axes: Vec<Dim>,
    /// How many of them are rows.
    rows: usize,
    /// For every node that is computed here, the stage and index of each of its instructions.
    known: HashMap<NodeId, Vec<(usize, usize)>>,
    reads: Vec<Read>,
    indices: Vec<Affine>,
    /// Rows of a block, if the product cuts no squares of windows.
    windows: Option<usize>,
    /// Whether products of windows may have the form of Winograd.
    winograd: WinogradUse,
}

impl<'a> Maker<'a> {
    fn new(
        g: &'a Graph,
        (buffers, triangles): (&'a Buffers, &'a Triangles),
        (mut draft, head): (Draft, Option<NodeId>),
        winograd: WinogradUse,
    ) -> Maker<'a> {
        draft.nodes.sort();
        draft.stores.sort_by_key(|store| (store.param, store.node));
        let (axes, rows) = draft.bounds.axes(draft.domain);
        Maker {
            g,
            buffers,
            triangles,
            draft,
            head,
            axes,
            rows,
            known: HashMap::new(),
            reads: Vec::new(),
            indices: Vec::new(),
            windows: None,
            winograd,
        }
    }

    fn kernel(mut self) -> Kernel {
        let steps = staged(self.g, &self.draft);
        for (index, step) in steps.iter().enumerate() {
            self.known.entry(step.node).or_default().push((step.stage, index));
        }
        let dot = self.draft.product.map(|product| self.dot(product));
        self.windows = dot
            .as_ref()
            .and_then(|dot| dot.winograd.as_ref())
            .filter(|it| it.form == WinogradForm::Windows)
            .map(Winograd::block);
        let body = steps.iter().map(|step| self.instruction(step)).collect();
        let stores = std::mem::take(&mut self.draft.stores);
        let writes = stores.iter().map(|store| self.write(store)).collect();
        let Maker { g, triangles, draft, axes, rows, reads, indices, .. } = self;
        let mut kernel = Kernel {
            axes,
            rows,
            flat: false,
            block: 1,
            triangle: None,
            dot,
            body,
            reads,
            indices,
            writes,
            steps: 1,
            outer_steps: 1,
            split: draft.split,
        };
        // A reduction within rows leaves the rows ahead of the first of its axes.
        let within =
            kernel.body.iter().filter_map(|each| each.reduction()).filter(|(_, over)| is_inside(*over, &kernel));
        if let Some(first) = within.filter_map(|(_, over)| over.iter().next()).min() {
            kernel.rows = first;
        }
        collapse(&mut kernel);
        triangles.leave_out(g, &mut kernel);
        kernel.flat = is_flat(&kernel);
        kernel.block = block(&kernel);
        kernel
    }

    fn origin(&self, node: NodeId) -> Origin {
        let crate::ir::Node { op, ty, origin, .. } = self.g[node].clone();
        Origin { node, op, ty, flops: flops::of_node(self.g, node), layer: origin.label() }
    }

    /// The axes along which a value of this class varies.
    fn axes_of(&self, class: Class) -> AxisSet {
        let (rows, all) = (self.rows, self.axes.len());
        match class {
            Class::Element => AxisSet::range(0..all),
            Class::Row => AxisSet::range(0..rows),
            Class::Column => AxisSet::range(rows..all),
            Class::Single | Class::Other => AxisSet::NONE,
        }
    }

    /// The offset of each element of a value of this class, stored in row-major order.
    fn place_of(&self, class: Class) -> Affine {
        self.place_along(self.axes_of(class))
    }

    /// The offset of each element of a value that varies along these axes, stored in row-major order.
    fn place_along(&self, axes: AxisSet) -> Affine {
        let mut place = Affine::constant(0, self.axes.len());
        let mut step = 1;
        for axis in (0..self.axes.len()).rev() {
            if axes.contains(axis) {
                place.steps[axis] = step;
                step *= self.axes[axis].factor() as i64;
            }
        }
        place
    }

    /// For each point of the kernel, the coordinates of the element of a tensor of this shape that is computed there.
    fn coordinates(&self, shape: &Shape) -> Vec<Affine> {
        self.coordinates_if_fine(shape).expect("the axes of a kernel are as fine as those of what it computes")
    }

    /// The same of what is not computed there; `None` if its axes are finer than those of the kernel.
    fn coordinates_if_fine(&self, shape: &Shape) -> Option<Vec<Affine>> {
        coordinates((self.draft.domain, &self.axes, self.rows), shape)
    }

    /// A product: of matrices, whose places are given along the axes of the kernel, or in runs, along those of its result.
    fn dot(&self, product: NodeId) -> Dot {
        let shape = &self.g[product].ty.shape;
        if in_runs(self.g, product) {
            // The loops were found for operands that lie by themselves.
            let bases = [0, 1].map(|side| base(self.g, product, side));
            let inside = bases.into_iter().filter(|base| self.buffers.inside.contains_key(base));
            self.buffers.refused.borrow_mut().extend(inside);
            let mut dot = self.dot_along(product, &shape.0, own_coordinates(shape));
            let loops = runs(Operands::of(&dot), &dot.axes, &dot.over, 0..dot.axes.len() - 1);
            let terms: Vec<Dim> = loops.terms.iter().map(|(dim, _)| *dim).collect();
            let by_column = axes(self.g, product).1.is_some();
            let bounded = !dot.bounds.is_empty() || !dot.b_bounds.is_empty();
            if by_column || terms.len() > 1 || loops.rows.len() > 1 || bounded {
                let flops = &mut dot.origin.flops;
                flops.each = loops.operations(flops.each, &dot.axes);
                flops.once = loops.operations(flops.once, &dot.axes);
                // What is made ahead of all rows would be made at every step.
                let winograd = Winograd::of(&dot, self.winograd).filter(|_| self.draft.run.is_none());
                let order = winograd.as_ref().map_or_else(|| DotOrder::of_runs(&terms), DotOrder::of_winograd);
                return Dot { in_runs: true, order, winograd, ..dot };
            }
        }
        let mut dot = self.dot_along(product, &self.axes, self.coordinates(shape));
        if dot.over.len() != 1 {
            // Both operands are read in one run of terms.
            let (first, inner) = (self.axes.len(), dot.inner());
            let last = (0..dot.over.len()).rfind(|&axis| dot.over[axis] != Dim::Fixed(1));
            for at in [&mut dot.a_at, &mut dot.b_at] {
                let step = last.map_or(0, |axis| at.steps[first + axis]);
                at.steps.truncate(first);
                at.steps.push(step);
            }
            dot.over = vec![inner];
        }
        Dot { order: self.order_of_terms(product, &dot), coordinates: [Vec::new(), Vec::new()], ..dot }
    }

    /// The order of a product's terms, which are one after the other in both operands.
    fn order_of_terms(&self, product: NodeId, dot: &Dot) -> DotOrder {
        let (Op::Dot(axes), &[inner]) = (&self.g[product].op, &dot.over[..]) else {
            unreachable!("it is one product or several, of matrices")
        };
        let (row, term) = (dot.axes.len().wrapping_sub(2), dot.axes.len());
        let in_columns = dot.a_at.steps.get(row) == Some(&1) && dot.a_at.steps[term] != 1;
        match (inner, dot.axes.get(row)) {
            (Dim::Fixed(terms), Some(&Dim::Fixed(columns))) if in_columns && !axes.batch.is_empty() => {
                DotOrder::of_columns(terms, columns)
            }
            (Dim::Batch(_), _) => {
                let [rows, columns] =
                    [row, row.wrapping_add(1)].map(|axis| dot.axes.get(axis).map_or(1, |dim| dim.factor()));
                DotOrder::of_rows(rows.max(columns))
            }
            _ => DotOrder::of(inner),
        }
    }

    /// A product along these axes, given the coordinates in its result.
    fn dot_along(&self, product: NodeId, own: &[Dim], result: Vec<Affine>) -> Dot {
        let [a, b] = self.g[product].operands[..] else { unreachable!("a product has two operands") };
        let (axes, column) = axes(self.g, product);
        let over = summed(self.g, a, axes);
        let all: Vec<Dim> = own.iter().chain(&over).copied().collect();
        let side = |number: usize, operand: NodeId| {
            let rank = self.g[operand].ty.shape.rank();
            let roles = axes.of(number, rank);
            let mut coordinates = vec![Affine::constant(0, all.len()); rank];
            // In the result, the free axes of the left operand come first. Columns that both have come last.
            let columns = usize::from(column.is_some());
            let batch = axes.batch.len() - columns;
            let first = if number == 0 { batch } else { result.len() - columns - roles.free.len() };
            let free = roles.free.iter().enumerate().map(|(at, axis)| (first + at, axis));
            for (at, &axis) in roles.batch[..batch].iter().enumerate().chain(free) {
                coordinates[axis].add(&result[at], 1);
            }
            if let Some(&axis) = roles.batch.last().filter(|_| column.is_some()) {
                coordinates[axis].add(&result[result.len() - 1], 1);
            }
            let terms = roles.contracted.iter().enumerate();
            terms.for_each(|(at, &axis)| coordinates[axis] = Affine::axis(own.len() + at, all.len()));
            let base = base(self.g, product, number);
            let source = follow(self.g, operand, coordinates, &all, Some(base)).expect("it has been followed before");
            let (buffer, at, position, _) = self.buffers.place(self.g, &source, (all.len(), self.head));
            let coordinates = printed(&source);
            (buffer, at, position, source.bounds, coordinates)
        };
        let (a, mut a_at, a_position, mut bounds, a_coordinates) = side(0, a);
        let (b, mut b_at, b_position, mut b_bounds, b_coordinates) = side(1, b);
        let positions = [a_position, b_position];
        let mut coordinates = [a_coordinates, b_coordinates];
        forward(own.len(), &over, &mut a_at, &mut b_at, [&mut bounds, &mut b_bounds], &mut coordinates);
        let (order, origin) = (DotOrder { piece: 1 }, self.origin(product));
        let again = self.g[product].origin.rule == Some(AGAIN);
        let rematerialized = again.then_some(RematerializeReason::Grows);
        let (axes, in_runs, winograd, triangle) = (own.to_vec(), false, None, None);
        Dot {
            axes,
            a,
            a_at,
            bounds,
            b,
            b_at,
            b_bounds,
            positions,
            over,
            in_runs,
            winograd,
            triangle,
            rematerialized,
            order,
            coordinates,
            origin,
        }
    }

    fn instruction(&mut self, step: &Step) -> Instruction {
        let what = match reduction_axes(self.g, step.node) {
            None => What::Map,
            Some((kind, ReductionAxes::Within)) => {
                What::Reduce { kind, over: self.axes_within(step.node), order: self.order(ReductionAxes::Within) }
            }
            Some((kind, along)) => What::Reduce { kind, over: self.axes_over(along), order: self.order(along) },
        };
        let operands = self.g[step.node].operands.clone();
        let args = operands.into_iter().map(|operand| self.arg(operand, step.stage)).collect();
        let axes = self.axes_of(step.class);
        Instruction {
            what,
            args,
            axes,
            stage: step.stage,
            rematerialized: step.rematerialized,
            origin: self.origin(step.node),
        }
    }

    /// The axes that a reduction sums over.
    fn axes_over(&self, along: ReductionAxes) -> AxisSet {
        self.axes_of(match along {
            ReductionAxes::AlongRow => Class::Column,
            ReductionAxes::DownColumns => Class::Row,
            ReductionAxes::Everything => Class::Element,
            ReductionAxes::Within => unreachable!("these axes are those of its operand"),
        })
    }

    /// The order of a reduction. Its rows are those of the kernel.
    fn order(&self, along: ReductionAxes) -> SumOrder {
        let rows = self.draft.domain.rows;
        let order = match along {
            ReductionAxes::AlongRow => return SumOrder::along_row(),
            ReductionAxes::Within => return SumOrder::within_row(),
            ReductionAxes::DownColumns => SumOrder::down_columns(rows),
            ReductionAxes::Everything => SumOrder::over_everything(rows),
        };
        SumOrder { chunk: self.windows.unwrap_or(order.chunk), ..order }
    }

    /// The axes of a reduction within rows.
    fn axes_within(&self, node: NodeId) -> AxisSet {
        let coordinates = self.coordinates(&self.g[self.g[node].operands[0]].ty.shape);
        let axes = self.g[node].op.axes().expect("a reduction has axes");
        // Along an axis of one element there is nothing to add up, whichever dimension it belongs to.
        let several = |axis: &usize| self.axes[*axis] != Dim::Fixed(1);
        let all = axes.iter().flat_map(|&axis| coordinates[axis].axes().iter());
        all.filter(several).fold(AxisSet::NONE, AxisSet::with)
    }

    /// An operand of an instruction in this stage.
    fn arg(&mut self, operand: NodeId, stage: usize) -> Arg {
        let (base, class) = read_access(self.g, operand, self.draft.domain);
        match self.g[base].op {
            Op::Const(value) => return Arg::Const(Number::new(value)),
            Op::Scalar(index) => return Arg::Scalar(index),
            Op::Count(factor) => return Arg::Count(factor),
            Op::Iota(axis) => {
                let coordinates = self.coordinates(&self.g[operand].ty.shape);
                let source =
                    follow(self.g, operand, coordinates, &self.axes, None).expect("positions are seen as they are");
                let own = reshaped(&source.coordinates, &source.shape, &self.g[base].ty.shape, &self.axes);
                let index = own.expect("a vector is a row or a column")[axis].clone();
                return Arg::Index(place(&mut self.indices, index));
            }
            _ if self.draft.product == Some(base) && class != Class::Other => return Arg::Dot,
            _ => {}
        }
        if let Some(known) = self.known.get(&base).filter(|_| class != Class::Other) {
            let here = known.iter().find(|(other, _)| *other == stage).unwrap_or(&known[0]);
            return Arg::Value(here.1);
        }
        let read = match class {
            Class::Other => self.read_elsewhere(operand, base),
            _ if self.buffers.inside.contains_key(&base) => self.read_elsewhere(operand, base),
            class => {
                let buffer = self.buffers.of(self.g, base).or_else(|| self.buffers.of(self.g, operand));
                let buffer = buffer.expect("what is not computed here is in memory");
                let access = Access { at: self.place_of(class), ..Access::default() };
                Read { buffer, access, fill: Number::new(0.0), coordinates: Vec::new() }
            }
        };
        Arg::Read(place(&mut self.reads, read))
    }

    /// A read of elements in another order than that of the kernel.
    fn read_elsewhere(&mut self, operand: NodeId, base: NodeId) -> Read {
        match self.coordinates_if_fine(&self.g[operand].ty.shape) {
            Some(coordinates) => self.read_at(operand, coordinates, base),
            // What is the same in all rows or columns needs no axes of its own where it lies by itself.
            None => self.refuse(base),
        }
    }

    /// A read of what cannot be read from inside another value: the next attempt leaves it out of there.
    fn refuse(&self, base: NodeId) -> Read {
        debug_assert!(self.buffers.inside.contains_key(&base), "the axes are as fine as what is read elsewhere");
        self.buffers.refused.borrow_mut().push(base);
        let (access, fill) = (Access::default(), Number::new(0.0));
        Read { buffer: BufferId(0), access, fill, coordinates: Vec::new() }
    }

    fn read_at(&mut self, operand: NodeId, coordinates: Vec<Affine>, base: NodeId) -> Read {
        let source = follow(self.g, operand, coordinates, &self.axes, Some(base));
        if source.is_err() && self.buffers.inside.contains_key(&base) {
            return self.refuse(base);
        }
        let source = source.expect("what cannot be read where it lies has been copied");
        debug_assert_eq!(source.base, base, "what is read is what was found to be in memory");
        let (buffer, at, position, first) = self.buffers.place(self.g, &source, (self.axes.len(), self.head));
        let gather = source.index.clone().map(|(index, coordinates)| {
            let (memory, _) = elsewhere(self.g, index);
            let index = self.read_at(index, coordinates, memory);
            Gather { index: place(&mut self.reads, index), step: first, extent: source.shape.0[0].factor() }
        });
        let mut coordinates = printed(&source);
        if self.buffers.inside.contains_key(&base) {
            coordinates.iter_mut().for_each(|coordinate| coordinate.steps.resize(self.axes.len() + 1, 0));
            let own = Some(coordinates).filter(|_| source.shape == self.g[base].ty.shape);
            let seen = own.and_then(|own| self.outward(base, own));
            // Else by its place among all elements.
            let place = Affine { constant: at.constant, steps: [&at.steps[..], &[position]].concat() };
            coordinates = seen.unwrap_or_else(|| vec![place]);
        }
        let access = Access { at, bounds: source.bounds.clone(), gather, position };
        Read { buffer, access, fill: source.fill.unwrap_or(Number::new(0.0)), coordinates }
    }
}

/// The offset of an element in its buffer, as a function of this many axes.
pub(super) fn place_in(source: &Source, axes: usize) -> Affine {
    let mut place = Affine::constant(0, axes);
    source.coordinates.iter().zip(strides(&source.shape)).for_each(|(coordinate, step)| place.add(coordinate, step));
    place
}

/// Coordinates as they are printed: the position of the loop is one more axis.
fn printed(source: &Source) -> Vec<Affine> {
    let mut coordinates = source.coordinates.clone();
    for (coordinate, &position) in coordinates.iter_mut().zip(&source.positions) {
        coordinate.steps.push(position);
    }
    coordinates
}

/// Whether a reduction over these axes leaves both the first axis and the last.
fn is_inside(over: AxisSet, kernel: &Kernel) -> bool {
    !over.contains(0) && !over.contains(kernel.axes.len() - 1)
}

/// The index of an item in a list, to which it is added if it is new.
fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|other| *other == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}
