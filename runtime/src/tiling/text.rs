//! What was decided of a kernel and why, as text.

use std::fmt;

use super::matmul::{Ahead, Left, Packed, Panels, Right, RunsLeft, RunsRight};
use super::{
    Alone, Columns, GroupTiling, Kept, KeptRight, KernelTiling, LoopTiling, Matmul, Prefetch, RowPrefetch,
    SamplePrefetch, StageTiling, TilePoints, Tiling, Turns, UnitRows, Units, Wide, WindowPrefetch,
};
use crate::kernel::{Against, grouped};

/// Bytes in words.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 1 << 20 => write!(f, "{:.1} KiB", bytes as f64 / 1024.0),
            bytes => write!(f, "{:.1} MiB", bytes as f64 / (1 << 20) as f64),
        }
    }
}

impl Tiling {
    /// What was decided of a group, a line for each choice.
    pub fn group_lines(&self, group: usize) -> Vec<String> {
        let GroupTiling { points, why, units, .. } = &self.groups[group];
        vec![format!("in tiles of {points} point{}: {why}", if *points == 1 { "" } else { "s" }), units.to_string()]
    }

    /// What was decided of a loop, a line for each choice.
    pub fn loop_lines(&self, number: usize) -> Vec<String> {
        let LoopTiling { samples, bytes, units } = &self.loops[number];
        let alone = units.alone == Some(Alone::AllSamples);
        let cut = format!("{samples} samples take all steps together: a step passes on {}", Bytes(*bytes));
        Some(cut).filter(|_| !alone).into_iter().chain([units.to_string()]).collect()
    }

    /// What was decided of a kernel, a line for each choice. `grouped` kernels are cut with their group.
    pub fn lines(&self, kernel: usize, grouped: bool) -> Vec<String> {
        let KernelTiling { matmul, stages, turns, units, kept, row_prefetch, sample_prefetch, window_prefetch } =
            &self.kernels[kernel];
        let mut lines: Vec<String> = matmul.iter().map(|matmul| format!("matmul {matmul}")).collect();
        lines.extend(kept.iter().map(Kept::to_string));
        lines.extend(row_prefetch.iter().map(RowPrefetch::to_string));
        lines.extend(sample_prefetch.iter().map(SamplePrefetch::to_string));
        lines.extend(window_prefetch.iter().map(WindowPrefetch::to_string));
        for (number, stage) in stages.iter().enumerate() {
            match stages.len() {
                1 => lines.push(format!("elements {stage}")),
                _ => lines.push(format!("stage {number} {stage}")),
            }
        }
        lines.extend(turns.iter().map(Turns::to_string));
        if !grouped {
            lines.push(units.to_string());
        }
        lines
    }
}

impl fmt::Display for TilePoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TilePoints::Rows(rows) => write!(f, "products compute {rows} rows in one go"),
            TilePoints::Cache(bytes) => {
                write!(f, "{} that are passed on do not stay in the second cache", Bytes(*bytes))
            }
            TilePoints::Blocks(rows) => write!(f, "whole blocks of {rows} rows"),
            TilePoints::Shared(bytes) => write!(f, "{} are passed on, for all threads together", Bytes(*bytes)),
        }
    }
}

impl fmt::Display for Matmul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matmul::WrittenOut { multiplications } => {
                write!(f, "written out: {} multiplications", grouped(*multiplications as u64))
            }
            Matmul::Winograd { ahead, saved } => {
                let ahead = match ahead {
                    Ahead::Taps => "taps are transformed once".to_string(),
                    Ahead::Sums { images } => {
                        format!("sums of all positions are made ahead, those of {images} images by themselves")
                    }
                };
                let saved = grouped(*saved as u64);
                write!(f, "in squares of 2 x 2 windows, which takes {saved} multiplications fewer an image: {ahead}")
            }
            Matmul::InRuns { left: RunsLeft::Across(terms), .. } => {
                write!(
                    f,
                    "of {terms} terms, each for a register of rows that are adjacent, right operand read in place"
                )
            }
            Matmul::InRuns { left: RunsLeft::Gathered(terms), .. } => {
                write!(f, "of {terms} terms that are gathered for some rows at a time, right operand read in place")
            }
            Matmul::InRuns { left: RunsLeft::GatheredRows(rows), .. } => {
                write!(f, "of {rows} rows that are gathered for some terms at a time, right operand read in place")
            }
            Matmul::InRuns { left: RunsLeft::ByColumn { lines }, right, .. } => {
                let order = if *lines {
                    "line by line with all columns, as it stays in the first cache"
                } else {
                    "panel by panel"
                };
                write!(f, "column by column, each with terms of its own: right operand {right}, {order}")
            }
            Matmul::InRuns { right, against, .. } => {
                write!(f, "in runs of terms: right operand {right}")?;
                match against {
                    None => Ok(()),
                    Some(Against::Squares(squares)) => {
                        write!(f, "; not in squares: so few, {squares} an image, do not repay transformed taps")
                    }
                    Some(Against::Sums(bytes)) => {
                        write!(f, "; not in squares: sums of {} do not stay in a cache", Bytes(*bytes))
                    }
                    Some(Against::Forbidden) => f.write_str("; not in squares: that is forbidden"),
                }
            }
            Matmul::Called { left, right, skinny } => {
                write!(f, "called: left operand {left}, right operand {right}")?;
                match skinny {
                    Some((rows, bytes)) => {
                        write!(f, "; on one thread up to {rows} rows read {} of it in long runs", Bytes(*bytes))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Left::InPlace => f.write_str("read in place"),
            Left::Scattered => f.write_str("packed tile by tile as neither rows nor terms are adjacent"),
            Left::Conflicting(bytes) => {
                write!(f, "packed tile by tile as lines {} apart compete for one place in a cache", Bytes(*bytes))
            }
            Left::Partly(bytes) => write!(f, "packed tile by tile as a tile uses {bytes} bytes of each line"),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::InPlace => f.write_str("read in place"),
            Right::Packed(Packed::Stays(bytes)) => {
                write!(f, "packed once: {} stay in the second cache", Bytes(*bytes))
            }
            Right::Packed(Packed::ManyRows(rows)) => write!(f, "packed once: {rows} rows repay it"),
            Right::Panels(Panels::Skinny(rows)) => write!(f, "packed panel by panel for {rows} rows"),
            Right::Panels(Panels::Large(bytes)) => {
                write!(f, "packed panel by panel: {} do not stay in a cache", Bytes(*bytes))
            }
            Right::Panels(Panels::Batched) => f.write_str("packed panel by panel, one for each matmul"),
            Right::Kept => f.write_str("packed for all runs"),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kept::Results => f.write_str("runs when a parameter has changed: it reads nothing else"),
            Kept::Taps(bytes) => write!(f, "keeps the taps as they are transformed, {}", Bytes(bytes)),
            Kept::Right(KeptRight { bytes, rows, percent }) => {
                let rows = format!("{rows} row{}", if rows == 1 { "" } else { "s" });
                let bytes = Bytes(bytes);
                write!(f, "keeps the right operand as it is packed, {bytes}: packing takes {percent} % of {rows}")
            }
        }
    }
}

impl fmt::Display for RowPrefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowPrefetch { rows, bytes, .. } = self;
        let bytes = Bytes(*bytes);
        write!(
            f,
            "{rows} rows in one go, while what their elements meet is prefetched: {bytes} do not stay in the second cache"
        )
    }
}

impl fmt::Display for SamplePrefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Bytes(self.bytes);
        write!(f, "operands of the next sample are prefetched: {bytes} do not stay in the second cache")
    }
}

impl fmt::Display for WindowPrefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Bytes(self.bytes);
        write!(f, "between products, what follows is prefetched: {bytes} do not stay in the second cache")
    }
}

impl fmt::Display for RunsRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunsRight::InPlace => f.write_str("read in place"),
            RunsRight::Apart => f.write_str("packed panel by panel as columns are not adjacent"),
            RunsRight::Narrow(cols) => write!(f, "packed panel by panel as {cols} columns leave a register in part"),
        }
    }
}

impl fmt::Display for StageTiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wide {
            Wide::Lanes(lanes) => match self.together {
                Some(run) => write!(f, "in vectors of {lanes}, one call for many runs of {run}")?,
                None => write!(f, "in vectors of {lanes}")?,
            },
            Wide::Down { lanes, across } => {
                let across = if across > 1 { format!("up to {across} side by side ") } else { String::new() };
                write!(f, "in vectors of {lanes}, {across}down the rows as they are short")?;
            }
            Wide::Short(elements) => write!(f, "{} vectors of 4 at a time: {elements} in a run", self.vectors)?,
            Wide::None => write!(f, "{} vectors of 4 at a time", self.vectors)?,
        }
        if self.constants {
            f.write_str(", constants in registers")?;
        }
        match self.prefetch {
            Prefetch::Ahead { elements, bytes } => {
                write!(f, "; prefetched {elements} ahead: {} do not stay in the second cache", Bytes(bytes))
            }
            Prefetch::NextRow { bytes } => {
                write!(f, "; the next row prefetched: {} do not stay in the second cache", Bytes(bytes))
            }
            Prefetch::Cached(bytes) => write!(f, "; not prefetched: {} stay in the second cache", Bytes(bytes)),
            Prefetch::Nothing => Ok(()),
        }
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Turns { rows, bytes } = *self;
        write!(f, "each stage for {rows} rows: none waits for its sum, and {} stay in the first cache", Bytes(bytes))
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alone {
            Some(Alone::AllSamples) => return f.write_str("on one thread: a step needs all samples"),
            Some(Alone::InOrder) => return f.write_str("on one thread: rows are added in their order"),
            Some(Alone::Short(time)) => return write!(f, "on one thread: about {time:.0} ns"),
            Some(Alone::OneBlock(rows)) => {
                return write!(f, "on one thread: a block, {rows} row{}", if rows == 1 { "" } else { "s" });
            }
            None => write!(f, "in units of {} rows", self.merged * self.rows)?,
        }
        match self.why {
            UnitRows::Block => f.write_str(": a block")?,
            UnitRows::Shared => f.write_str(": enough units to share")?,
            UnitRows::AllTerms => f.write_str(": each reads all of both operands")?,
            UnitRows::Gathered => f.write_str(": each gathers the terms of all")?,
            UnitRows::Sample => f.write_str(": one sample has several")?,
            UnitRows::Steps => f.write_str(": each takes all steps")?,
            UnitRows::Sums => f.write_str(": they are added up in order")?,
            UnitRows::Tile => f.write_str(": a tile, of which each thread has parts")?,
            UnitRows::LargeRight(bytes) => {
                write!(f, ": each reads a right operand of {}", Bytes(bytes))?;
            }
        }
        if self.merged > 1 {
            write!(f, ", {} times, as a unit merges its sums", self.merged)?;
        }
        match self.columns {
            Some(Columns { number, long: None }) => write!(f, ", or where that is all of {number} columns"),
            Some(Columns { number, long: Some(bytes) }) => {
                write!(f, ", or where that is all of {number} columns: few rows read {} in long runs", Bytes(bytes))
            }
            None => Ok(()),
        }
    }
}
