//! Bodies of named flows: pipelines, expressions, values joined and taken apart, and layers that several of them share.

use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::{At, BinaryOp, Expr, Flow, Kind, Split, Stage};
use gradloom_runtime::types::{Dim, Shape};

use super::bodies::Body;
use super::expressions::{Context, SCALE};
use crate::handmade::{self, binary, flow, leak};

/// What is drawn of a body of flows.
pub struct Flows {
    pub layers: Vec<Stage<'static>>,
    pub flows: Vec<Flow<'static>>,
    /// The outputs, each with its shape.
    pub outputs: Vec<(&'static str, Shape)>,
}

/// The names of the layer that flows share, and of the flows: none that anything else is called.
const SHARED: &str = "shared_layer";
const USES: [&str; 2] = ["once_0", "twice_0"];
const NAMES: [&str; 6] = ["u_0", "u_1", "u_2", "u_3", "u_4", "u_5"];

impl<'t, 'n> Body<'t, 'n> {
    /// Flows from these inputs to outputs of these names; what they make is known to expressions.
    pub fn flows(&mut self, inputs: &[(&'static str, Shape)], outputs: &[&'static str]) -> Flows {
        let mut values: Vec<(&'static str, Shape)> = inputs.to_vec();
        let width = inputs[0].1.0[inputs[0].1.rank() - 1].factor();
        let (mut layers, mut flows) = (Vec::new(), Vec::new());
        let shares = inputs[0].1.rank() >= 2;
        if shares {
            layers.push(self.shared(&inputs[0].1, width));
            // Twice at least.
            for name in USES {
                flows.push(self.used(name, inputs[0].0));
                values.push((name, inputs[0].1.clone()));
            }
        } else {
            // Something that is trained.
            let name = USES[0];
            self.flow = Some(format!("{name}."));
            let (stage, _) = self.act_of(SCALE, &inputs[0].1, &[format!("{name}.")]);
            self.flow = None;
            flows.push(flow(name, vec![Expr::Name(inputs[0].0)], vec![stage]));
            values.push((name, inputs[0].1.clone()));
        }
        if inputs[0].1.rank() > 2 && self.tape.chance(50) {
            for (flow, shape) in self.loop_of(inputs[0].0, &inputs[0].1) {
                values.push((flow.name, shape));
                flows.push(flow);
            }
        }
        for name in NAMES.into_iter().take(2 + self.tape.below(4)) {
            let (source, shape) = self.tape.pick(&values);
            let (flow, made) = self.flow(name, (source, &shape), &values, width);
            flows.push(flow);
            values.extend(made);
        }
        self.known.extend(values[inputs.len()..].iter().map(|(name, shape)| (Expr::Name(name), shape.clone())));
        let mut drawn = Vec::new();
        for (index, &name) in outputs.iter().enumerate() {
            // The last values, which are made of most others.
            let (value, shape) = values[values.len() - 1 - index].clone();
            flows.push(flow(name, vec![Expr::Name(value)], Vec::new()));
            drawn.push((name, shape));
        }
        self.output = drawn[0].1.clone();
        Flows { layers, flows, outputs: drawn }
    }

    /// The layer that several flows share, from the last axis of this shape to itself.
    fn shared(&mut self, shape: &Shape, width: usize) -> Stage<'static> {
        let args = [Arg::Int(width as u64), Arg::Flag(true), Arg::Init(&layers::initializers::AUTO, None)];
        let dense = handmade::stage(&layers::DENSE, &args, "dense1");
        let fan = [width; 2].map(Dim::Fixed).to_vec();
        self.has_dense = true;
        let is_single = self.tape.chance(50);
        let inside = if is_single { "" } else { ".dense1" };
        self.known.push((Expr::Path(leak(format!("{SHARED}{inside}.weight")), At(0)), Shape(fan)));
        self.known.push((Expr::Path(leak(format!("{SHARED}{inside}.bias")), At(0)), Shape(vec![Dim::Fixed(width)])));
        if is_single {
            return Stage { segment: SHARED, ..dense };
        }
        let mut stages = vec![dense, handmade::stage(&layers::TANH, &[], "tanh1")];
        if self.tape.chance(50) {
            stages.push(handmade::stage(&layers::PRELU, &[], "prelu1"));
        }
        assert!(shape.rank() >= 2, "a dense layer takes rows");
        Stage { kind: Kind::Block(leak(stages)), ..handmade::stage(&layers::TANH, &[], SHARED) }
    }

    /// A flow through the shared layer alone.
    fn used(&mut self, name: &'static str, source: &'static str) -> Flow<'static> {
        let stage = Stage { kind: Kind::Shared(0), ..handmade::stage(&layers::TANH, &[], "shared_layer1") };
        let scale = if name == USES[0] { 1.0 } else { -0.5 };
        let source = binary(BinaryOp::Mul, Expr::Number(scale), Expr::Name(source));
        flow(name, vec![source], vec![stage])
    }

    /// One more line, and the values that it makes.
    fn flow(
        &mut self,
        name: &'static str,
        (source, shape): (&'static str, &Shape),
        values: &[(&'static str, Shape)],
        width: usize,
    ) -> (Flow<'static>, Vec<(&'static str, Shape)>) {
        let x = Expr::Name(source);
        let last = shape.rank() - 1;
        match self.tape.below(8) {
            7 if shape.rank() == 3 => {
                let alike = |other: &Shape| other.rank() == 3 && other.0[2] == shape.0[2];
                let fitting: Vec<&'static str> =
                    values.iter().filter(|(_, other)| alike(other)).map(|(name, _)| *name).collect();
                let memory = self.tape.pick(&fitting);
                let prefix = format!("{name}.");
                self.flow = Some(prefix.clone());
                let stage = self.cross_attention(shape, &[prefix]);
                self.flow = None;
                (flow(name, vec![x, Expr::Name(memory)], vec![stage]), vec![(name, shape.clone())])
            }
            // Rows that are as long as those of the shared layer.
            0 if last > 0 && shape.0[last] == Dim::Fixed(width) => {
                (Flow { name, ..self.used(name, source) }, vec![(name, shape.clone())])
            }
            1 if last > 0 => {
                let fitting: Vec<(&'static str, Shape)> = values
                    .iter()
                    .filter(|(_, other)| other.rank() == shape.rank() && other.0[..last] == shape.0[..last])
                    .cloned()
                    .collect();
                let (other, other_shape) = self.tape.pick(&fitting);
                let mut joined = shape.clone();
                joined.0[last] = Dim::Fixed(shape.0[last].factor() + other_shape.0[last].factor());
                let axis = handmade::axis(if self.tape.chance(50) { -1 } else { last as i64 });
                let concat = Stage { kind: Kind::Concat(axis), ..handmade::stage(&layers::TANH, &[], "concat1") };
                let (mut stages, mut y) = (vec![concat], joined.clone());
                if self.tape.chance(60) {
                    let (rest, shape) = self.of_flow(name, &joined);
                    stages.extend(rest);
                    y = shape;
                }
                (flow(name, vec![x, Expr::Name(other)], stages), vec![(name, y)])
            }
            2 if last > 0 => {
                let axis = 1 + self.tape.below(last);
                let extent = shape.0[axis].factor();
                // In as many parts as there are elements, or in two.
                let count = if extent.is_multiple_of(2) { 2 } else { extent.min(4) };
                if !extent.is_multiple_of(count) || count < 2 {
                    return self.pipeline(name, x, shape);
                }
                let names: Vec<&'static str> = (0..count).map(|part| leak(format!("{name}_{part}")).as_str()).collect();
                let mut part = shape.clone();
                part.0[axis] = Dim::Fixed(extent / count);
                let made = names.iter().map(|&name| (name, part.clone())).collect();
                let split = Split { names: leak(names), axis: handmade::axis(axis as i64), at: At(0) };
                (Flow { split: Some(split), ..flow(name, vec![x], Vec::new()) }, made)
            }
            3 if last > 0 => {
                let mut context = Context::new(self.tape, &[], false);
                let expr = context.along(x, shape);
                let made = super::shape_of(&expr, values);
                (flow(name, vec![expr], Vec::new()), vec![(name, made)])
            }
            4 => {
                let alike: Vec<&'static str> =
                    values.iter().filter(|(_, other)| other == shape).map(|(name, _)| *name).collect();
                let other = Expr::Name(self.tape.pick(&alike));
                let op = self.tape.pick(&[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul]);
                let bounded = super::expressions::apply(&layers::TANH, &[], other);
                (flow(name, vec![binary(op, x, bounded)], Vec::new()), vec![(name, shape.clone())])
            }
            _ => self.pipeline(name, x, shape),
        }
    }

    fn pipeline(
        &mut self,
        name: &'static str,
        x: Expr<'static>,
        shape: &Shape,
    ) -> (Flow<'static>, Vec<(&'static str, Shape)>) {
        let (stages, y) = self.of_flow(name, shape);
        (flow(name, vec![x], stages), vec![(name, y)])
    }

    /// The stages of a flow.
    fn of_flow(&mut self, name: &'static str, shape: &Shape) -> (Vec<Stage<'static>>, Shape) {
        let prefix = format!("{name}.");
        self.flow = Some(prefix.clone());
        let drawn = self.stages(shape, &[prefix], 1);
        self.flow = None;
        drawn
    }
}
