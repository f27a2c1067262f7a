//! How many points of a group are a tile.

use crate::kernel::{BufferId, Fused, Group, LONG_ROWS};

use super::{Tiling, UnitRows, Units, units};

/// Units that one sample is cut into, if it has so many points.
const UNITS_OF_SAMPLE: usize = 4;
/// Fewest rows of such a unit: each reads all right operands.
const LEAST_ROWS: usize = 16;

/// How a group runs.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupTiling {
    /// Points of a tile.
    pub points: usize,
    /// Why so many.
    pub why: TilePoints,
    /// So many points, or a multiple of that, are whole blocks of every kernel that has sums of its rows.
    pub whole: usize,
    /// What several threads share of it: rows of its first kernel, whole tiles or a part of one.
    pub units: Units,
}

/// Why a tile has so many points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TilePoints {
    /// They are the rows that a product computes in one go.
    Rows(usize),
    /// With more, so many bytes that are passed on would not stay in the second cache.
    Cache(usize),
    /// There have to be whole blocks of so many rows.
    Blocks(usize),
    /// All threads work on one, of so many bytes.
    Shared(usize),
}

/// How a group runs.
pub(super) fn decide(fused: &Fused, tiling: &Tiling, group: &Group) -> GroupTiling {
    let kernels = group.kernels.clone();
    let whole = group.whole(fused);
    let most = kernels.clone().map(|index| group.rows_of(index)).max().unwrap_or(1);
    let at_once = (tiling.m_tile / most).max(1);
    // Of each point, what is passed on.
    let written = kernels.clone().flat_map(|index| &fused.kernels[index].writes).map(|write| write.buffer);
    let tiles: Vec<BufferId> = written.filter(|&buffer| fused.is_tile(buffer)).collect();
    let parts = tiles.iter().filter_map(|&buffer| group.part_of(fused, buffer));
    let passed = parts.fold(0usize, |sum, part| sum.saturating_add(part.saturating_mul(4)));
    if group.shared {
        let points = (LONG_ROWS / passed.max(1) / whole * whole).max(whole);
        let Units { alone, .. } = units::units(fused, tiling, kernels.clone());
        let rows = points * group.rows_of(kernels.start);
        let units = Units { alone, rows, why: UnitRows::Tile, ..Units::default() };
        return GroupTiling { points, why: TilePoints::Shared(passed.saturating_mul(points)), whole, units };
    }
    // A product that is not kept lies beside them until its kernel is done.
    let products = kernels
        .clone()
        .filter(|&index| fused.kernels[index].dot.is_some() && fused.dot_buffer(&fused.kernels[index]).is_none());
    let product = products.map(|index| 4 * group.rows_of(index) * fused.kernels[index].cols()).max();
    let bytes = passed.saturating_add(product.filter(|_| passed > 0).unwrap_or(0));
    let fits = (tiling.machine.second_cache / bytes.max(1)).max((tiling.skinny_rows / most).max(1));
    let wanted = at_once.min(fits).next_multiple_of(whole);
    let points = if wanted > at_once && at_once >= whole { at_once / whole * whole } else { wanted };
    let why = match () {
        () if points > at_once => TilePoints::Blocks(fused.kernels[kernels.start].block),
        () if points < at_once / whole * whole => TilePoints::Cache(bytes.saturating_mul(at_once)),
        () => TilePoints::Rows(tiling.m_tile),
    };
    let mut units = units::units(fused, tiling, kernels.clone());
    if let Some(sum) = group.points_of_sum() {
        let rows = sum * group.rows_of(kernels.start);
        let units = Units { alone: units.alone, rows, why: UnitRows::Sums, ..Units::default() };
        return GroupTiling { points, why, whole, units };
    }
    let mut unit = units.rows.div_ceil(most).next_multiple_of(whole).min(points);
    // One sample of many points is shared by its rows, rather than by the columns of one product after the other.
    let sample = group.points().factor();
    let several = (sample / UNITS_OF_SAMPLE).max(LEAST_ROWS.div_ceil(most)).next_multiple_of(whole).min(unit);
    if group.points().is_batch() && 2 * several <= sample {
        (unit, units.columns) = (several, None);
        units.why = UnitRows::Sample;
    }
    units.rows = unit * group.rows_of(kernels.start);
    units.merged = units::merged(fused, tiling, kernels, &units);
    GroupTiling { points, why, whole, units }
}
