//! Runs graphs as machine code, without a session, and says how far a result may be from the interpreter's.
//!
//! The bound on a tensor is `8 d + 8 eps m`. `d` is the largest distance of the interpreter in f32 from the interpreter in
//! f64, also when every input is moved by one unit in the last place: that measures how badly the computation is
//! conditioned, and several samples keep it from being small by luck. `m` is what the value would be if all of its terms
//! had the same sign: where terms cancel, compiled code may round each of them in another order.

use gradloom_runtime::compile::Program;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Evaluation, Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role, verify};
use gradloom_runtime::memory::{Input, Memory, Params, Word};
use gradloom_runtime::plan::Place;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::DType;

/// How often the measured distance, and how many roundings of all terms, are allowed.
const FACTOR: f64 = 8.0;
/// Half a unit in the last place of 1, as f32.
const EPS: f64 = f32::EPSILON as f64 / 2.0;

/// A graph as machine code, with memory to run in.
pub struct Compiled {
    program: Program,
    graph: Graph,
    arena: Vec<f32>,
}

/// The results of a run, by role.
pub struct Results {
    values: Vec<(Role, Vec<f64>)>,
    /// Whether the loss was finite, so that updates were written.
    pub finite: bool,
}

impl Compiled {
    /// Simplifies and compiles.
    pub fn new(graph: &Graph, max_batch: usize) -> Compiled {
        let graph = simplify(graph);
        verify(&graph).expect("a simplified graph is a graph");
        let program = Program::of_graph(&graph, max_batch).expect("the graph compiles");
        let arena = vec![f32::NAN; program.arena];
        Compiled { program, graph, arena }
    }

    /// Runs on these values. Whatever the code does not write is NaN, between the parameters as well.
    pub fn run(&mut self, batch: usize, values: &Values) -> Results {
        let inputs: Vec<Fed> = values.inputs.iter().map(Fed::new).collect();
        let inputs: Vec<Input<'_>> = inputs.iter().map(Fed::input).collect();
        let scalars = self.program.slots.scalars.iter().zip(&values.scalars);
        let scalars: Vec<Word> = scalars.map(|(slot, &value)| Word::new(slot, value)).collect();
        let mut params = vec![f32::NAN; self.program.params_len];
        for (value, &at) in values.params.iter().zip(&self.program.params) {
            let numbers = value.as_floats();
            params[at..at + numbers.len()].iter_mut().zip(numbers).for_each(|(to, &from)| *to = from as f32);
        }
        self.arena.fill(f32::NAN);
        let finite = self.program.code.run(Memory {
            arena: &mut self.arena,
            params: Params::Own(&mut params),
            scalars: &scalars,
            inputs: &inputs,
            batch,
        });
        let value = |role: &Role, node: NodeId| {
            let len = self.graph[node].ty.shape.len_at(batch);
            let place = match *role {
                Role::Update(param) => Place::Param(param),
                _ => self.program.result(role).expect("every result has a place"),
            };
            let from = match place {
                Place::Arena(at) => &self.arena[at..],
                Place::Param(param) => &params[self.program.params[param]..],
                Place::Input(input) => match inputs[input] {
                    Input::Float(floats) => floats,
                    Input::Index(_) => panic!("a result of class ids"),
                },
            };
            from[..len].iter().map(|&x| f64::from(x)).collect()
        };
        let outputs = self.graph.outputs.iter();
        let values = outputs.map(|output| (output.role.clone(), value(&output.role, output.node))).collect();
        Results { values, finite }
    }
}

impl Results {
    /// The result of this role.
    #[track_caller]
    pub fn get(&self, role: &Role) -> &[f64] {
        let found = self.values.iter().find(|(known, _)| known == role);
        &found.unwrap_or_else(|| panic!("no {role:?}")).1
    }
}

/// An input in the form that compiled code reads.
enum Fed {
    Floats(Vec<f32>),
    Indices(Vec<u32>),
}

impl Fed {
    fn new(tensor: &Tensor) -> Fed {
        match &tensor.data {
            Data::Float(values) => Fed::Floats(values.iter().map(|&x| x as f32).collect()),
            Data::Index(ids) => Fed::Indices(ids.clone()),
            Data::Mask(_) => panic!("an input of truth values"),
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Fed::Floats(values) => Input::Float(values),
            Fed::Indices(ids) => Input::Index(ids),
        }
    }
}

/// What a graph means, and how exactly f32 can say it.
pub struct Reference<'a> {
    graph: &'a Graph,
    exact: Evaluation<'a>,
    rounded: Vec<Evaluation<'a>>,
    /// For each node, its largest element if no terms cancelled.
    terms: Vec<f64>,
}

impl<'a> Reference<'a> {
    /// Interprets a graph. The values must be f32 numbers.
    pub fn new(graph: &'a Graph, batch: usize, values: &Values) -> Reference<'a> {
        let moved = (1..=2).map(|seed| nudged(values, seed));
        let rounded = std::iter::once(values.clone()).chain(moved);
        Reference {
            graph,
            exact: evaluate(graph, Precision::F64, batch, values),
            rounded: rounded.map(|values| evaluate(graph, Precision::F32, batch, &values)).collect(),
            terms: terms(graph, batch, values),
        }
    }

    /// In f64.
    pub fn exact(&self, id: NodeId) -> &[f64] {
        self.exact[id].as_floats()
    }

    /// How far from [`Reference::exact`] an element may be.
    fn tolerance(&self, id: NodeId) -> f64 {
        let distance = |rounded: &Evaluation<'_>| largest(distances(rounded[id].as_floats(), self.exact(id)));
        FACTOR * (largest(self.rounded.iter().map(distance)) + EPS * self.terms[id.index()])
    }

    /// Whether every result of a run is within its bound; the first that is not, in words.
    pub fn compare(&self, results: &Results) -> Result<(), String> {
        self.compare_some(results, |_| true)
    }

    /// The same of the results that no comparison decides, which are as good next to a kink.
    pub fn compare_undecided(&self, results: &Results) -> Result<(), String> {
        let mut decided = vec![false; self.graph.nodes.len()];
        for id in self.graph.ids() {
            let node = &self.graph[id];
            let compares = matches!(node.op, Op::Compare(_));
            decided[id.index()] = compares || node.operands.iter().any(|x| decided[x.index()]);
        }
        let decides = |role: &Role| self.graph.output(role).is_some_and(|node| decided[node.index()]);
        self.compare_some(results, |role| !decides(role))
    }

    fn compare_some(&self, results: &Results, wanted: impl Fn(&Role) -> bool) -> Result<(), String> {
        results.values.iter().filter(|(role, _)| wanted(role)).try_for_each(|(role, actual)| {
            let node = self.graph.output(role).ok_or_else(|| format!("the reference has no {role:?}"))?;
            self.compare_one(role, node, actual)
        })
    }

    fn compare_one(&self, role: &Role, id: NodeId, actual: &[f64]) -> Result<(), String> {
        let (exact, rounded) = (self.exact(id), self.rounded[0][id].as_floats());
        if actual.len() != exact.len() {
            return Err(format!("{role:?} has {} elements, not {}", actual.len(), exact.len()));
        }
        let tolerance = self.tolerance(id);
        for (at, &actual) in actual.iter().enumerate() {
            // What overflows in f32 does so in the interpreter too.
            let wanted = if rounded[at].is_finite() { exact[at] } else { rounded[at] };
            let same = actual == wanted || actual.is_nan() && wanted.is_nan();
            let close = wanted.is_finite() && (actual - wanted).abs() <= tolerance;
            if !same && !close {
                let name = match *role {
                    Role::Gradient(param) | Role::Update(param) => &self.graph.slots.params[param].name,
                    _ => "",
                };
                return Err(format!(
                    "{role:?} {name}: element {at} of {} is {actual:e}, but {:e} in f64 and {:e} in f32; {tolerance:e} is allowed",
                    exact.len(),
                    exact[at],
                    rounded[at],
                ));
            }
        }
        Ok(())
    }

    /// Panics if a result is out of bounds.
    #[track_caller]
    pub fn check(&self, what: &str, results: &Results) {
        self.compare(results).unwrap_or_else(|message| panic!("{what}: {message}\n{}", self.graph));
    }

    /// Whether a comparison that matters could go either way within the bounds of what is compared.
    pub fn near_kink(&self) -> bool {
        let live = self.graph.live();
        self.graph.ids().filter(|id| live[id.index()]).any(|id| match self.graph[id].op {
            Op::Compare(_) => {
                let (x, y) = (self.graph[id].operands[0], self.graph[id].operands[1]);
                let margin = self.tolerance(x) + self.tolerance(y);
                // The gradient of a maximum compares with minus infinity, which nothing is near to.
                if !margin.is_finite() {
                    return false;
                }
                let tied = |at: usize| {
                    let equal = |run: &Evaluation<'_>| run[x].as_floats()[at] == run[y].as_floats()[at];
                    equal(&self.exact) && self.rounded.iter().all(equal)
                };
                let near = |(at, distance): (usize, f64)| !(distance > margin || tied(at));
                distances(self.exact(x), self.exact(y)).enumerate().any(near)
            }
            _ => false,
        })
    }

    /// Whether every number that matters is finite in f32 as well, so that there is something to compare.
    pub fn is_finite(&self) -> bool {
        self.graph.outputs.iter().all(|output| {
            let mut runs = self.rounded.iter().chain([&self.exact]);
            runs.all(|run| run[output.node].as_floats().iter().all(|x| x.is_finite()))
                && self.tolerance(output.node).is_finite()
        })
    }
}

/// Distances of elements; none where both are the same infinity or NaN.
fn distances<'v>(x: &'v [f64], y: &'v [f64]) -> impl Iterator<Item = f64> + 'v {
    x.iter().zip(y).map(|(&x, &y)| if x == y || x.is_nan() && y.is_nan() { 0.0 } else { (x - y).abs() })
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |top, x| if x > top || x.is_nan() { x } else { top })
}

/// Every number but zero moved up or down to its neighbour, at random.
fn nudged(values: &Values, seed: u64) -> Values {
    let mut random = Random::new(seed, 1);
    let mut moved = |tensor: &Tensor| match &tensor.data {
        Data::Float(values) => {
            let mut nudge = |x: f32| match random.below(2) {
                _ if x == 0.0 => x,
                0 => x.next_up(),
                _ => x.next_down(),
            };
            Tensor::floats(&tensor.shape, values.iter().map(|&x| f64::from(nudge(x as f32))).collect::<Vec<f64>>())
        }
        _ => tensor.clone(),
    };
    Values {
        inputs: values.inputs.iter().map(&mut moved).collect(),
        params: values.params.iter().map(&mut moved).collect(),
        scalars: values.scalars.clone(),
    }
}

/// For each node, its largest element if it were computed from the sizes of its terms.
fn terms(graph: &Graph, batch: usize, values: &Values) -> Vec<f64> {
    let mut b = Builder::new(graph.clone());
    let mut sizes: Vec<NodeId> = Vec::new();
    for id in graph.ids() {
        let node = &graph[id];
        let x: Vec<NodeId> = node.operands.iter().map(|operand| sizes[operand.index()]).collect();
        sizes.push(match (&node.op, &x[..]) {
            _ if node.ty.dtype != DType::F32 => id,
            (Op::Neg | Op::Detach, &[x]) => x,
            (Op::Sub, &[x, y]) => b.add(x, y),
            (Op::Div, &[x, _]) => {
                let divisor = b.abs(node.operands[1]);
                b.div(x, divisor)
            }
            (Op::Select, &[_, x, y]) => b.select(node.operands[0], x, y),
            (Op::Add | Op::Mul | Op::MulAdd | Op::Sum(_) | Op::Dot { .. } | Op::Reshape | Op::Broadcast(_), x) => {
                b.push(node.op.clone(), x, node.ty.clone())
            }
            // Compiled code gathers squares of deviations from a row of the data, and takes off what is too much.
            (Op::Variance(axes), _) => {
                let x = node.operands[0];
                let shape = b.shape(x);
                let mean = b.mean(x, axes);
                let mean = b.broadcast_over(mean, &shape, axes);
                let deviation = b.sub(x, mean);
                let square = b.mul(deviation, deviation);
                let most = b.max_over(square, axes);
                b.add(id, most)
            }
            // Passes on the relative error of what it is the root of.
            (Op::Sqrt | Op::Rsqrt, &[x]) => {
                let root = b.abs(id);
                let size = b.abs(node.operands[0]);
                let size = b.offset(size, f64::MIN_POSITIVE);
                let relative = b.div(x, size);
                b.mul(root, relative)
            }
            _ => b.abs(id),
        });
    }
    let sizes_graph = b.finish();
    let evaluation = evaluate(&sizes_graph, Precision::F64, batch, values);
    let size = |id: NodeId| match &evaluation[id].data {
        Data::Float(values) => largest(values.iter().copied().filter(|x| !x.is_nan())),
        _ => 0.0,
    };
    sizes.into_iter().map(size).collect()
}
