//! A table at a glance: what its columns are, and what they lack.

use std::collections::BTreeSet;
use std::fmt;

use super::Table;

/// Texts that are named.
const NAMED: usize = 4;

/// A line for each column: how many cells are missing, and the least and largest of its numbers, or how many texts there are.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |text: &str| -> String { text.chars().take(32).map(|c| if c.is_control() { ' ' } else { c }).collect() };
        let header: Vec<String> = self.header().iter().map(|name| shown(name)).collect();
        let width = header.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("column".len());
        write!(f, "{:width$}  missing  {} rows", "column", self.len())?;
        for (column, name) in header.iter().enumerate() {
            let cells = || (0..self.len()).map(|row| self.cell(row, column));
            let missing = cells().filter(|cell| cell.is_empty()).count();
            write!(f, "\n{name:width$}  {missing:>7}  ")?;
            let numbers: Result<Vec<Option<f32>>, _> = (0..self.len()).map(|row| self.number_at(row, column)).collect();
            let mut numbers: Vec<f32> = numbers.map_or(Vec::new(), |numbers| numbers.into_iter().flatten().collect());
            numbers.sort_unstable_by(f32::total_cmp);
            let texts: BTreeSet<&str> = cells().filter(|cell| !cell.is_empty()).collect();
            match (&numbers[..], texts.len()) {
                ([least, .., most], _) => write!(f, "{least} to {most}")?,
                ([one], _) => write!(f, "{one}")?,
                (_, 0) => {}
                (_, count) => {
                    let named: Vec<String> = texts.into_iter().take(NAMED).map(shown).collect();
                    let more = if count > NAMED { ", .." } else { "" };
                    write!(f, "{count} text{}: {}{more}", if count == 1 { "" } else { "s" }, named.join(", "))?;
                }
            }
        }
        Ok(())
    }
}
