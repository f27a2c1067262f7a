//! Small gray images that lie side by side in the plane of a panel.

/// Images around the points of a grid.
pub struct Tiles {
    /// The distance between neighbors, the same along both axes.
    pub step: f64,
    /// How many pixels a side of an image has.
    pub side: usize,
    /// The middle of each image, and its pixels in rows from the top: 0 is white, 1 is black.
    pub images: Vec<((f64, f64), Vec<f32>)>,
}

impl Tiles {
    /// Opposite corners of each pixel that is not white, and its gray.
    pub(super) fn pixels(&self) -> Vec<([(f64, f64); 2], u8)> {
        // With one of white around it.
        let size = self.step / (self.side + 2) as f64;
        let half = size * self.side as f64 / 2.0;
        let mut pixels = Vec::new();
        for ((x, y), image) in &self.images {
            let (left, top) = (x - half, y + half);
            for (at, ink) in image.iter().enumerate() {
                let gray = (255.0 * (1.0 - ink.clamp(0.0, 1.0))) as u8;
                let (column, row) = ((at % self.side) as f64, (at / self.side) as f64);
                let corner = (left + column * size, top - row * size);
                if gray < 250 {
                    pixels.push(([corner, (corner.0 + size, corner.1 - size)], gray));
                }
            }
        }
        pixels
    }
}
