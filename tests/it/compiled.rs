//! Runs graphs as machine code, without a session, and says how far a result may be from the interpreter's.
//!
//! The bound on a tensor is that of `rounding`, or twice the largest distance of the interpreter in f32 from the interpreter in
//! f64, where that is more: numbers near zero round coarser than all others.

use std::cell::Cell;

use gradloom_rounding::{allowances, largest};
use gradloom_runtime::compile::{Program, Target};
use gradloom_runtime::interp::{Data, Evaluation, Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Graph, NodeId, Op, Role, unroll, verify};
use gradloom_runtime::jit::Pool;
use gradloom_runtime::kernel::WinogradUse;
use gradloom_runtime::memory::{Input, Memory, Params, Word};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::plan::Location;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::Keep;

#[cfg(target_os = "linux")]
use crate::guarded::Guarded;
use crate::{draw, handmade};

thread_local! {
    /// What this thread compiles for, if not for the best that the machine has.
    static ISA: Cell<Option<Isa>> = const { Cell::new(None) };
    /// Which products of windows it computes in the form of Winograd.
    static WINOGRAD: Cell<WinogradUse> = const { Cell::new(WinogradUse::WherePays) };
    /// What its programs keep from run to run of what is made of parameters, and whether right operands are among it.
    static KEEP: Cell<(Keep, bool)> = const { Cell::new((Keep::Nothing, true)) };
    /// Of values of more bytes than so many its programs make some rows at a time, if not of those that are too much memory.
    static MEMORY: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Does something with graphs compiled for this instruction set.
pub fn with_isa<T>(isa: Isa, work: impl FnOnce() -> T) -> T {
    let before = ISA.replace(Some(isa));
    let result = work();
    ISA.set(before);
    result
}

/// Compiles with these products in the form of Winograd, whatever is compiled meanwhile by this thread.
pub fn with_winograd<T>(used: WinogradUse, work: impl FnOnce() -> T) -> T {
    let before = WINOGRAD.replace(used);
    let result = work();
    WINOGRAD.set(before);
    result
}

/// Compiles programs that make some rows at a time of values of more than so many bytes.
pub fn with_memory<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = MEMORY.replace(Some(bytes));
    let result = work();
    MEMORY.set(before);
    result
}

/// Compiles programs that keep this of what they make of parameters, with or without right operands.
pub fn with_kept<T>(keep: Keep, packs: bool, work: impl FnOnce() -> T) -> T {
    let before = KEEP.replace((keep, packs));
    let result = work();
    KEEP.set(before);
    result
}

/// A graph as machine code, with memory to run in.
pub struct Compiled {
    program: Program,
    graph: Graph,
    arena: Vec<f32>,
    /// None for one thread.
    pool: Option<Pool>,
    /// Whether it is given right operands that it keeps.
    packs: bool,
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
        Compiled::for_threads(graph, max_batch, 1)
    }

    /// The same, to be run by so many threads.
    pub fn for_threads(graph: &Graph, max_batch: usize, threads: usize) -> Compiled {
        let graph = simplify(graph);
        verify(&graph).expect("a simplified graph is a graph");
        Compiled::as_it_is(graph, max_batch, threads)
    }

    /// Compiles without simplifying.
    pub fn as_it_is(graph: Graph, max_batch: usize, threads: usize) -> Compiled {
        let isa = ISA.get().unwrap_or_else(Isa::detect);
        let (keep, packs) = KEEP.get();
        let target = Target::new(max_batch).with_threads(threads).with_winograd_used(WINOGRAD.get()).on(isa);
        let mut target = target.keeping(keep);
        target.memory = MEMORY.get().unwrap_or(target.memory);
        let program = Program::of_graph(&graph, target).expect("the graph compiles");
        let arena = vec![f32::NAN; program.arena];
        let mut pool = (threads > 1).then(|| Pool::new(threads).expect("threads can be had"));
        pool.iter_mut().for_each(|pool| program.code.reserve(pool));
        Compiled { program, graph, arena, pool, packs }
    }

    /// Floats of what it makes of parameters: what it has to, and of right operands.
    pub fn kept_lens(&self) -> [usize; 2] {
        self.program.code.kept_lens()
    }

    /// Runs on these values. Whatever the code does not write is NaN, between the parameters as well.
    pub fn run(&mut self, batch: usize, values: &Values) -> Results {
        self.arena.fill(f32::NAN);
        let mut arena = Room::Heap(std::mem::take(&mut self.arena));
        let results = self.run_in(&mut arena, batch, values, &Room::Heap);
        #[cfg_attr(not(target_os = "linux"), allow(irrefutable_let_patterns))]
        if let Room::Heap(arena) = arena {
            self.arena = arena;
        }
        results
    }

    /// The same with a page that may not be touched after the arena, the parameters and each input, or before them.
    #[cfg(target_os = "linux")]
    pub fn run_beside_pages(&mut self, batch: usize, values: &Values, after: bool) -> Results {
        let room = |numbers: Vec<f32>| Room::Pages(Guarded::new(&numbers, after));
        let mut arena = room(vec![f32::NAN; self.arena.len()]);
        self.run_in(&mut arena, batch, values, &room)
    }

    fn run_in(&mut self, arena: &mut Room, batch: usize, values: &Values, room: &dyn Fn(Vec<f32>) -> Room) -> Results {
        let inputs: Vec<Fed> = values.inputs.iter().map(|tensor| Fed::new(tensor, room)).collect();
        let inputs: Vec<Input<'_>> = inputs.iter().map(Fed::input).collect();
        let scalars = self.program.slots.scalars.iter().zip(&values.scalars);
        let scalars: Vec<Word> = scalars.map(|(slot, &value)| Word::new(slot, value)).collect();
        let mut params = vec![f32::NAN; self.program.params_len];
        for (value, &at) in values.params.iter().zip(&self.program.params) {
            let numbers = value.as_floats();
            params[at..at + numbers.len()].iter_mut().zip(numbers).for_each(|(to, &from)| *to = from as f32);
        }
        let mut params = room(params);
        let lens = self.program.code.kept_lens();
        let [mut prepared, mut packed] = lens.map(|len| room(vec![f32::NAN; len]));
        if lens != [0, 0] {
            self.program.code.prepare(arena.floats_mut(), params.floats(), prepared.floats_mut());
            self.program.code.pack(params.floats(), prepared.floats(), packed.floats_mut());
            arena.floats_mut().fill(f32::NAN);
        }
        let memory = Memory {
            arena: arena.floats_mut(),
            params: match lens {
                [0, 0] => Params::Own(params.floats_mut()),
                _ => Params::Prepared {
                    params: params.floats(),
                    prepared: prepared.floats(),
                    packed: self.packs.then(|| packed.floats()),
                },
            },
            scalars: &scalars,
            inputs: &inputs,
            batch,
        };
        let finite = self.program.run(self.pool.as_mut(), memory);
        let value = |role: &Role, node: NodeId| {
            let len = self.graph[node].ty.shape.len_at(batch);
            let place = match *role {
                Role::Update(param) => Location::Param(param),
                _ => self.program.result(role).expect("every result has a place"),
            };
            let from = match place {
                Location::Arena(at) => &arena.floats()[at..],
                Location::Param(param) => &params.floats()[self.program.params[param]..],
                Location::Prepared(_) => panic!("a result that is kept from run to run"),
                Location::Input(input) => match inputs[input] {
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

    /// All bits.
    pub fn bits(&self) -> Vec<u64> {
        self.values.iter().flat_map(|(_, values)| values.iter().map(|x| x.to_bits())).collect()
    }
}

/// Where numbers lie in a run.
enum Room {
    Heap(Vec<f32>),
    #[cfg(target_os = "linux")]
    Pages(Guarded),
}

impl Room {
    fn floats(&self) -> &[f32] {
        match self {
            Room::Heap(numbers) => numbers,
            #[cfg(target_os = "linux")]
            Room::Pages(pages) => pages.floats(),
        }
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Room::Heap(numbers) => numbers,
            #[cfg(target_os = "linux")]
            Room::Pages(pages) => pages.floats_mut(),
        }
    }
}

/// An input in the form that compiled code reads.
enum Fed {
    Floats(Room),
    Indices(Vec<u32>),
    #[cfg(target_os = "linux")]
    IndicesBesidePages(Guarded),
}

impl Fed {
    fn new(tensor: &Tensor, room: &dyn Fn(Vec<f32>) -> Room) -> Fed {
        match &tensor.data {
            Data::Float(values) => Fed::Floats(room(values.iter().map(|&x| x as f32).collect())),
            Data::Index(ids) => match room(ids.iter().map(|&id| f32::from_bits(id)).collect()) {
                Room::Heap(_) => Fed::Indices(ids.clone()),
                #[cfg(target_os = "linux")]
                Room::Pages(pages) => Fed::IndicesBesidePages(pages),
            },
            Data::Mask(_) => panic!("an input of truth values"),
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Fed::Floats(values) => Input::Float(values.floats()),
            Fed::Indices(ids) => Input::Index(ids),
            #[cfg(target_os = "linux")]
            Fed::IndicesBesidePages(pages) => Input::Index(pages.ids()),
        }
    }
}

/// What a graph means, and how exactly f32 can say it. Loops are written out, since a bound is that of one value.
pub struct Reference<'a> {
    graph: &'a Graph,
    /// The graph as it was given.
    given: &'a Graph,
    exact: Evaluation<'a>,
    rounded: Evaluation<'a>,
    /// For each node, how far an element may be from the exact one.
    allowed: Vec<f64>,
}

impl<'a> Reference<'a> {
    /// Interprets a graph. The values must be f32 numbers.
    pub fn new(given: &'a Graph, batch: usize, values: &Values) -> Reference<'a> {
        let graph = if given.loops().is_empty() { given } else { handmade::leak(unroll(given)) };
        let exact = evaluate(graph, Precision::F64, batch, values);
        let rounded = evaluate(graph, Precision::F32, batch, values);
        let mut allowed = allowances(graph, batch, values, &exact);
        for (id, allowed) in graph.ids().zip(&mut allowed) {
            if let (Data::Float(exact), Data::Float(rounded)) = (&exact[id].data, &rounded[id].data) {
                *allowed = allowed.max(2.0 * largest(0.0, exact, rounded));
            }
        }
        Reference { graph, given, exact, rounded, allowed }
    }

    /// With so many times the bounds: for programs that reach a result by more operations than the graph has.
    pub fn times(mut self, factor: f64) -> Reference<'a> {
        self.allowed.iter_mut().for_each(|allowed| *allowed *= factor);
        self
    }

    /// In f64.
    pub fn exact(&self, id: NodeId) -> &[f64] {
        self.exact[self.written_out(id)].as_floats()
    }

    /// Where a node is, if it is a result of a graph with loops.
    fn written_out(&self, id: NodeId) -> NodeId {
        match self.given.outputs.iter().position(|output| output.node == id) {
            Some(output) if !std::ptr::eq(self.given, self.graph) => self.graph.outputs[output].node,
            _ => id,
        }
    }

    /// What the interpreter gives in f32.
    pub fn rounded(&self) -> &Evaluation<'a> {
        &self.rounded
    }

    /// How far from [`Reference::exact`] an element may be.
    pub fn tolerance(&self, id: NodeId) -> f64 {
        self.allowed[self.written_out(id).index()]
    }

    /// The largest share of what is allowed that a result of a run takes; the first result that is out of bounds, in words.
    pub fn compare(&self, results: &Results) -> Result<f64, String> {
        self.compare_some(results, |_| true)
    }

    /// The same of the results that no comparison decides, which are as good next to a kink.
    pub fn compare_undecided(&self, results: &Results) -> Result<f64, String> {
        let mut decided = vec![false; self.graph.nodes.len()];
        for id in self.graph.ids() {
            let node = &self.graph[id];
            let compares = matches!(node.op, Op::Compare(_));
            decided[id.index()] = compares || node.operands.iter().any(|x| decided[x.index()]);
        }
        let decides = |role: &Role| self.graph.output(role).is_some_and(|node| decided[node.index()]);
        self.compare_some(results, |role| !decides(role))
    }

    fn compare_some(&self, results: &Results, wanted: impl Fn(&Role) -> bool) -> Result<f64, String> {
        let mut most = 0.0;
        for (role, actual) in results.values.iter().filter(|(role, _)| wanted(role)) {
            let node = self.graph.output(role).ok_or_else(|| format!("the reference has no {role:?}"))?;
            most = f64::max(most, self.compare_one(role, node, actual)?);
        }
        Ok(most)
    }

    fn compare_one(&self, role: &Role, id: NodeId, actual: &[f64]) -> Result<f64, String> {
        let (exact, rounded) = (self.exact[id].as_floats(), self.rounded[id].as_floats());
        if actual.len() != exact.len() {
            return Err(format!("{role:?} has {} elements, not {}", actual.len(), exact.len()));
        }
        let tolerance = self.allowed[id.index()];
        let mut most = 0.0;
        for (at, &actual) in actual.iter().enumerate() {
            // What overflows in f32 does so in the interpreter too.
            let wanted = if rounded[at].is_finite() { exact[at] } else { rounded[at] };
            let same = actual == wanted || actual.is_nan() && wanted.is_nan();
            let distance = (actual - wanted).abs();
            let close = wanted.is_finite() && distance <= tolerance;
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
            if !same {
                most = f64::max(most, distance / tolerance);
            }
        }
        Ok(most)
    }

    /// Panics if a result is out of bounds.
    #[track_caller]
    pub fn check(&self, what: &str, results: &Results) {
        if let Err(message) = self.compare(results) {
            panic!("{what}: {message}\n{}", self.graph);
        }
    }

    /// Whether a comparison that matters could go either way within the bounds of what is compared.
    pub fn near_kink(&self) -> bool {
        let live = self.graph.live();
        self.graph.ids().filter(|id| live[id.index()]).any(|id| match self.graph[id].op {
            Op::Compare(_) => {
                let (x, y) = (self.graph[id].operands[0], self.graph[id].operands[1]);
                let margin = self.allowed[x.index()] + self.allowed[y.index()];
                // The gradient of a maximum compares with minus infinity, which nothing is near to.
                if !margin.is_finite() {
                    return false;
                }
                let tied = |at: usize| {
                    let equal = |run: &Evaluation<'_>| run[x].as_floats()[at] == run[y].as_floats()[at];
                    equal(&self.exact) && equal(&self.rounded)
                };
                let distances =
                    self.exact[x].as_floats().iter().zip(self.exact[y].as_floats()).map(|(x, y)| (x - y).abs());
                distances.enumerate().any(|(at, distance)| !(distance > margin || tied(at)))
            }
            _ => false,
        })
    }

    /// Whether every number that matters is finite in f32 as well, so that there is something to compare.
    pub fn is_finite(&self) -> bool {
        self.graph.outputs.iter().all(|output| {
            let mut runs = [&self.exact, &self.rounded].into_iter();
            runs.all(|run| run[output.node].as_floats().iter().all(|x| x.is_finite()))
                && self.allowed[output.node.index()].is_finite()
        })
    }
}

/// Compares the results of a batch, unless they hang on how something is rounded; whether it did.
pub fn agrees(what: &str, graph: &Graph, compiled: &mut [Compiled], batch: usize, seed: u64) -> bool {
    let values = draw::singles(&draw::values(graph, batch, seed));
    // A reduction over several axes, or a tensor put together, takes more operations than the graph has.
    let wanted = Reference::new(graph, batch, &values).times(2.0);
    if !wanted.is_finite() || wanted.near_kink() {
        return false;
    }
    for (at, compiled) in compiled.iter_mut().enumerate() {
        wanted.check(&format!("{what}, {batch} rows, program {at}"), &compiled.run(batch, &values));
    }
    true
}
