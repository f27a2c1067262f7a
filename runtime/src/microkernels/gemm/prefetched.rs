//! What tiles prefetch meanwhile: the rows of other matrices that the elements of a product meet when it is done.
//!
//! A product whose operands stay in a cache leaves the way to memory idle, and what follows it waits for nothing else. In: matrices
//! of as many columns as the product, and how many tiles it has. Out: for a tile, the line from which on it may ask for as many as
//! it has terms to do that in, evenly spread: what is asked for in one go waits for one another.

use super::loops::LINE;

/// Matrices of as many rows and columns as a product, each without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefetched<'a> {
    matrices: &'a [*const f32],
    /// Floats of each that belong to earlier rows.
    before: usize,
}

impl<'a> Prefetched<'a> {
    /// The rows of these matrices from the first on; nothing is read of them.
    pub(super) const fn of(matrices: &'a [*const f32]) -> Prefetched<'a> {
        Prefetched { matrices, before: 0 }
    }

    /// Whether there is none.
    pub(super) fn is_empty(self) -> bool {
        self.matrices.is_empty()
    }

    /// The same after so many floats of each.
    pub(super) fn after(self, floats: usize) -> Prefetched<'a> {
        Prefetched { before: self.before + floats, ..self }
    }

    /// What the tiles of a block ask for, of which each matrix has so many floats. The number of tiles is asked for if it is needed.
    pub(super) fn lines(self, floats: usize, tiles: impl FnOnce() -> usize) -> Lines<'a> {
        let each = floats / LINE;
        let all = each * self.matrices.len();
        Lines { prefetched: self, each, all, tiles: if all > 0 { tiles() } else { 1 }, tile: 0, next: 0 }
    }
}

/// Lines that tiles ask for, one tile after the other.
pub(super) struct Lines<'a> {
    prefetched: Prefetched<'a>,
    /// Whole lines of a matrix.
    each: usize,
    /// Those of all matrices.
    all: usize,
    tiles: usize,
    /// The number of the next tile.
    tile: usize,
    /// The first line that nobody has asked for.
    next: usize,
}

impl Lines<'_> {
    /// Where the next tile begins to ask, if it does, for so many lines. What is asked for past the end of a matrix does no harm.
    #[inline]
    pub(super) fn of_tile(&mut self, room: usize) -> Option<*const f32> {
        if self.all == 0 {
            return None;
        }
        let due = self.tile * self.all / self.tiles;
        self.tile += 1;
        if due < self.next {
            return None;
        }
        // Without a gap, unless the tiles have too little room for all lines.
        let line = if due < self.next + room { self.next } else { due };
        self.next = line + room;
        let at = self.prefetched.before + line % self.each * LINE;
        (line < self.all).then(|| self.prefetched.matrices[line / self.each].wrapping_add(at))
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, Prefetched};

    /// Which lines of each matrix are asked for, by the tile that asks.
    fn asked(matrices: usize, floats: usize, tiles: usize, room: usize) -> Vec<Vec<usize>> {
        let starts: Vec<*const f32> = (1..=matrices).map(|start| (start << 32) as *const f32).collect();
        let mut lines = Prefetched::of(&starts).after(5 * LINE).lines(floats, || tiles);
        let each = floats / LINE;
        let number = |at: *const f32| {
            let (matrix, line) = ((at as usize >> 32) - 1, (at as usize & 0xffff_ffff) / (4 * LINE) - 5);
            matrix * each + line
        };
        let of_tile = |_| lines.of_tile(room).map_or(Vec::new(), |at| (number(at)..number(at) + room).collect());
        (0..tiles).map(of_tile).collect()
    }

    #[test]
    fn every_line_is_asked_for_once_and_evenly_where_tiles_have_room() {
        for (matrices, floats, tiles, room) in
            [(3, 65536, 192, 64), (3, 65536, 683, 64), (1, 1024, 7, 16), (2, 160, 5, 9)]
        {
            let asked = asked(matrices, floats, tiles, room);
            let all = matrices * floats / LINE;
            let mut lines: Vec<usize> = asked.iter().flatten().copied().filter(|&line| line < all).collect();
            assert!(lines.is_sorted() && lines.len() <= all);
            lines.dedup();
            assert!(lines.len() * 10 >= all.min(tiles * room) * 8, "{} of {all} lines by {tiles} tiles", lines.len());
            for (tile, own) in asked.iter().enumerate().filter(|(_, own)| !own.is_empty()) {
                assert!(own[0] <= tile * all / tiles, "tile {tile} is early");
                assert!(own[0] + 2 * room > tile * all / tiles, "tile {tile} is late");
            }
        }
    }

    #[test]
    fn where_nothing_is_prefetched_no_tile_asks() {
        assert!(asked(0, 4096, 9, 64).iter().all(Vec::is_empty));
        assert!(asked(2, LINE - 1, 9, 64).iter().all(Vec::is_empty));
    }
}
