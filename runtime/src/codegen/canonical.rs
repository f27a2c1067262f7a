//! A kernel in canonical form: all that its code depends on.
//!
//! In: a kernel, how it runs, and where everything lies. Out: the same with buffers and offsets numbered in the order of their first
//! use, and the offsets themselves in a list beside it. Code is emitted from the canonical form and sees neither kernel nor plan, so
//! kernels whose forms are equal have one code, and differ in their lists. Absent on purpose: names, reasons, and a product that is
//! called ahead of the kernel's code.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHasher};

use super::{CodegenInput, Slot};
use crate::flops::Flops;
use crate::ir::NodeId;
use crate::kernel::{BufferId, Dot, Instruction, Kernel, Mode, Origin, Read, Write};
use crate::plan::{Location, ProductRows, Tile};
use crate::reason::SplitReason;
use crate::tiling::StageTiling;
use crate::types::{Shape, TensorType};

/// A kernel of which buffers are numbers of buffers, and offsets are numbers of offsets in the list of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canonical {
    pub(super) kernel: Kernel,
    buffers: Vec<Buffer>,
    /// As in [`KernelPlan`](crate::plan::KernelPlan).
    pub(super) partials: BTreeMap<usize, (usize, usize)>,
    pub(super) lanes: BTreeMap<usize, usize>,
    pub(super) spills: BTreeMap<usize, usize>,
    pub(super) product: Option<ProductRows>,
    /// As in [`KernelTiling`](crate::tiling::KernelTiling).
    pub(super) stages: Vec<StageTiling>,
    /// How many rows take each stage together, if several do.
    pub(super) turns: Option<usize>,
    pub(super) in_loop: bool,
    pub(super) rows_of_point: usize,
}

/// What code depends on of a buffer.
#[derive(Clone, Debug, PartialEq)]
struct Buffer {
    place: Option<Location>,
    tile: Option<Tile>,
    /// Whether a kernel writes it for others, or as a result.
    is_computed: bool,
    /// Whether it is written over an operand.
    in_place: bool,
    /// Whether its elements are class ids or positions.
    is_index: bool,
    /// How many elements it has, if rows are added to it.
    len: usize,
}

/// A number that code reads from the list of its kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offset {
    /// The one of this number among those of the kernel.
    Own(usize),
    /// One that all kernels of the form have.
    Common(i64),
}

impl Canonical {
    /// The canonical form of a kernel, and its offsets in bytes.
    pub(super) fn of(program: CodegenInput<'_>, index: usize) -> (Canonical, Vec<i64>) {
        let CodegenInput { fused, plan, .. } = program;
        let (memory, tiling) = (&plan.kernels[index], &plan.tiling.kernels[index]);
        let mut numbering = Numbering::new(program, index);
        let kernel = numbering.kernel(&fused.kernels[index], tiling.is_inline());
        let product = memory.product.map(|product| match product {
            ProductRows::Scratch(at) => ProductRows::Scratch(numbering.floats(Slot::Block(at), at)),
            ProductRows::Arena(at) => ProductRows::Arena(numbering.floats(Slot::SharedBlock(at), at)),
            ProductRows::Tile(buffer) => ProductRows::Tile(numbering.buffer(buffer)),
        });
        let partials = memory.partials.iter();
        let partials = partials.map(|(&of, &(at, len))| (of, (numbering.floats(Slot::Partial(at, len), at), len)));
        let partials = partials.collect();
        let mut scratch = |places: &BTreeMap<usize, usize>| -> BTreeMap<usize, usize> {
            places.iter().map(|(&of, &at)| (of, numbering.floats(Slot::Scratch(at), at))).collect()
        };
        let (lanes, spills) = (scratch(&memory.lanes), scratch(&memory.spills));
        let Numbering { buffers, offsets, .. } = numbering;
        let canonical = Canonical {
            kernel,
            buffers,
            partials,
            lanes,
            spills,
            product,
            stages: tiling.stages.clone(),
            turns: tiling.turns.map(|turns| turns.rows),
            in_loop: fused.loop_of(index).is_some(),
            rows_of_point: fused.rows_of_point(index),
        };
        (canonical, offsets)
    }

    /// A number that forms which are equal have in common, and few others.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = FxHasher::default();
        self.kernel.axes.hash(&mut hasher);
        self.kernel.body.iter().for_each(|instruction| instruction.args.hash(&mut hasher));
        self.kernel.reads.iter().for_each(|read| read.access.hash(&mut hasher));
        self.kernel.writes.iter().for_each(|write| write.access.hash(&mut hasher));
        hasher.finish()
    }

    /// Where a buffer lies, at the position of the loop as an access moves with it.
    pub(super) fn place(&self, buffer: BufferId, position: i64) -> Slot {
        let Buffer { place, tile, .. } = self.buffers[buffer.index()];
        match tile {
            Some(tile) => Slot::Tile(tile),
            None => Slot::Location(place.expect("what is read or written has a place"), position),
        }
    }

    pub(super) fn is_tile(&self, buffer: BufferId) -> bool {
        self.buffers[buffer.index()].tile.is_some()
    }

    pub(super) fn is_computed(&self, buffer: BufferId) -> bool {
        self.buffers[buffer.index()].is_computed
    }

    pub(super) fn is_in_place(&self, buffer: BufferId) -> bool {
        self.buffers[buffer.index()].in_place
    }

    /// Whether a read finds class ids or positions.
    pub(super) fn reads_index(&self, read: usize) -> bool {
        self.buffers[self.kernel.reads[read].buffer.index()].is_index
    }

    /// How many elements there are that rows are added to.
    pub(super) fn added_to(&self, buffer: BufferId) -> usize {
        self.buffers[buffer.index()].len
    }
}

/// Numbers for what a kernel uses, in the order in which it comes.
struct Numbering<'a> {
    program: CodegenInput<'a>,
    index: usize,
    buffers: Vec<Buffer>,
    known_buffers: FxHashMap<BufferId, BufferId>,
    offsets: Vec<i64>,
    known_offsets: FxHashMap<Slot, usize>,
    /// What stands for the layer of every instruction.
    no_layer: Rc<str>,
}

impl<'a> Numbering<'a> {
    fn new(program: CodegenInput<'a>, index: usize) -> Numbering<'a> {
        let (known_buffers, known_offsets) = Default::default();
        let (buffers, offsets, no_layer) = (Vec::new(), Vec::new(), Rc::from(""));
        Numbering { program, index, buffers, known_buffers, offsets, known_offsets, no_layer }
    }

    /// The number of an offset, which is that of nothing else.
    fn bytes(&mut self, slot: Slot, bytes: usize) -> usize {
        let offsets = &mut self.offsets;
        *self.known_offsets.entry(slot).or_insert_with(|| {
            offsets.push(bytes as i64);
            offsets.len() - 1
        })
    }

    fn floats(&mut self, slot: Slot, floats: usize) -> usize {
        self.bytes(slot, 4 * floats)
    }

    fn buffer(&mut self, id: BufferId) -> BufferId {
        if let Some(&known) = self.known_buffers.get(&id) {
            return known;
        }
        let CodegenInput { fused, plan, .. } = self.program;
        let (kernel, of) = (&fused.kernels[self.index], fused.buffer(id));
        let place = plan.places[id.index()].map(|place| {
            let slot = Slot::Location(place, 0);
            match place {
                Location::Arena(at) => Location::Arena(self.floats(slot, at)),
                Location::Prepared(at) => Location::Prepared(self.floats(slot, at)),
                Location::Param(index) => Location::Param(self.floats(slot, plan.params[index])),
                Location::Input(index) => Location::Input(self.bytes(slot, size_of::<*const u8>() * index)),
            }
        });
        let tile = plan.tiles.get(&id);
        let tile = tile.map(|&tile| Tile { at: self.floats(Slot::Tile(tile), tile.at), ..tile });
        let adds = kernel.writes.iter().any(|write| write.mode == Mode::Add && write.buffer == id);
        self.buffers.push(Buffer {
            place,
            tile,
            is_computed: fused.is_computed(id),
            in_place: plan.kernels[self.index].in_place.contains_key(&id),
            is_index: of.dtype.is_index(),
            len: if adds { of.shape.len_at(1) } else { 0 },
        });
        let number = BufferId(self.buffers.len() as u32 - 1);
        self.known_buffers.insert(id, number);
        number
    }

    /// The kernel without what no code depends on. Whoever adds a field to a kernel says here whether code does.
    fn kernel(&mut self, kernel: &Kernel, is_inline: bool) -> Kernel {
        let Kernel {
            axes,
            rows,
            flat,
            block,
            triangle,
            dot,
            body,
            reads,
            indices,
            writes,
            steps,
            outer_steps,
            split: _,
        } = kernel;
        Kernel {
            axes: axes.clone(),
            rows: *rows,
            flat: *flat,
            block: *block,
            triangle: *triangle,
            dot: dot.as_ref().filter(|_| is_inline).map(|dot| self.dot(dot)),
            body: body.iter().map(|instruction| self.instruction(instruction)).collect(),
            reads: reads.iter().map(|read| self.read(read)).collect(),
            indices: indices.clone(),
            writes: writes.iter().map(|write| self.write(write)).collect(),
            steps: *steps,
            outer_steps: *outer_steps,
            split: SplitReason::Apart,
        }
    }

    fn dot(&mut self, dot: &Dot) -> Dot {
        let [a, b] = [dot.a, dot.b].map(|operand| self.buffer(operand));
        let (coordinates, origin) = (Default::default(), self.origin(&dot.origin));
        Dot { a, b, rematerialized: None, coordinates, origin, ..dot.clone() }
    }

    fn instruction(&self, instruction: &Instruction) -> Instruction {
        let Instruction { what, args, axes, stage, origin, rematerialized: _ } = instruction;
        let (what, args, origin) = (what.clone(), args.clone(), self.origin(origin));
        Instruction { what, args, axes: *axes, stage: *stage, rematerialized: None, origin }
    }

    fn origin(&self, origin: &Origin) -> Origin {
        let Origin { op, ty, node: _, flops: _, layer: _ } = origin;
        let ty = TensorType { dtype: ty.dtype, shape: Shape(Vec::new()) };
        Origin { node: NodeId(0), op: op.clone(), ty, flops: Flops::default(), layer: Rc::clone(&self.no_layer) }
    }

    fn read(&mut self, read: &Read) -> Read {
        let Read { buffer, access, fill, coordinates: _ } = read;
        Read { buffer: self.buffer(*buffer), access: access.clone(), fill: *fill, coordinates: Vec::new() }
    }

    fn write(&mut self, write: &Write) -> Write {
        let Write { value, buffer, access, mode, part, copied, beyond, coordinates: _, materialized: _, origin: _ } =
            write;
        Write {
            value: *value,
            buffer: self.buffer(*buffer),
            access: access.clone(),
            mode: *mode,
            part: *part,
            coordinates: Vec::new(),
            copied: *copied,
            beyond: *beyond,
            materialized: None,
            origin: NodeId(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};

    use super::*;
    use crate::codegen::{Target, kernels};
    use crate::fuse::fuse;
    use crate::ir::{Builder, Graph, Output, Role};
    use crate::plan::plan;
    use crate::tiling::{Isa, Machine, tile};
    use crate::types::Dim;

    /// Adds an input of so many columns.
    fn matrix(b: &mut Builder, cols: usize) -> NodeId {
        b.new_input("x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)])))
    }

    /// Whether the two kernels that compute these values have one form; and whether they have one code.
    fn alike(values: [&dyn Fn(&mut Builder) -> NodeId; 2]) -> [bool; 2] {
        let mut b = Builder::new(Graph::default());
        for (index, value) in values.into_iter().enumerate() {
            let node = value(&mut b);
            b.graph_mut().slots.outputs.push("y");
            b.graph_mut().outputs.push(Output { role: Role::Output(index), node });
        }
        let fused = fuse(&b.finish());
        let plan = plan(&fused, tile(&fused, 8, Machine::of(Isa::Avx2))).expect("they are small");
        let program = CodegenInput { fused: &fused, plan: &plan, timed: false };
        assert_eq!(fused.kernels.len(), 2, "{fused}");
        let [first, second] = [0, 1].map(|index| Canonical::of(program, index));
        assert_ne!(first.1, second.1, "they read and write in other places");
        let call_conv = CallConv::SystemV;
        let pointer_width = target_lexicon::PointerWidth::U64;
        let config = TargetFrontendConfig { default_call_conv: call_conv, pointer_width, page_size_align_log2: 12 };
        let kernels = kernels(program, Target { call_conv, config, fma: true }, |_, _| ());
        [first.0 == second.0, kernels.calls[1].0 == 0]
    }

    /// `tanh(factor x + term)` of some elements of a row.
    fn scaled(cols: usize, [factor, term]: [f64; 2], [start, step]: [usize; 2]) -> impl Fn(&mut Builder) -> NodeId {
        move |b| {
            let x = matrix(b, 48);
            let x = b.slice(x, 1, start, cols, step);
            let term = b.constant_like(term, x);
            let scaled = b.scale(x, factor);
            let moved = b.add(scaled, term);
            b.tanh(moved)
        }
    }

    /// What computes a value.
    type Computed<'a> = &'a dyn Fn(&mut Builder) -> NodeId;

    #[test]
    fn kernels_that_differ_in_places_alone_have_one_form() {
        let one = || scaled(24, [2.0, 1.0], [0, 1]);
        assert_eq!(alike([&one(), &one()]), [true; 2]);
    }

    #[test]
    fn kernels_that_differ_in_a_number_have_two_forms() {
        let one = scaled(24, [2.0, 0.0], [0, 1]);
        let others: [(&str, Computed<'_>); 6] = [
            ("constant", &scaled(24, [3.0, 0.0], [0, 1])),
            ("sign of a zero", &scaled(24, [2.0, -0.0], [0, 1])),
            ("extent", &scaled(23, [2.0, 0.0], [0, 1])),
            ("start", &scaled(24, [2.0, 0.0], [1, 1])),
            ("step", &scaled(24, [2.0, 0.0], [0, 2])),
            ("operation", &|b: &mut Builder| {
                let tanh = scaled(24, [2.0, 0.0], [0, 1])(b);
                b.exp(tanh)
            }),
        ];
        for (what, other) in others {
            assert_eq!(alike([&one, other]), [false; 2], "{what}");
        }
    }

    #[test]
    fn kernels_that_read_one_buffer_twice_are_not_those_that_read_two() {
        let [twice, both, turned] = [[0, 0], [0, 1], [1, 0]].map(|of| {
            move |b: &mut Builder| {
                let inputs = [(); 2].map(|()| matrix(b, 24));
                b.sub(inputs[of[0]], inputs[of[1]])
            }
        });
        assert_eq!(alike([&twice, &both]), [false; 2]);
        assert_eq!(alike([&both, &turned]), [true; 2], "buffers are numbered in the order of their use");
    }
}
