//! Products of layers by themselves: networks of one convolution or dense layer, forward, by the input and by the weight, with nothing
//! fused into them and run again and again. `benches/compare/layers_pytorch.py` measures the same in PyTorch.

use gradloom_runtime::compile::{Program, Target};
use gradloom_runtime::init::{Init, Random};
use gradloom_runtime::ir::ops::At;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, InputSlot, NodeId, Output, ParamSlot, Role, SlotKind, Window};
use gradloom_runtime::memory::{Input, Memory, Params};
use gradloom_runtime::microkernels::pages;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::Result;
use crate::layers::Pass;
use crate::timing::Samples;
use crate::workloads::Workload;

/// How long each of several measurements of a product takes, in seconds.
const SECONDS: f64 = 0.05;
/// How many there are, in turns with those of other products.
const ROUNDS: usize = 5;

/// A layer: what its product takes in and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Images of the batch.
    batch: usize,
    /// Pixels of a row and of a column of an image; 1 for a dense layer.
    size: usize,
    /// Channels that come in and go out.
    channels: [usize; 2],
    /// Taps of a window, down and across.
    taps: usize,
    stride: usize,
    /// Whether its input is that of the network: then channels are apart, not side by side, and nobody asks for its gradient.
    first: bool,
}

impl Layer {
    /// The layer of this path in a workload.
    pub fn of(workload: Workload, path: &str) -> Option<Layer> {
        let batch = workload.batch();
        let conv = |size, channels, taps, stride, first| Layer { batch, size, channels, taps, stride, first };
        let dense = |channels| conv(1, channels, 1, 1, false);
        Some(match (workload, path) {
            (Workload::Cnn, "conv1") => conv(28, [1, 32], 3, 1, true),
            (Workload::Cnn, "conv2") => conv(14, [32, 64], 3, 1, false),
            (Workload::Cnn, "dense1") => dense([3136, 128]),
            (Workload::Cnn, "dense2") => dense([128, 10]),
            (Workload::ResNet20, "conv1") => conv(32, [3, 16], 3, 1, true),
            (Workload::ResNet20, "down1.residual1.conv1") => conv(32, [16, 32], 3, 2, false),
            (Workload::ResNet20, "down1.residual1.skip.conv1") => conv(32, [16, 32], 1, 2, false),
            (Workload::ResNet20, "down2.residual1.conv1") => conv(16, [32, 64], 3, 2, false),
            (Workload::ResNet20, "down2.residual1.skip.conv1") => conv(16, [32, 64], 1, 2, false),
            (Workload::ResNet20, "dense1") => dense([64, 10]),
            (Workload::ResNet20, path) if path.starts_with("repeat1.") => conv(32, [16, 16], 3, 1, false),
            (Workload::ResNet20, path) if path.starts_with("repeat2.") || path.starts_with("down1.") => {
                conv(16, [32, 32], 3, 1, false)
            }
            (Workload::ResNet20, path) if path.starts_with("repeat3.") || path.starts_with("down2.") => {
                conv(8, [64, 64], 3, 1, false)
            }
            _ => return None,
        })
    }

    /// Pixels of a row of the result.
    fn places(&self) -> usize {
        self.window().positions(self.size).expect("the window fits")
    }

    fn window(&self) -> Window {
        let pad = self.taps / 2;
        Window { stride: self.stride, before: pad, after: pad, ..Window::of(self.taps) }
    }

    /// Floating-point operations of each of its products, as if no window stood over an edge.
    pub fn flops(&self) -> f64 {
        let [from, to] = self.channels;
        let numbers = self.batch * self.places() * self.places() * to;
        2.0 * (numbers * from * self.taps * self.taps) as f64
    }

    /// The graph of one of its products.
    fn graph(&self, pass: Pass) -> Graph {
        let Layer { size, channels: [from, to], taps, first, .. } = *self;
        let mut b = Builder::new(Graph::default());
        let x = match first {
            true => input(&mut b, "x", &[from, size, size]),
            false => input(&mut b, "x", &[size, size, from]),
        };
        let params = &mut b.graph_mut().slots.params;
        let (name, shape) = ("w".to_string(), vec![taps, taps, from, to]);
        params.push(ParamSlot { name, shape, order: &[], init: Init::Constant(0.0), kind: SlotKind::Parameter });
        let w = b.param(0);
        let pixels = if first { b.transpose(x, &[0, 2, 3, 1]) } else { x };
        let y = self.product(&mut b, pixels, w);
        let (role, node) = match pass {
            Pass::Forward => (Role::Output(0), y),
            Pass::ByInput | Pass::ByWeight => {
                let places = self.places();
                let dy = input(&mut b, "dy", &[places, places, to]);
                let (role, node) = if pass == Pass::ByInput { (Role::Output(0), x) } else { (Role::Gradient(0), w) };
                (role, cotangent(&mut b, node, y, dy))
            }
        };
        let graph = b.graph_mut();
        graph.slots.outputs = if matches!(role, Role::Output(_)) { vec!["y"] } else { Vec::new() };
        graph.outputs = vec![Output { role, node }];
        b.finish()
    }

    /// The product of its windows and weights.
    fn product(&self, b: &mut Builder, x: NodeId, w: NodeId) -> NodeId {
        let [from, to] = self.channels;
        if self.taps > 1 {
            // A position and the taps of its window, down and across.
            let rows = b.patches(x, 1, self.window(), 0.0);
            let x = b.patches(rows, 3, self.window(), 0.0);
            return b.product(x, w, DotAxes { batch: Vec::new(), contracted: vec![(2, 0), (4, 1), (5, 2)] });
        }
        let mut taken = x;
        if self.stride > 1 {
            for axis in [1, 2] {
                taken = b.slice(taken, axis, 0, self.places(), self.stride);
            }
        }
        let w = b.reshape(w, Shape::fixed(&[from, to]));
        b.product(taken, w, DotAxes { batch: Vec::new(), contracted: vec![(3, 0)] })
    }
}

fn input(b: &mut Builder, name: &'static str, extents: &[usize]) -> NodeId {
    let shape = [Dim::B].into_iter().chain(extents.iter().map(|&extent| Dim::Fixed(extent)));
    let inputs = &mut b.graph_mut().slots.inputs;
    inputs.push(InputSlot { name, ty: TensorType::f32(Shape(shape.collect())), target: false, classes: None });
    let index = inputs.len() - 1;
    b.input(index)
}

/// The gradient by `x` of what has the gradient `dy` by `y`, by the rules of the operations between them.
fn cotangent(b: &mut Builder, x: NodeId, y: NodeId, dy: NodeId) -> NodeId {
    let mut cotangents = vec![None; y.index() + 1];
    cotangents[y.index()] = Some(dy);
    for index in (x.index() + 1..=y.index()).rev() {
        let Some(dy) = cotangents[index] else { continue };
        let y = NodeId(index as u32);
        let node = b.graph()[y].clone();
        let at = At { op: node.op, x: node.operands, y, dy };
        for (&operand, dx) in at.x.iter().zip((at.op.def().vjp)(b, &at)) {
            // Nothing here is read twice.
            cotangents[operand.index()] = dx;
        }
    }
    cotangents[x.index()].expect("there is a way from one to the other")
}

/// The rates of the products of some layers, in operations a second: the best of several rounds.
pub struct Rates(Vec<(Layer, Pass, f64)>);

impl Rates {
    /// Measures all products of these layers on one thread.
    pub fn of(layers: &[Layer]) -> Result<Rates> {
        let mut rates = Vec::new();
        let mut runs = Vec::new();
        for &layer in layers {
            for pass in [Pass::Forward, Pass::ByInput, Pass::ByWeight] {
                if rates.iter().any(|&(known, other, _)| (known, other) == (layer, pass))
                    || layer.first && pass == Pass::ByInput
                {
                    continue;
                }
                rates.push((layer, pass, 0.0));
                runs.push(runner(layer, pass)?);
            }
        }
        for _ in 0..ROUNDS {
            for ((layer, _, rate), run) in rates.iter_mut().zip(&mut runs) {
                let least = Samples::of(SECONDS, 0.0, || {
                    run();
                    Ok::<(), std::convert::Infallible>(())
                })?;
                *rate = f64::max(*rate, layer.flops() / (1e-6 * least.min()));
            }
        }
        Ok(Rates(rates))
    }

    /// That of one product, if it was measured.
    pub fn get(&self, layer: Layer, pass: Pass) -> Option<f64> {
        self.0.iter().find(|&&(known, other, _)| (known, other) == (layer, pass)).map(|&(_, _, rate)| rate)
    }
}

/// One run of a product.
fn runner(layer: Layer, pass: Pass) -> Result<Box<dyn FnMut()>> {
    let batch = layer.batch;
    let program = Program::of_graph(&simplify(&layer.graph(pass)), Target::new(batch))?;
    let mut random = Random::new(1, 0);
    let mut numbers = |len: usize| Numbers::of(len, || random.normal() as f32);
    let inputs: Vec<Numbers> = program.slots.inputs.iter().map(|slot| numbers(slot.ty.shape.len_at(batch))).collect();
    let mut params = numbers(program.params_len);
    let mut arena = Numbers::of(program.arena, || 0.0);
    Ok(Box::new(move || {
        let inputs: Vec<Input<'_>> = inputs.iter().map(|input| Input::Float(input.get())).collect();
        let (params, arena) = (Params::Own(params.get_mut()), arena.get_mut());
        program.code.run(Memory { arena, params, scalars: &[], inputs: &inputs, batch });
    }))
}

/// Floats in large pages, as those of a session are.
struct Numbers {
    floats: Vec<f32>,
    start: usize,
    len: usize,
}

impl Numbers {
    fn of(len: usize, mut number: impl FnMut() -> f32) -> Numbers {
        let mut floats = pages::zeros(len + pages::LARGE).expect("there is memory for one layer");
        let start = floats.as_ptr().align_offset(4 * pages::LARGE).min(pages::LARGE);
        pages::prefer_large(&mut floats);
        floats[start..start + len].fill_with(&mut number);
        Numbers { floats, start, len }
    }

    fn get(&self) -> &[f32] {
        &self.floats[self.start..self.start + self.len]
    }

    fn get_mut(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..self.start + self.len]
    }
}
