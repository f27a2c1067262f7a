//! Pictures of the examples: panels with axes beside each other and one legend, as SVG files in `target/`.
//!
//! In: curves with names, level lines of a surface, small gray images. Out: a file. All pictures have one size and one palette, which people
//! who are color-blind can tell apart (Okabe & Ito 2008); curves that belong together share a color, one of them dashed.
#![allow(dead_code, reason = "every example uses a part of it")]

mod levels;
mod scale;
mod tiles;

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use levels::Surface;
pub use scale::Axis;
pub use tiles::Tiles;

pub const BLACK: RGBColor = RGBColor(0, 0, 0);
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub const SKY: RGBColor = RGBColor(86, 180, 233);
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const VERMILLION: RGBColor = RGBColor(213, 94, 0);
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
pub const YELLOW: RGBColor = RGBColor(240, 228, 66);

pub const INK: RGBColor = RGBColor(60, 60, 60);
pub const GRAY: RGBColor = RGBColor(150, 150, 150);
const GRID: RGBColor = RGBColor(228, 228, 228);

/// The size of every picture, in pixels.
const SIZE: (u32, u32) = (1200, 600);
/// The backend rounds to whole pixels: it draws so many times larger, and the file says to show it smaller.
const FINE: u32 = 4;
/// The width of the legend.
const LEGEND: u32 = 190;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// Panels in rows of so many, with a title above.
pub struct Picture {
    pub title: String,
    pub columns: usize,
    pub panels: Vec<Panel>,
}

/// Curves over common axes.
pub struct Panel {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// Drawn below the curves.
    pub surface: Option<Surface>,
    pub tiles: Option<Tiles>,
    pub curves: Vec<Curve>,
}

/// A line through points. It has a gap where a point is not finite or outside of the axes.
#[derive(Clone)]
pub struct Curve {
    /// What the legend calls it; nothing if it is to be left out there.
    pub name: String,
    pub color: RGBColor,
    pub style: Style,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Line,
    Dashes,
    /// Dots without a line.
    Dots,
    /// A cross at every point, for single places.
    Crosses,
}

impl Style {
    fn joined(self) -> bool {
        !matches!(self, Style::Dots | Style::Crosses)
    }
}

impl Curve {
    /// Values at `first`, `first + 1` and so on.
    pub fn series(
        name: &str,
        color: RGBColor,
        style: Style,
        first: u32,
        values: impl IntoIterator<Item = f32>,
    ) -> Curve {
        let points = (first..).map(f64::from).zip(values.into_iter().map(f64::from)).collect();
        Curve { name: name.to_string(), color, style, points }
    }
}

impl Picture {
    /// Writes `target/NAME.svg` and says so.
    pub fn save(&self, name: &str) -> Drawn {
        let mut svg = String::new();
        let large = (SIZE.0 * FINE, SIZE.1 * FINE);
        let root = SVGBackend::with_string(&mut svg, large).into_drawing_area();
        self.draw(&root)?;
        root.present()?;
        drop(root);

        let size = |(width, height)| format!(r#"width="{width}" height="{height}""#);
        let svg = svg.replacen(&size(large), &size(SIZE), 1);
        // What is the default anyway, a tenth of the file.
        let svg = svg.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "").replace(" \"/>", "\"/>");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name).with_extension("svg"), svg)?;
        println!("wrote target/{name}.svg");
        Ok(())
    }

    fn draw(&self, root: &Canvas<'_>) -> Drawn {
        root.fill(&WHITE)?;
        let (head, body) = root.split_vertically(44 * FINE);
        text(&head, &self.title, (SIZE.0 as i32 / 2, 26), 19, HPos::Center)?;
        let mut named: Vec<&Curve> = Vec::new();
        for curve in self.panels.iter().flat_map(|panel| &panel.curves) {
            if !curve.name.is_empty() && named.iter().all(|known| known.name != curve.name) {
                named.push(curve);
            }
        }
        let legend = if named.is_empty() { 10 } else { LEGEND };
        let (panels, side) = body.split_horizontally((SIZE.0 - legend) * FINE);
        for (row, curve) in named.into_iter().enumerate() {
            let y = 40 + 26 * row as i32;
            let places: &[i32] = if curve.style.joined() { &[10, 26, 42] } else { &[26] };
            let sample: Vec<(i32, i32)> = places.iter().map(|x| (x * FINE as i32, y * FINE as i32)).collect();
            strokes(curve, &sample).iter().try_for_each(|stroke| side.draw(stroke))?;
            text(&side, &curve.name, (50, y), 14, HPos::Left)?;
        }
        let rows = self.panels.len().div_ceil(self.columns);
        let areas = panels.split_evenly((rows, self.columns));
        self.panels.iter().zip(&areas).try_for_each(|(panel, area)| panel.draw(area))
    }
}

impl Panel {
    /// Without a surface or images.
    pub fn new(title: &str, x: Axis, y: Axis, curves: Vec<Curve>) -> Panel {
        Panel { title: title.to_string(), x, y, surface: None, tiles: None, curves }
    }

    fn draw(&self, area: &Canvas<'_>) -> Drawn {
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let (x, y) = (self.x.over(all().map(|point| point.0)), self.y.over(all().map(|point| point.1)));
        let (width, height) = area.dim_in_pixel();
        let mut chart = ChartBuilder::on(area)
            .margin_left(4 * FINE)
            .margin_right(14 * FINE)
            .margin_top(4 * FINE)
            .caption(&self.title, font(13).color(&INK))
            .x_label_area_size(48 * FINE)
            .y_label_area_size(58 * FINE)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(FINE))
            .axis_style(INK.stroke_width(FINE))
            .label_style(font(12).color(&INK))
            .axis_desc_style(font(13).color(&INK))
            .set_all_tick_mark_size(4 * FINE)
            .x_labels((width / (50 * FINE)) as usize)
            .y_labels((height / (50 * FINE)) as usize)
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .draw()?;
        let plane = chart.plotting_area();
        if let Some(surface) = &self.surface {
            for (level, line) in surface.lines() {
                // Lower is darker.
                let gray = (110.0 + 110.0 * level) as u8;
                plane.draw(&PathElement::new(line, RGBColor(gray, gray, gray).stroke_width(FINE)))?;
            }
        }
        for (corners, gray) in self.tiles.iter().flat_map(Tiles::pixels) {
            plane.draw(&Rectangle::new(corners, RGBColor(gray, gray, gray).filled()))?;
        }
        for curve in &self.curves {
            let inside = |point: &&(f64, f64)| x.contains(point.0) && y.contains(point.1);
            for run in curve.points.chunk_by(|a, b| inside(&a) == inside(&b)).filter(|run| inside(&&run[0])) {
                strokes(curve, run).iter().try_for_each(|stroke| plane.draw(stroke))?;
            }
        }
        Ok(())
    }
}

/// A curve as the backend draws it, of points in any coordinates.
fn strokes<'b, C: Clone + 'static>(curve: &Curve, points: &[C]) -> Vec<DynElement<'static, SVGBackend<'b>, C>> {
    let (points, ink) = (points.to_vec(), curve.color.stroke_width(3 * FINE / 2));
    match curve.style {
        Style::Line => vec![PathElement::new(points, ink).into_dyn()],
        Style::Dashes => vec![DashedPathElement::new(points.into_iter(), 7 * FINE, 4 * FINE, ink).into_dyn()],
        Style::Dots => {
            let dot = |point| Circle::new(point, 2 * FINE, curve.color.filled()).into_dyn();
            points.into_iter().map(dot).collect()
        }
        Style::Crosses => points.into_iter().map(|point| Cross::new(point, 5 * FINE, ink).into_dyn()).collect(),
    }
}

/// Text whose place is that of its middle, or of the middle of its left end.
fn text(area: &Canvas<'_>, text: &str, (x, y): (i32, i32), size: u32, side: HPos) -> Drawn {
    let style = font(size).color(&INK).pos(Pos::new(side, VPos::Center));
    Ok(area.draw_text(text, &style, (x * FINE as i32, y * FINE as i32))?)
}

/// Letters of so many pixels; the backend writes them smaller by a factor.
fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", 1.24 * f64::from(size * FINE)).into_font().into()
}
