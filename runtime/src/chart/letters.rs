//! One curve in letters, for a terminal.

use super::{Curve, Panel};

/// Columns and lines of the plane.
const COLUMNS: usize = 60;
const LINES: usize = 12;

/// The first curve of a panel as stars, its mark as a column of bars.
pub(crate) fn letters(panel: &Panel) -> String {
    let (across, up) = panel.ticks();
    let mut plane = vec![[' '; COLUMNS]; LINES];
    let column = |place: f64| ((place * COLUMNS as f64) as usize).min(COLUMNS - 1);
    let shown = |place: &f64| (0.0..=1.0).contains(place);
    let mark = panel.mark.as_ref().and_then(|(x, _)| across.place(*x)).filter(shown);
    if let Some(place) = mark {
        plane.iter_mut().for_each(|line| line[column(place)] = '|');
    }
    for &(x, y) in panel.curves.first().map_or(&[][..], |Curve { points, .. }| points) {
        if let (Some(x), Some(y)) = (across.place(x).filter(shown), up.place(y).filter(shown)) {
            let line = ((1.0 - y) * LINES as f64) as usize;
            plane[line.min(LINES - 1)][column(x)] = '*';
        }
    }
    let mut labels = vec![String::new(); LINES];
    for (place, text) in &up.marks {
        labels[(((1.0 - place) * LINES as f64) as usize).min(LINES - 1)].clone_from(text);
    }
    let width = labels.iter().map(String::len).max().unwrap_or(0);
    let mut text = format!("{}\n", panel.title);
    for (label, line) in labels.iter().zip(&plane) {
        let line: String = line.iter().collect();
        text.push_str(format!("{label:>width$} |{line}").trim_end());
        text.push('\n');
    }
    text.push_str(&format!("{:width$} +{}\n", "", "-".repeat(COLUMNS)));
    let mut below = vec![' '; COLUMNS + 8];
    let mut free = 0;
    for (place, mark) in &across.marks {
        let from = column(*place).saturating_sub(mark.len() / 2);
        if from >= free && from + mark.len() <= below.len() {
            below[from..from + mark.len()].iter_mut().zip(mark.chars()).for_each(|(to, letter)| *to = letter);
            free = from + mark.len() + 1;
        }
    }
    let below: String = below.into_iter().collect();
    text.push_str(format!("{:width$}  {below}", "").trim_end());
    text.push_str(&format!("\n{:width$}  {}\n", "", panel.x.0));
    text
}
