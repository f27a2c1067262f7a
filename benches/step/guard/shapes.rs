//! The kept list of shapes: products and what follows or precedes them, of all proportions that networks have.

use gradloom_runtime::init::Init;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, InputSlot, NodeId, Output, ParamSlot, Role, SlotKind};
use gradloom_runtime::types::{Dim, Shape, TensorType};

/// A graph and the batch that it runs with.
pub struct Program {
    pub name: &'static str,
    pub batch: usize,
    pub graph: Graph,
}

/// What a graph does.
#[derive(Clone, Copy)]
enum Kind {
    /// A product and a maximum with zero.
    Relu,
    /// A product and a function of it.
    Tanh,
    /// A product with a transposed right operand, as gradients of inputs are.
    Transposed,
    /// A product over the batch, as gradients of weights are.
    Gradient,
    /// A left operand that is computed first and that nobody else reads.
    Grouped,
    /// A left operand that is computed first and stored as a result.
    Stored,
    /// A product for each row of the batch.
    Batched,
    /// No product.
    Elements,
}

/// All shapes.
pub fn all() -> Vec<Program> {
    use Kind::{Batched, Elements, Gradient, Grouped, Relu, Stored, Tanh, Transposed};
    [
        ("tiny, 4 x 2 x 8", Tanh, [4, 2, 8]),
        ("tiny, 1 x 32 x 32", Relu, [1, 32, 32]),
        ("tiny, 8 x 16 x 16", Relu, [8, 16, 16]),
        ("tiny, 16 x 16 x 4", Relu, [16, 16, 4]),
        ("dense, 128 x 784 x 256", Relu, [128, 784, 256]),
        ("dense, 256 x 1024 x 1024", Tanh, [256, 1024, 1024]),
        ("dense, 512 x 256 x 256", Tanh, [512, 256, 256]),
        ("transposed, 128 x 256 x 128", Transposed, [128, 256, 128]),
        ("transposed, 256 x 1024 x 1024", Transposed, [256, 1024, 1024]),
        ("transposed, 1024 x 256 x 256", Transposed, [1024, 256, 256]),
        ("gradient, 784 x 128 x 256", Gradient, [128, 784, 256]),
        ("gradient, 1024 x 256 x 1024", Gradient, [256, 1024, 1024]),
        ("skinny, 1 x 1024 x 1024", Relu, [1, 1024, 1024]),
        ("skinny, 8 x 1024 x 1024", Relu, [8, 1024, 1024]),
        ("skinny, 8 x 512 x 512 transposed", Transposed, [8, 512, 512]),
        ("tall, 8192 x 64 x 16", Relu, [8192, 64, 16]),
        ("tall, 4096 x 16 x 64 transposed", Transposed, [4096, 16, 64]),
        ("batched, 64 of 64 x 32 x 64", Batched, [64, 64, 32]),
        ("batched, 8 of 256 x 64 x 256", Batched, [8, 256, 64]),
        ("grouped, 1024 x 256 x 256", Grouped, [1024, 256, 256]),
        ("grouped, 4096 x 64 x 64", Grouped, [4096, 64, 64]),
        ("stored, 1024 x 256 x 256", Stored, [1024, 256, 256]),
        ("elements, 64 x 256", Elements, [64, 1, 256]),
        ("elements, 1024 x 1000", Elements, [1024, 1, 1000]),
    ]
    .map(|(name, kind, extents)| Program { name, batch: extents[0], graph: graph(kind, extents) })
    .into()
}

fn graph(kind: Kind, [_, inner, cols]: [usize; 3]) -> Graph {
    let mut b = Builder::new(Graph::default());
    let mut outputs = Vec::new();
    match kind {
        Kind::Relu | Kind::Tanh | Kind::Transposed | Kind::Grouped | Kind::Stored => {
            let mut x = input(&mut b, "x", &[inner]);
            if matches!(kind, Kind::Grouped | Kind::Stored) {
                let slope = b.scale(x, 0.5);
                let bent = b.mul(x, slope);
                let moved = b.add(bent, x);
                let total = b.sum(moved, &[1]);
                let shape = b.shape(x);
                let total = b.broadcast(total, &shape, &[0]);
                x = b.mul(moved, total);
            }
            let transposed = matches!(kind, Kind::Transposed);
            let w = parameter(&mut b, if transposed { [cols, inner] } else { [inner, cols] });
            let product = b.dot(x, w, false, transposed);
            let zero = b.constant_like(0.0, product);
            let result = if matches!(kind, Kind::Tanh) { b.tanh(product) } else { b.max(product, zero) };
            outputs.push(result);
            if matches!(kind, Kind::Stored) {
                outputs.push(x);
            }
        }
        Kind::Gradient => {
            let (x, y) = (input(&mut b, "x", &[inner]), input(&mut b, "y", &[cols]));
            outputs.push(b.dot(x, y, true, false));
        }
        Kind::Batched => {
            let (x, y) = (input(&mut b, "x", &[inner, cols]), input(&mut b, "y", &[inner, cols]));
            outputs.push(b.product(x, y, DotAxes { batch: vec![(0, 0)], contracted: vec![(2, 2)] }));
        }
        Kind::Elements => {
            let (x, y) = (input(&mut b, "x", &[cols]), input(&mut b, "y", &[cols]));
            let bent = b.tanh(x);
            let product = b.mul(bent, y);
            outputs.push(b.add(product, x));
        }
    }
    b.graph_mut().slots.outputs = vec!["y"; outputs.len()];
    let outputs = outputs.into_iter().enumerate();
    b.graph_mut().outputs = outputs.map(|(index, node)| Output { role: Role::Output(index), node }).collect();
    b.finish()
}

fn input(b: &mut Builder, name: &'static str, extents: &[usize]) -> NodeId {
    let shape = [Dim::B].into_iter().chain(extents.iter().map(|&extent| Dim::Fixed(extent)));
    let ty = TensorType::f32(Shape(shape.collect()));
    let inputs = &mut b.graph_mut().slots.inputs;
    inputs.push(InputSlot { name, ty, target: false, classes: None });
    let index = inputs.len() - 1;
    b.input(index)
}

fn parameter(b: &mut Builder, shape: [usize; 2]) -> NodeId {
    let params = &mut b.graph_mut().slots.params;
    let (name, kind) = ("w".to_string(), SlotKind::Parameter);
    params.push(ParamSlot { name, shape: shape.to_vec(), order: &[], init: Init::Constant(0.0), kind });
    let index = params.len() - 1;
    b.param(index)
}
