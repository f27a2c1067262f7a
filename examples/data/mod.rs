//! What the examples learn: 1,797 handwritten digits of 8 x 8 pixels, 2,500 pictures of clothes of 28 x 28, and the bicycles that were
//! rented in each hour of a year. `README.md` says where they come from.
#![allow(dead_code, reason = "every example uses a part of it")]

use std::error::Error;

use gradloom::Dataset;
use gradloom::data::ImageSet;
use gradloom::ndarray::{Array1, Array2, Array4};

/// Images, 64 pixels from 0 to 1 each, and their labels.
pub type Digits = Dataset<Array2<f32>, Array1<u8>>;

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

/// Pictures of clothes: 2,000 to learn from and 500 for the test, with 16 levels of gray.
pub fn fashion() -> Result<ImageSet, Box<dyn Error>> {
    const CLASSES: &[&str] =
        &["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
    let bytes = include_bytes!("fashion.bin");
    let (labels, pixels) = bytes.split_at(2_500);
    let pixels: Vec<u8> = pixels.iter().flat_map(|pair| [17 * (pair >> 4), 17 * (pair & 15)]).collect();
    let (first, rest) = (2_000, 500);
    let part = |labels: &[u8], pixels: &[u8]| -> Result<_, Box<dyn Error>> {
        let images = Array4::from_shape_vec((labels.len(), 1, 28, 28), pixels.to_vec())?;
        Ok((images, Array1::from_vec(labels.to_vec())))
    };
    let cut = first * 28 * 28;
    debug_assert_eq!(pixels.len(), cut + rest * 28 * 28);
    Ok(ImageSet {
        train: part(&labels[..first], &pixels[..cut])?,
        test: part(&labels[first..], &pixels[cut..])?,
        classes: CLASSES,
    })
}

/// A day of rides.
pub struct Day {
    /// Neither a weekend nor a holiday.
    pub working: bool,
    /// How many bicycles were rented in each hour.
    pub rides: [f32; 24],
}

/// The days of 2011. Hours that the table leaves out are taken as hours without rides.
pub fn bikes() -> Result<Vec<Day>, Box<dyn Error>> {
    let day = |line: &str| -> Result<Day, Box<dyn Error>> {
        let mut cells = line.split(',');
        let working = cells.next() == Some("1");
        let rides = cells.map(|cell| if cell.is_empty() { Ok(0.0) } else { cell.parse() });
        let rides: Vec<f32> = rides.collect::<Result<_, _>>()?;
        Ok(Day { working, rides: rides.try_into().map_err(|_| "a day of the data has not 24 hours")? })
    };
    include_str!("bikes.csv").lines().skip(1).map(day).collect()
}
