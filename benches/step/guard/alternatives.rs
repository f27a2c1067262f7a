//! A program as it is picked, and with each choice of its tiling forced the other way.

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::init::Random;
use gradloom_runtime::jit::{Code, Pool, compile};
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::memory::{Input, Memory, Params};
use gradloom_runtime::plan::plan;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::matmul::{Left, Packed, Panels, Right};
use gradloom_runtime::tiling::{Alone, Isa, Machine, Matmul, Prefetch, Tiling, UnitRows, Wide, tile};

use super::Variant;
use super::shapes::Program;
use crate::Result;

/// Changes a choice wherever it was made; a tiling that stays as it is was no alternative.
type Force = fn(&Fused, &mut Tiling);

/// What else might be picked.
const ALTERNATIVES: [(&str, Force); 14] = [
    ("product called", called),
    ("product written out", written_out),
    ("right operand packed once", packed),
    ("right operand not packed once", not_packed),
    ("128 rows at a time", |_, tiling| rows(tiling, 128)),
    ("512 rows at a time", |_, tiling| rows(tiling, 512)),
    ("vectors of 4", |_, tiling| narrow(tiling)),
    ("prefetched", |_, tiling| {
        prefetch(tiling, |prefetch| match prefetch {
            Prefetch::Cached(bytes) => Prefetch::Ahead { elements: 256, bytes },
            other => other,
        });
    }),
    ("not prefetched", |_, tiling| prefetch(tiling, |_| Prefetch::Nothing)),
    ("2 vectors at a time", |_, tiling| vectors(tiling, 2)),
    ("4 vectors at a time", |_, tiling| vectors(tiling, 4)),
    ("units of a block", |fused, tiling| {
        for (kernel, tiling) in fused.kernels.iter().zip(&mut tiling.kernels) {
            (tiling.units.rows, tiling.units.why) = (kernel.block, UnitRows::Block);
        }
    }),
    ("not by columns", |_, tiling| tiling.kernels.iter_mut().for_each(|kernel| kernel.units.columns = None)),
    ("on one thread", |_, tiling| {
        tiling.kernels.iter_mut().for_each(|kernel| kernel.units.alone = Some(Alone::Short(0.0)));
    }),
];

/// Names of alternatives that one thread does not notice.
const OF_THREADS: [&str; 3] = ["units of a block", "not by columns", "on one thread"];

/// The pick, then what differs from it.
pub fn variants(program: &Program, threads: usize) -> Result<Vec<Variant<'static>>> {
    let apart = fuse(&simplify(&program.graph));
    let fused = group(apart.clone(), &Budget::new(program.batch));
    let machine = Machine::of(Isa::detect()).with_cores(threads);
    let pick = tile(&fused, program.batch, machine);
    let mut variants = vec![("the pick".to_string(), runner(&fused, pick.clone())?)];
    for (name, force) in ALTERNATIVES {
        let mut tiling = pick.clone();
        force(&fused, &mut tiling);
        let noticed = threads > 1 || !OF_THREADS.contains(&name);
        if noticed && differs(&fused, &pick, &tiling) {
            variants.push((name.to_string(), runner(&fused, tiling)?));
        }
    }
    if !fused.groups.is_empty() {
        let tiling = tile(&apart, program.batch, machine);
        variants.push(("kernels one after the other".to_string(), runner(&apart, tiling)?));
    }
    Ok(variants)
}

/// Whether two tilings do something else, rather than say something else.
fn differs(fused: &Fused, pick: &Tiling, other: &Tiling) -> bool {
    let rows = fused.kernels.iter().filter(|kernel| kernel.dot.is_some());
    let most = rows.map(|kernel| kernel.row_count().at(pick.max_batch)).max().unwrap_or(0);
    let parts = |tiling: &Tiling| most.div_ceil(tiling.m_tile);
    let text = |tiling: &Tiling| {
        let groups = (0..fused.groups.len()).map(|index| tiling.group_lines(index));
        groups.chain((0..fused.kernels.len()).map(|index| tiling.lines(index, false))).collect::<Vec<_>>()
    };
    parts(pick) != parts(other) || (pick.m_tile == other.m_tile && text(pick) != text(other))
}

/// So many rows of a product in one go, and of a tile.
fn rows(tiling: &mut Tiling, rows: usize) {
    tiling.groups.iter_mut().for_each(|group| {
        let points = group.points * rows / tiling.m_tile;
        group.points = (points / group.whole * group.whole).max(group.whole);
    });
    tiling.m_tile = rows;
}

fn called(_: &Fused, tiling: &mut Tiling) {
    for kernel in tiling.kernels.iter_mut().filter(|kernel| kernel.is_inline()) {
        kernel.matmul =
            Some(Matmul::Called { left: Left::InPlace, right: Right::Panels(Panels::Skinny(0)), skinny: None });
    }
}

fn written_out(fused: &Fused, tiling: &mut Tiling) {
    /// Beyond it nobody would.
    const MOST: usize = 1 << 16;
    let max_batch = tiling.max_batch;
    for (kernel, tiling) in fused.kernels.iter().zip(&mut tiling.kernels) {
        let Some(dot) = kernel.dot.as_ref().filter(|_| kernel.has_plain_dot()) else { continue };
        let multiplications = kernel.row_count().at(max_batch) * kernel.cols() * dot.inner().at(max_batch);
        if multiplications <= MOST {
            tiling.matmul = Some(Matmul::WrittenOut { multiplications });
        }
    }
}

fn packed(fused: &Fused, tiling: &mut Tiling) {
    for (kernel, tiling) in fused.kernels.iter().zip(&mut tiling.kernels) {
        let several = kernel.dot.is_some() && kernel.has_plain_dot() && !tiling.is_packed();
        if let Some(Matmul::Called { right, .. }) = tiling.matmul.as_mut().filter(|_| several) {
            *right = Right::Packed(Packed::Stays(0));
        }
    }
}

fn not_packed(_: &Fused, tiling: &mut Tiling) {
    for kernel in tiling.kernels.iter_mut().filter(|kernel| kernel.is_packed()) {
        if let Some(Matmul::Called { right, .. }) = &mut kernel.matmul {
            *right = Right::Panels(Panels::Large(0));
        }
    }
}

fn narrow(tiling: &mut Tiling) {
    tiling.kernels.iter_mut().flat_map(|kernel| &mut kernel.stages).for_each(|stage| stage.wide = Wide::None);
}

fn prefetch(tiling: &mut Tiling, change: impl Fn(Prefetch) -> Prefetch) {
    let stages = tiling.kernels.iter_mut().flat_map(|kernel| &mut kernel.stages);
    // What was not prefetched because it is cached says so, and stays.
    for stage in stages {
        let changed = change(stage.prefetch);
        let both_nothing = !matches!(stage.prefetch, Prefetch::Ahead { .. }) && changed == Prefetch::Nothing;
        stage.prefetch = if both_nothing { stage.prefetch } else { changed };
    }
}

fn vectors(tiling: &mut Tiling, vectors: usize) {
    let stages = tiling.kernels.iter_mut().flat_map(|kernel| &mut kernel.stages);
    stages
        .filter(|stage| !matches!(stage.wide, Wide::Lanes(_) | Wide::Down { .. }))
        .for_each(|stage| stage.vectors = vectors);
}

/// One run of a program of this tiling.
fn runner(fused: &Fused, tiling: Tiling) -> Result<Box<dyn FnMut()>> {
    let (batch, threads) = (tiling.max_batch, tiling.machine.cores);
    let plan = plan(fused, tiling)?;
    let code: Code = compile(fused, &plan)?;
    let mut pool = (threads > 1).then(|| Pool::new(threads)).transpose()?;
    if let Some(pool) = &mut pool {
        code.reserve(pool);
    }
    let mut random = Random::new(1, 0);
    let mut numbers = |len: usize| (0..len).map(|_| 0.1 * random.normal() as f32).collect::<Vec<f32>>();
    let inputs: Vec<Vec<f32>> = fused.slots.inputs.iter().map(|slot| numbers(slot.ty.shape.len_at(batch))).collect();
    let mut params = numbers(plan.params_len);
    let mut arena = vec![0.0; plan.with_scratch(threads)];
    Ok(Box::new(move || {
        let inputs: Vec<Input<'_>> = inputs.iter().map(|input| Input::Float(input)).collect();
        let params = Params::Own(&mut params);
        let memory = Memory { arena: &mut arena, params, scalars: &[], inputs: &inputs, batch };
        match &mut pool {
            Some(pool) => code.run_on(pool, memory),
            None => code.run(memory),
        };
    }))
}
