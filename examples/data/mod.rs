//! The handwritten digits that several examples learn: 1,797 images of 8 x 8 pixels. `README.md` says where they come from.

use std::error::Error;

use gradloom::Dataset;
use gradloom::ndarray::{Array1, Array2, Ix1, Ix2};

/// Images, 64 pixels from 0 to 1 each, and their labels.
pub type Digits = Dataset<u8, Ix2, Ix1>;

/// One image a line: 64 pixels from 0 to 16, then the label.
pub fn digits() -> Result<Digits, Box<dyn Error>> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in include_str!("digits.csv").lines() {
        let (image, label) = line.rsplit_once(',').ok_or("a line of the data has no label")?;
        for pixel in image.split(',') {
            pixels.push(pixel.parse::<f32>()? / 16.0);
        }
        labels.push(label.parse()?);
    }
    let images = Array2::from_shape_vec((labels.len(), 64), pixels)?;
    Ok(Dataset::new(images, Array1::from_vec(labels))?)
}
