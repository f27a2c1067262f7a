//! Charts of what a training gave: curves over axes, as the text of an SVG file, and one curve in letters.
//!
//! In: points with names. Out: text. No fonts, graphics library or file takes part, so that a picture costs the library nothing. Absent
//! on purpose: styles to choose, and charts of anything but curves.

mod letters;
mod scale;

use std::fmt::Write;

use scale::{Ticks, coordinate};

pub(crate) use letters::letters;
pub(crate) use scale::Scale;

/// Panels beside each other, and one legend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chart {
    pub(crate) panels: Vec<Panel>,
}

/// Curves over common axes.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// What lies along the horizontal axis, and how.
    pub(crate) x: (String, Scale),
    pub(crate) curves: Vec<Curve>,
    /// What is higher is cut off.
    pub(crate) most: Option<f64>,
    /// A place on the horizontal axis, and what it is.
    pub(crate) mark: Option<(f64, String)>,
}

/// A line through points, with a gap where one is not finite.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// What the legend calls it, once for all panels.
    pub(crate) name: String,
    /// Curves of one number have one color.
    pub(crate) color: usize,
    pub(crate) style: Style,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Line,
    Dashes,
    /// Dots, with a line through them.
    Dots,
}

/// Colors that people who are color-blind can tell apart (Okabe & Ito 2008).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
const INK: &str = "#3c3c3c";
const GRID: &str = "#e4e4e4";

/// Pixels: a panel, the room around its plane, and the legend.
const PANEL: (f64, f64) = (460.0, 320.0);
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
const LEGEND: f64 = 190.0;
const LINE: f64 = 20.0;
/// How many panels stand in a row.
const COLUMNS: usize = 2;

impl Chart {
    /// The text of an SVG file.
    pub(crate) fn svg(&self) -> String {
        let columns = self.panels.len().clamp(1, COLUMNS);
        let rows = self.panels.len().div_ceil(columns).max(1);
        let mut named: Vec<&Curve> = Vec::new();
        for curve in self.panels.iter().flat_map(|panel| &panel.curves) {
            if !curve.name.is_empty() && named.iter().all(|known| known.name != curve.name) {
                named.push(curve);
            }
        }
        let plane = columns as f64 * PANEL.0;
        let width = plane + if named.is_empty() { 0.0 } else { LEGEND };
        let height = (rows as f64 * PANEL.1).max(TOP + LINE * (named.len() as f64 + 1.0));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        for (at, panel) in self.panels.iter().enumerate() {
            let (left, top) = ((at % columns) as f64 * PANEL.0, (at / columns) as f64 * PANEL.1);
            panel.svg(&mut svg, left, top);
        }
        for (line, curve) in named.into_iter().enumerate() {
            let y = TOP + LINE * line as f64;
            let sample = [(plane + 4.0, y), (plane + 18.0, y), (plane + 32.0, y)];
            curve.stroke(&mut svg, &sample);
            label(&mut svg, (plane + 40.0, y), "start", &curve.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Panel {
    /// From here to there, and the marks between.
    fn ticks(&self) -> (Ticks, Ticks) {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let (scale, most) = (self.x.1, self.most.unwrap_or(f64::INFINITY));
        let x = Ticks::over(scale, points().map(|point| point.0), 7);
        let y = Ticks::over(Scale::Linear, points().map(|point| point.1).filter(|y| *y <= most), 6);
        (x, y)
    }

    fn svg(&self, svg: &mut String, left: f64, top: f64) {
        let (across, up) = self.ticks();
        let (left, top) = (left + LEFT, top + TOP);
        let (width, height) = (PANEL.0 - LEFT - RIGHT, PANEL.1 - TOP - BOTTOM);
        let bottom = top + height;
        for (place, text) in &across.marks {
            let x = left + width * place;
            line(svg, (x, top), (x, bottom), GRID);
            label(svg, (x, bottom + 14.0), "middle", text);
        }
        for (place, text) in &up.marks {
            let y = bottom - height * place;
            line(svg, (left, y), (left + width, y), GRID);
            label(svg, (left - 8.0, y), "end", text);
        }
        line(svg, (left, bottom), (left + width, bottom), INK);
        line(svg, (left, top), (left, bottom), INK);
        label(svg, (left + width / 2.0, top - 16.0), "middle", &self.title);
        label(svg, (left + width / 2.0, bottom + 34.0), "middle", &self.x.0);
        // One picture in another cuts off what leaves it.
        let [x, y, w, h] = [left, top, width, height].map(coordinate);
        let _ = writeln!(svg, "<svg x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\">");
        if let Some((x, text)) = &self.mark
            && let Some(place) = across.place(*x)
        {
            let x = width * place;
            line(svg, (x, 0.0), (x, height), INK);
            let (x, anchor) = if place < 0.5 { (x + 6.0, "start") } else { (x - 6.0, "end") };
            label(svg, (x, 12.0), anchor, text);
        }
        for curve in &self.curves {
            let placed = curve.points.iter().map(|&(x, y)| {
                let (x, y) = (across.place(x)?, up.place(y)?);
                Some((width * x, height * (1.0 - y)))
            });
            let placed: Vec<Option<(f64, f64)>> = placed.collect();
            for run in placed.split(Option::is_none).filter(|run| !run.is_empty()) {
                curve.stroke(svg, &run.iter().flatten().copied().collect::<Vec<_>>());
            }
        }
        svg.push_str("</svg>\n");
    }
}

impl Curve {
    /// A line through these places of the picture, or a dot where there is one.
    fn stroke(&self, svg: &mut String, places: &[(f64, f64)]) {
        let color = COLORS[self.color % COLORS.len()];
        if self.style == Style::Dots || places.len() == 1 {
            for (x, y) in places.iter().map(|&(x, y)| (coordinate(x), coordinate(y))) {
                let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{color}\"/>");
            }
        }
        let dashes = if self.style == Style::Dashes { " stroke-dasharray=\"6 4\"" } else { "" };
        let places: Vec<String> = places.iter().map(|&(x, y)| format!("{},{}", coordinate(x), coordinate(y))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\"{dashes}/>",
            places.join(" ")
        );
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(coordinate);
    let _ = writeln!(svg, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\"/>");
}

/// Text whose place is that of its middle, or of the middle of an end.
fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (x, y) = (coordinate(x), coordinate(y + 4.0));
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::{Chart, Curve, Panel, Scale, Style};

    fn panel(points: &[(f64, f64)]) -> Panel {
        let curve = Curve { name: "a < b".into(), color: 8, style: Style::Line, points: points.to_vec() };
        let x = ("epoch".to_string(), Scale::Linear);
        Panel { title: "loss".into(), x, curves: vec![curve], most: None, mark: None }
    }

    #[test]
    fn a_curve_has_a_gap_where_a_point_is_not_finite() {
        let panel = panel(&[(1.0, 1.0), (2.0, 0.5), (3.0, f64::NAN), (4.0, 0.25), (5.0, f64::INFINITY), (6.0, 0.2)]);
        let svg = Chart { panels: vec![panel] }.svg();
        let lines: Vec<usize> = svg
            .lines()
            .filter_map(|line| line.strip_prefix("<polyline points=\"")?.split('"').next())
            .map(|points| points.split(' ').count())
            .collect();
        // The last is that of the legend.
        assert_eq!(lines, [2, 1, 1, 3], "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2, "single points show as dots: {svg}");
    }

    #[test]
    fn a_picture_is_well_formed_whatever_it_shows() {
        let strange = [vec![], vec![(1.0, 1.0)], vec![(f64::NAN, 1.0)], vec![(0.0, 1e300), (1e-300, -1e300)]];
        for points in strange {
            let svg = Chart { panels: vec![panel(&points); 3] }.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
            assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
        }
        assert!(Chart::default().svg().ends_with("</svg>\n"));
    }

    #[test]
    fn one_legend_names_every_curve_once() {
        let svg = Chart { panels: vec![panel(&[(1.0, 1.0)]), panel(&[(1.0, 2.0)])] }.svg();
        assert_eq!(svg.matches("a &lt; b").count(), 1);
    }
}
