//! Where the time of a training step goes, layer by layer.
//!
//! In: a batch. Out: times from a step whose kernels are timed one by one, beside what each has to do at least. A kernel
//! may work for several layers and passes; its time is shared among them as the peak rates would share it.

use std::fmt;
use std::time::Instant;

use super::any::AnySession;
use super::buffer;
use super::programs::Kind;
use super::{Error, Network, Session, feed};
use crate::compile::{Purpose, compile};
use crate::ir::{Graph, Pass, Role, SlotKind};
use crate::kernel::{Cost, Fused, costs};
use crate::memory::{Memory, Params};
use crate::microkernels::peak::Peak;
use crate::plan::Location;
use crate::tensor::Tensor;

/// Steps are repeated until there are this many, and this many seconds have gone by.
const LEAST: usize = 5;
const SECONDS: f64 = 0.1;

/// Where the time of a training step goes. `{}` prints its layers, `{:#}` its kernels as well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The rows of the batch.
    pub rows: usize,
    /// A step on one thread without timing in between, in seconds: the shortest.
    pub step: f64,
    /// The layers, loss and metrics, in the order of the declaration.
    pub layers: Vec<LayerProfile>,
    /// The kernels, in the order in which they run.
    pub kernels: Vec<KernelProfile>,
    /// What one core can do at most.
    pub peak: Peak,
}

/// What a layer takes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerProfile {
    /// Its path, or the name of a loss or metric, or `optimizer`.
    pub layer: String,
    /// From its input to its output, with the running statistics.
    pub forward: Work,
    /// The gradients by its input and parameters.
    pub backward: Work,
    /// The update of its parameters, as far as it is not part of a gradient's kernel.
    pub update: Work,
}

/// What a kernel takes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KernelProfile {
    /// The layers that it works for.
    pub layers: Vec<String>,
    /// All of it.
    pub work: Work,
}

/// Time, and what was done in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Work {
    /// The time of a step, in seconds: for every kernel the shortest of several.
    pub seconds: f64,
    /// Floating-point operations, as the summary of a session counts them.
    pub flops: f64,
    /// Bytes read and written by kernels, each value once a kernel; what stays in a cache is counted as well.
    pub bytes: f64,
}

impl Work {
    /// The time that the peak rates allow, over the time it took: the roofline (Williams, Waterman & Patterson 2009). Above 1
    /// where the data are in a cache, which is faster than the memory behind it.
    pub fn of_roofline(&self, peak: &Peak) -> f64 {
        (self.flops / peak.flops).max(self.bytes / peak.bytes) / self.seconds
    }

    fn add(&mut self, other: Work) {
        self.seconds += other.seconds;
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

impl LayerProfile {
    /// All passes together.
    pub fn sum(&self) -> Work {
        let mut sum = self.forward;
        sum.add(self.backward);
        sum.add(self.update);
        sum
    }

    /// Every pass for itself against the roofline.
    fn of_roofline(&self, peak: &Peak) -> f64 {
        let passes = [self.forward, self.backward, self.update];
        let allowed = passes.iter().filter(|work| work.seconds > 0.0).map(|work| work.of_roofline(peak) * work.seconds);
        allowed.sum::<f64>() / self.sum().seconds
    }
}

impl<N: Network> Session<N> {
    /// Runs training steps on a batch and one thread, with every kernel timed, and says where the time goes. It works on a
    /// copy of the training state: the session is as it was. The program is compiled for this call; `step` itself is never
    /// timed. Of kernels that run tile by tile, the times of all tiles are added up.
    ///
    /// # Errors
    /// As for [`Session::step`].
    pub fn profile<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Profile, Error> {
        self.any.profile(&feed::gather::<N>(inputs, Some(targets)))
    }
}

impl AnySession {
    fn profile(&mut self, tensors: &[Tensor<'_>]) -> Result<Profile, Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.fill_scalars();
        let compilation = compile(self.definition, Purpose::Train(&self.config), self.target());
        let (program, fused, graph) = (compilation.timed_program()?, compilation.fused()?, compilation.legalized()?);
        let mut seconds = vec![f64::INFINITY; fused.kernels.len()];
        let mut step = f64::INFINITY;
        let mut params = buffer::params(&self.programs[Kind::Train])?;
        let own = params.len();
        params.floats_mut().copy_from_slice(&self.params.floats()[..own]);
        let more = program.arena > self.arena.floats().len();
        let mut larger = more.then(|| buffer::arena(&program, self.max_batch)).transpose()?;
        let (arena, scalars) = (larger.as_mut().unwrap_or(&mut self.arena), &self.scalars[..]);
        let start = Instant::now();
        let mut runs = 0;
        while runs < LEAST || start.elapsed().as_secs_f64() < SECONDS {
            let finite = self.feed.with(tensors, |inputs| {
                let (arena, floats) = (arena.floats_mut(), params.floats_mut());
                let before = Instant::now();
                let params = Params::Own(&mut *floats);
                let finite = self.programs[Kind::Train].code.run(Memory {
                    arena: &mut *arena,
                    params,
                    scalars,
                    inputs,
                    batch: rows,
                });
                step = step.min(before.elapsed().as_secs_f64());
                let shortest = |kernel: usize, took: f64| seconds[kernel] = took.min(seconds[kernel]);
                let params = Params::Own(floats);
                finite && program.code.run_timed(Memory { arena, params, scalars, inputs, batch: rows }, shortest)
            });
            if !finite && runs == 0 {
                let loss = match program.result(&Role::Loss) {
                    Some(Location::Arena(at)) => arena.floats()[at],
                    _ => f32::NAN,
                };
                return Err(self.not_finite(loss, tensors, rows).into());
            }
            // Repeated on one batch, training may well diverge: what was measured until then stands.
            if !finite {
                break;
            }
            runs += 1;
        }
        let peak = Peak::measure();
        let mut profile = Profile { rows, step, layers: Vec::new(), kernels: Vec::new(), peak };
        profile.share(fused, graph, &seconds);
        Ok(profile)
    }
}

impl Profile {
    /// Distributes the times of the kernels over the layers.
    fn share(&mut self, fused: &Fused, graph: &Graph, seconds: &[f64]) {
        let passes = passes(graph);
        // In the order of the declaration: a forward operation comes before everything that is made from it.
        for id in graph.ids().filter(|id| !graph[*id].op.is_leaf() && passes[id.index()] == Pass::Forward) {
            self.layer(&graph[id].origin.layer);
        }
        for (index, &seconds) in seconds.iter().enumerate() {
            let parts = costs(fused, index);
            let weights: Vec<f64> = parts.iter().map(|(_, cost)| self.seconds_at_peak(cost)).collect();
            let total: f64 = weights.iter().sum();
            let mut whole = KernelProfile { layers: Vec::new(), work: Work::default() };
            for ((id, cost), weight) in parts.iter().zip(&weights) {
                let share = if total > 0.0 { weight / total } else { 1.0 / parts.len() as f64 };
                let (flops, bytes) = (cost.flops.at(self.rows) as f64, cost.bytes.at(self.rows) as f64);
                let work = Work { seconds: share * seconds, flops, bytes };
                let name = &*graph[*id].origin.layer;
                whole.work.add(work);
                if !whole.layers.iter().any(|known| known == name) {
                    whole.layers.push(name.to_string());
                }
                let layer = self.layer(name);
                match passes[id.index()] {
                    Pass::Forward => layer.forward.add(work),
                    Pass::Backward => layer.backward.add(work),
                    Pass::Update => layer.update.add(work),
                }
            }
            self.kernels.push(whole);
        }
        self.layers.retain(|layer| layer.sum().seconds > 0.0);
    }

    fn seconds_at_peak(&self, cost: &Cost) -> f64 {
        cost.flops.at(self.rows) as f64 / self.peak.flops + cost.bytes.at(self.rows) as f64 / self.peak.bytes
    }

    fn layer(&mut self, name: &str) -> &mut LayerProfile {
        let index = self.layers.iter().position(|layer| layer.layer == name).unwrap_or_else(|| {
            let [forward, backward, update] = [Work::default(); 3];
            self.layers.push(LayerProfile { layer: name.to_string(), forward, backward, update });
            self.layers.len() - 1
        });
        &mut self.layers[index]
    }
}

/// Forward is what loss, metrics and running statistics are made from.
fn passes(graph: &Graph) -> Vec<Pass> {
    let forward = graph.outputs.iter().filter(|output| match output.role {
        Role::Loss | Role::Metric(_) | Role::Output(_) => true,
        Role::Update(param) => graph.slots.params[param].kind == SlotKind::Running,
        Role::Gradient(_) | Role::Probe(_) => false,
    });
    let mut passes = vec![Pass::Backward; graph.nodes.len()];
    forward.for_each(|output| passes[output.node.index()] = Pass::Forward);
    for id in graph.ids().rev() {
        if passes[id.index()] == Pass::Forward {
            graph[id].operands.iter().for_each(|operand| passes[operand.index()] = Pass::Forward);
        } else if graph[id].origin.pass == Pass::Update {
            passes[id.index()] = Pass::Update;
        }
    }
    passes
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels: f64 = self.kernels.iter().map(|kernel| kernel.work.seconds).sum();
        writeln!(
            f,
            "a step on {} rows: {:.1} us, {} kernels: {:.1} us; at most {:.0} GFLOP/s and {:.0} GB/s on one core",
            self.rows,
            1e6 * self.step,
            self.kernels.len(),
            1e6 * kernels,
            self.peak.flops / 1e9,
            self.peak.bytes / 1e9,
        )?;
        let wide = |names: &mut dyn Iterator<Item = usize>| names.max().unwrap_or(0).max(5);
        let width = wide(&mut self.layers.iter().map(|layer| layer.layer.chars().count()));
        writeln!(f, "{:width$}  forward, us  backward, us  update, us  GFLOP/s     GB/s  of the roofline", "layer")?;
        for layer in &self.layers {
            let [forward, backward, update] =
                [layer.forward, layer.backward, layer.update].map(|work| 1e6 * work.seconds);
            let sum = layer.sum();
            writeln!(
                f,
                "{:width$}  {forward:>11.2}  {backward:>12.2}  {update:>10.2}  {:>7.1}  {:>7.1}  {:>13.0} %",
                layer.layer,
                sum.flops / sum.seconds / 1e9,
                sum.bytes / sum.seconds / 1e9,
                100.0 * layer.of_roofline(&self.peak),
            )?;
        }
        if !f.alternate() {
            return Ok(());
        }
        let names: Vec<String> = self.kernels.iter().map(|kernel| kernel.layers.join(" ")).collect();
        let width = wide(&mut names.iter().map(|name| name.chars().count()));
        writeln!(f, "\nkernel  {:width$}         us    MFLOP       kB  GFLOP/s     GB/s  of the roofline", "layers")?;
        for (index, (kernel, name)) in self.kernels.iter().zip(&names).enumerate() {
            let work = kernel.work;
            writeln!(
                f,
                "{index:>6}  {name:width$}  {:>9.2}  {:>7.2}  {:>7.1}  {:>7.1}  {:>7.1}  {:>13.0} %",
                1e6 * work.seconds,
                work.flops / 1e6,
                work.bytes / 1e3,
                work.flops / work.seconds / 1e9,
                work.bytes / work.seconds / 1e9,
                100.0 * work.of_roofline(&self.peak),
            )?;
        }
        Ok(())
    }
}
