//! Encoders and categories as texts, and back.
//!
//! A text is itself a file of comma-separated values, so that names may have any letters: a line that says what it is, then one for
//! each column. `number,rooms,` or `number,age,25` with what fills it; `ids,city,fill,other,Berlin,Ulm`, where `fill` and `other` are
//! empty unless they apply.

use std::collections::BTreeSet;
use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord, WriterBuilder};

use super::encoder::{Encoder, Part};
use super::{Categories, TableError};

const ENCODER: [&str; 2] = ["gradloom columns", "1"];
const CATEGORIES: [&str; 2] = ["gradloom categories", "1"];

pub(super) fn encoder(encoder: &Encoder) -> String {
    write(ENCODER, encoder.parts.iter().map(line))
}

pub(super) fn categories(categories: &Categories) -> String {
    write(CATEGORIES, [ids(categories)])
}

fn line(part: &Part) -> Vec<String> {
    match part {
        Part::Number { column, fill } => {
            vec!["number".to_string(), column.clone(), fill.map_or(String::new(), |fill| fill.to_string())]
        }
        Part::OneHot(categories) => ids(categories),
    }
}

fn ids(categories: &Categories) -> Vec<String> {
    let Categories { column, names, fill, other } = categories;
    let other = if *other { "other" } else { "" };
    let mut line = vec!["ids".to_string(), column.clone(), fill.clone().unwrap_or_default(), other.to_string()];
    line.extend(names.iter().cloned());
    line
}

fn write(head: [&str; 2], lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let lines = [head.map(str::to_string).to_vec()].into_iter().chain(lines);
    lines.for_each(|line| writer.write_record(line).expect("memory takes every record"));
    let bytes = writer.into_inner().expect("memory takes every record");
    String::from_utf8(bytes).expect("what is made of texts is a text")
}

impl FromStr for Encoder {
    type Err = TableError;

    /// Reads what an encoder prints as.
    fn from_str(text: &str) -> Result<Encoder, TableError> {
        let parts: Vec<Part> = lines(text, ENCODER)?.iter().map(part).collect::<Result<_, _>>()?;
        if parts.is_empty() {
            return Err(stored("there is no column"));
        }
        Ok(Encoder { parts })
    }
}

impl FromStr for Categories {
    type Err = TableError;

    /// Reads what categories print as.
    fn from_str(text: &str) -> Result<Categories, TableError> {
        match &lines(text, CATEGORIES)?[..] {
            [line] => match part(line)? {
                Part::OneHot(categories) => Ok(categories),
                Part::Number { .. } => Err(stored("its column is of numbers")),
            },
            _ => Err(stored("there is not one column")),
        }
    }
}

fn stored(reason: impl Into<String>) -> TableError {
    TableError::Stored { reason: format!("these are no columns or categories as they are stored: {}", reason.into()) }
}

/// The lines after the first one, which says what they are.
fn lines(text: &str, head: [&str; 2]) -> Result<Vec<StringRecord>, TableError> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut lines: Vec<StringRecord> = Vec::new();
    for line in reader.records() {
        lines.push(line.map_err(|error| stored(error.to_string()))?);
    }
    match lines.first() {
        Some(first) if *first == head[..] => Ok(lines.split_off(1)),
        _ => Err(stored(format!("the first line is not `{}`", head.join(",")))),
    }
}

fn part(line: &StringRecord) -> Result<Part, TableError> {
    let fields: Vec<&str> = line.iter().collect();
    match &fields[..] {
        ["number", column, fill] => {
            let fill = match *fill {
                "" => None,
                text => Some(
                    text.parse()
                        .ok()
                        .filter(|x: &f32| x.is_finite())
                        .ok_or_else(|| stored(format!("`{column}` is filled with {text:?}, which is no number")))?,
                ),
            };
            Ok(Part::Number { column: column.to_string(), fill })
        }
        ["ids", column, fill, other @ ("" | "other"), names @ ..] => {
            let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
            if names.is_empty() || names.contains(&"") || !distinct || !(fill.is_empty() || names.contains(fill)) {
                return Err(stored(format!("the categories of `{column}` are none, or are not distinct")));
            }
            Ok(Part::OneHot(Categories {
                column: column.to_string(),
                names: names.iter().map(|name| name.to_string()).collect(),
                fill: (!fill.is_empty()).then(|| fill.to_string()),
                other: !other.is_empty(),
            }))
        }
        _ => Err(stored(format!("a line begins with `{}`", fields.join(",").chars().take(40).collect::<String>()))),
    }
}
