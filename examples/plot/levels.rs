//! The lines along which a surface has one height, as on a map.

use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Heights over a rectangle.
#[derive(Clone)]
pub struct Surface {
    x: RangeInclusive<f64>,
    y: RangeInclusive<f64>,
    /// The heights in rows from low to high `y`, each from low to high `x`, in equal distances.
    rows: Vec<Vec<f64>>,
    /// The heights to draw a line at, rising.
    levels: Vec<f64>,
}

/// How many distances each side of a surface is cut into.
const CELLS: usize = 90;

/// An edge between two neighbors of the grid: column and row of the first, and whether the other is above.
type Edge = (usize, usize, bool);

impl Surface {
    /// Measures the height all over a rectangle; lines are drawn at these levels, which rise.
    pub fn measure<E>(
        x: RangeInclusive<f64>,
        y: RangeInclusive<f64>,
        levels: Vec<f64>,
        mut height: impl FnMut(f64, f64) -> Result<f64, E>,
    ) -> Result<Surface, E> {
        let mut rows = Vec::new();
        for row in 0..=CELLS {
            let places = (0..=CELLS).map(|column| (place(&x, column as f64), place(&y, row as f64)));
            rows.push(places.map(|(x, y)| height(x, y)).collect::<Result<_, E>>()?);
        }
        Ok(Surface { x, y, rows, levels })
    }

    /// Lines with the rank of their level, from 0 for the lowest to 1.
    pub(super) fn lines(&self) -> Vec<(f64, Vec<(f64, f64)>)> {
        let last = (self.levels.len().max(2) - 1) as f64;
        let ranked = self.levels.iter().enumerate();
        ranked.flat_map(|(i, level)| self.at(*level).into_iter().map(move |line| (i as f64 / last, line))).collect()
    }

    /// The lines of one level: each square of the grid gives a piece or two (marching squares), and pieces that meet in an
    /// edge are one line.
    fn at(&self, level: f64) -> Vec<Vec<(f64, f64)>> {
        let mut pieces: Vec<(Edge, Edge)> = Vec::new();
        for row in 0..CELLS {
            for column in 0..CELLS {
                let below = |x: usize, y: usize| self.rows[row + y][column + x] < level;
                // Against the clock, so that the edges that are crossed follow each other.
                let edges = [
                    ((column, row, false), below(0, 0) != below(1, 0)),
                    ((column + 1, row, true), below(1, 0) != below(1, 1)),
                    ((column, row + 1, false), below(1, 1) != below(0, 1)),
                    ((column, row, true), below(0, 1) != below(0, 0)),
                ];
                let crossed: Vec<Edge> = edges.into_iter().filter(|edge| edge.1).map(|edge| edge.0).collect();
                pieces.extend(crossed.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
        }
        let mut at: HashMap<Edge, Vec<usize>> = HashMap::new();
        for (index, piece) in pieces.iter().enumerate() {
            at.entry(piece.0).or_default().push(index);
            at.entry(piece.1).or_default().push(index);
        }
        let mut used = vec![false; pieces.len()];
        let mut lines = Vec::new();
        // Lines that end at the border first, from there; what is left are rings.
        let open = |piece: &(Edge, Edge)| at[&piece.0].len() == 1 || at[&piece.1].len() == 1;
        let (ends, rings): (Vec<usize>, Vec<usize>) = (0..pieces.len()).partition(|&index| open(&pieces[index]));
        for start in ends.into_iter().chain(rings) {
            let (a, b) = pieces[start];
            let mut edge = if at[&a].len() == 1 { a } else { b };
            let mut line = vec![self.crossing(edge, level)];
            let mut next = (!used[start]).then_some(start);
            while let Some(piece) = next {
                used[piece] = true;
                let (a, b) = pieces[piece];
                edge = if edge == a { b } else { a };
                line.push(self.crossing(edge, level));
                next = at[&edge].iter().copied().find(|&other| !used[other]);
            }
            if line.len() > 1 {
                lines.push(line);
            }
        }
        lines
    }

    /// Where an edge has this height.
    fn crossing(&self, (column, row, up): Edge, level: f64) -> (f64, f64) {
        let (other_column, other_row) = if up { (column, row + 1) } else { (column + 1, row) };
        let (from, to) = (self.rows[row][column], self.rows[other_row][other_column]);
        let share = (level - from) / (to - from);
        let (right, above) = if up { (0.0, share) } else { (share, 0.0) };
        (place(&self.x, column as f64 + right), place(&self.y, row as f64 + above))
    }
}

/// The number so many cells into a range.
fn place(range: &RangeInclusive<f64>, cells: f64) -> f64 {
    range.start() + (range.end() - range.start()) * cells / CELLS as f64
}
