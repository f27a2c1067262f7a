//! One network, compiled for one purpose: the stages one after the other, and what each of them leaves.

use std::cell::OnceCell;

use super::graphs::{self, Forward, Whole};
use super::{Program, Purpose, Stage, Target};
use crate::diagnose::Measure;
use crate::error::BuildError;
use crate::fuse::{fuse_legalized, group, legalize_mapped, unfused};
use crate::ir::rewrite::NodeMap;
use crate::ir::{Graph, NodeId};
use crate::jit::{self, Text};
use crate::kernel::Fused;
use crate::lower::check;
use crate::microkernels::pages;
use crate::network::Definition;
use crate::plan::{self, Plan};
use crate::sentinel::Replay;
use crate::simplify::simplify_mapped;
use crate::tiling::{Keep, tile};

/// The stages of a network that is compiled for a purpose. Each is computed when it or a later one is first asked for; a mistake
/// in the declaration or a setting is the error of the first stage that finds it.
#[derive(Debug)]
pub struct Compilation<'a> {
    definition: &'static Definition<'static>,
    purpose: Purpose<'a>,
    target: Target,
    forward: OnceCell<Forward>,
    whole: OnceCell<Whole>,
    simplified: OnceCell<(Graph, NodeMap)>,
    legalized: OnceCell<(Graph, NodeMap)>,
    fused: OnceCell<Fused>,
    plan: OnceCell<Plan>,
}

/// Compiles a network: the stages are the methods of the result.
pub fn compile<'a>(definition: &'static Definition<'static>, purpose: Purpose<'a>, target: Target) -> Compilation<'a> {
    let (forward, whole, simplified, legalized) = Default::default();
    let (fused, plan) = Default::default();
    Compilation { definition, purpose, target, forward, whole, simplified, legalized, fused, plan }
}

/// The graph that is compiled for a purpose.
pub fn simplified(definition: &'static Definition<'static>, purpose: Purpose<'_>) -> Result<Graph, BuildError> {
    compile(definition, purpose, Target::new(1)).into_simplified()
}

impl Compilation<'_> {
    /// The declaration in primitive operations, in the forms that keep their digits.
    pub fn forward(&self) -> Result<&Graph, BuildError> {
        Ok(&self.lowered()?.graph)
    }

    fn lowered(&self) -> Result<&Forward, BuildError> {
        once(&self.forward, || graphs::forward(self.definition, self.purpose))
    }

    /// With gradients and updates, as far as the purpose wants them; before all rewrites that only save work.
    pub fn graph(&self) -> Result<&Graph, BuildError> {
        Ok(&self.whole()?.graph)
    }

    fn whole(&self) -> Result<&Whole, BuildError> {
        once(&self.whole, || graphs::whole(self.definition, self.purpose, self.lowered()?))
    }

    /// Without the work that changes no result.
    pub fn simplified(&self) -> Result<&Graph, BuildError> {
        Ok(&self.rewritten()?.0)
    }

    fn rewritten(&self) -> Result<&(Graph, NodeMap), BuildError> {
        once(&self.simplified, || {
            let (graph, map) = simplify_mapped(self.graph()?);
            Ok((graphs::checked(graph), map))
        })
    }

    /// As kernels can compute it.
    pub fn legalized(&self) -> Result<&Graph, BuildError> {
        Ok(&self.legal()?.0)
    }

    fn legal(&self) -> Result<&(Graph, NodeMap), BuildError> {
        once(&self.legalized, || {
            let (graph, map) = legalize_mapped(self.simplified()?);
            Ok((graphs::checked(graph), map))
        })
    }

    /// The kernels, in groups. What they compute is numbered as in [`Compilation::legalized`].
    pub fn fused(&self) -> Result<&Fused, BuildError> {
        once(&self.fused, || {
            let fused = fuse_legalized(self.legalized()?, self.target.winograd);
            Ok(group(fused, &self.target.budget()))
        })
    }

    /// How the kernels run, and where everything lies.
    pub fn plan(&self) -> Result<&Plan, BuildError> {
        once(&self.plan, || {
            let fused = self.fused()?;
            let tiling = tile(fused, self.target.max_batch, self.target.machine());
            plan::plan(fused, tiling.keeping(fused, self.keep()))
        })
    }

    /// The program. Of all that the stages left, only the kernels are there while code is generated, and nothing afterwards.
    pub fn into_program(self) -> Result<Program, BuildError> {
        let (target, keep) = (self.target, self.keep());
        let fused = self.into_fused()?;
        let program = Program::of_kernels(&fused, target, keep)?.moved();
        drop(fused);
        pages::give_back();
        Ok(program)
    }

    fn keep(&self) -> Keep {
        self.target.keep.unwrap_or(self.purpose.keeps())
    }

    /// [`Compilation::fused`] alone.
    pub fn into_fused(self) -> Result<Fused, BuildError> {
        self.fused()?;
        Ok(self.fused.into_inner().expect("it was asked for"))
    }

    /// A program of the same kernels, for one thread, that says how long each of them took.
    pub fn timed_program(&self) -> Result<Program, BuildError> {
        Program::timed(self.fused()?, self.target)
    }

    /// The graph without rewrites, to be replayed where a number is not finite.
    pub fn into_replay(self) -> Result<Replay, BuildError> {
        self.whole()?;
        Ok(Replay { graph: self.whole.into_inner().expect("it was asked for").graph })
    }

    /// [`Compilation::simplified`] alone.
    pub fn into_simplified(self) -> Result<Graph, BuildError> {
        self.rewritten()?;
        Ok(self.simplified.into_inner().expect("it was asked for").0)
    }

    /// What the results of [`Purpose::Diagnose`] measure.
    pub fn measures(&self) -> Result<&[Measure], BuildError> {
        Ok(&self.whole()?.measures)
    }

    /// The running statistics that the results of [`Purpose::Recalibrate`] are, as slots of parameters.
    pub fn statistics(&self) -> Result<&[usize], BuildError> {
        Ok(&self.whole()?.statistics)
    }

    /// The kernels that compute a node of [`Compilation::graph`]; none where it was simplified away or takes no computation.
    pub fn kernels_of(&self, node: NodeId) -> Result<Vec<usize>, BuildError> {
        let (simplified, legalized) = (&self.rewritten()?.1, &self.legal()?.1);
        let Some(node) = simplified.get(node).and_then(|node| legalized.get(node)) else { return Ok(Vec::new()) };
        let kernels = self.fused()?.kernels.iter().enumerate();
        Ok(kernels.filter(|(_, kernel)| kernel.computes(node)).map(|(index, _)| index).collect())
    }

    /// The text of a stage. Stages that know of a machine are printed for that of [`Target::printed`].
    pub fn text(&self, stage: Stage) -> Result<String, BuildError> {
        Ok(match stage {
            Stage::Static => check(self.definition)?.to_string(),
            Stage::Forward => self.forward()?.to_string(),
            Stage::Backward => match self.purpose {
                purpose if purpose.predicts() => self.forward()?.to_string(),
                Purpose::Evaluate => self.forward()?.to_string(),
                Purpose::Train(config) => {
                    compile(self.definition, Purpose::Gradients(Some(config)), self.target).graph()?.to_string()
                }
                _ => self.graph()?.to_string(),
            },
            Stage::Simplified => self.simplified()?.to_string(),
            Stage::Legalized => self.legalized()?.to_string(),
            Stage::Fused => {
                let apart = unfused(self.legalized()?);
                Fused { unfused: Some(apart), ..self.fused()?.clone() }.to_string()
            }
            Stage::Plan => plan::text(self.plan()?, self.fused()?),
            Stage::Clif => jit::text_keeping(self.fused()?, self.target.max_batch, self.keep(), Text::Clif)?,
            Stage::Asm => jit::text_keeping(self.fused()?, self.target.max_batch, self.keep(), Text::Asm)?,
        })
    }
}

/// What is in the cell, made if nothing is.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, BuildError>) -> Result<&T, BuildError> {
    match cell.get() {
        Some(made) => Ok(made),
        None => {
            let made = make()?;
            Ok(cell.get_or_init(|| made))
        }
    }
}
