//! The categories of a column, and their ids.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use ndarray::Array1;

use super::{Table, TableError};
use crate::dataset::ClassId;
use crate::elaborate::words::closest;

/// The texts that a column has, in the order of their ids: the classes of a target, or the rows of an `Embedding`.
///
/// It prints as a text and is parsed from it: attached to a network, it is saved with its checkpoints.
/// ```
/// # use gradloom_runtime as gradloom;
/// use gradloom::table::{Categories, Table};
///
/// let table = Table::parse("kind\nrose\niris\nrose\n")?;
/// let kinds = Categories::fit(&table, "kind")?;
/// assert_eq!(kinds.names(), ["iris", "rose"]);
/// assert_eq!(kinds.encode::<u8>(&table)?.to_vec(), [1, 0, 1]);
/// assert_eq!(kinds.to_string().parse::<Categories>()?, kinds);
/// # Ok::<(), gradloom::table::TableError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Categories {
    pub(super) column: String,
    /// Each once.
    pub(super) names: Vec<String>,
    /// What stands for what is missing, one of the names.
    pub(super) fill: Option<String>,
    pub(super) other: bool,
}

impl Categories {
    /// Those that this column has, sorted: as numbers if all of them are numbers, else as texts. Cells without anything are none.
    ///
    /// # Errors
    /// No column of this name, or two; nothing in any of its cells.
    pub fn fit(table: &Table, column: &str) -> Result<Categories, TableError> {
        let all: BTreeSet<&str> = table.text(column)?.filter(|text| !text.is_empty()).collect();
        if all.is_empty() {
            return Err(TableError::Fit { column: column.to_string(), reason: "has nothing in its cells".to_string() });
        }
        let mut names: Vec<String> = all.into_iter().map(str::to_string).collect();
        sort(&mut names);
        Ok(Categories { column: column.to_string(), names, fill: None, other: false })
    }

    /// These, in this order, whatever a table has.
    ///
    /// # Errors
    /// None at all, one twice, or one without a letter.
    pub fn given<N: Into<String>>(column: &str, names: impl IntoIterator<Item = N>) -> Result<Categories, TableError> {
        let names: Vec<String> = names.into_iter().map(|name| name.into().trim().to_string()).collect();
        let refused = |reason: &str| Err(TableError::Fit { column: column.to_string(), reason: reason.to_string() });
        match () {
            _ if names.is_empty() => refused("is given no categories"),
            _ if names.iter().any(String::is_empty) => refused("is given an empty category"),
            _ if names.iter().collect::<BTreeSet<_>>().len() < names.len() => refused("is given a category twice"),
            _ => Ok(Categories { column: column.to_string(), names, fill: None, other: false }),
        }
    }

    /// One id more, the last, for what is unknown or missing.
    pub fn other(self) -> Categories {
        Categories { other: true, ..self }
    }

    /// What is missing counts as this category, which comes last if it is none yet.
    pub fn fill(mut self, name: &str) -> Categories {
        let name = name.trim().to_string();
        if !self.names.contains(&name) {
            self.names.push(name.clone());
        }
        Categories { fill: Some(name), ..self }
    }

    /// The ids of a table, a column of which has this name.
    ///
    /// # Errors
    /// No column of this name; a cell that is missing, or a category that is unknown; more ids than the type has.
    pub fn encode<K: ClassId + TryFrom<usize>>(&self, table: &Table) -> Result<Array1<K>, TableError> {
        let mut ids = super::room(table.len())?;
        let too_many =
            |_| TableError::Ids { column: self.column.clone(), categories: self.len(), id: std::any::type_name::<K>() };
        let last = self.len() - 1;
        K::try_from(last).map_err(too_many)?;
        for id in self.ids(table)? {
            ids.push(K::try_from(id?.unwrap_or(last)).map_err(too_many)?);
        }
        Ok(Array1::from_vec(ids))
    }

    /// The id of every row; none for another one.
    pub(super) fn ids<'t>(
        &self,
        table: &'t Table,
    ) -> Result<impl Iterator<Item = Result<Option<usize>, TableError>> + use<'t, '_>, TableError> {
        let known: HashMap<&str, usize> = self.names.iter().map(String::as_str).zip(0..).collect();
        let column = table.column(&self.column)?;
        Ok((0..table.len()).map(move |row| {
            let text = match (table.cell(row, column), &self.fill) {
                ("", Some(fill)) => fill,
                (text, _) => text,
            };
            match known.get(text) {
                Some(&id) => Ok(Some(id)),
                None if self.other => Ok(None),
                None if text.is_empty() => Err(table.missing(row, column, "category")),
                None => Err(TableError::Category {
                    place: table.place(row, column),
                    text: text.to_string(),
                    closest: closest(text, self.names.iter().map(String::as_str)).map(str::to_string),
                    known: self.names.len(),
                }),
            }
        }))
    }

    /// The column.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The names in the order of their ids.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many ids there are: one for each name, and the one of [`Categories::other`].
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.names.len() + usize::from(self.other)
    }

    /// What a class is called; `other` if it is none of the names.
    pub fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("other", String::as_str)
    }
}

/// As numbers if all of them are, else as texts.
fn sort(names: &mut [String]) {
    let numbers: Option<Vec<f64>> =
        names.iter().map(|name| name.parse().ok().filter(|x: &f64| x.is_finite())).collect();
    if numbers.is_some() {
        let number = |name: &String| name.parse().unwrap_or(f64::NAN);
        // Numbers that are written in two ways are two categories.
        names.sort_by(|x, y| match number(x).total_cmp(&number(y)) {
            Ordering::Equal => x.cmp(y),
            order => order,
        });
    }
}

/// As it is attached to a network and parsed again.
impl fmt::Display for Categories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::stored::categories(self))
    }
}
