//! Which columns become the features of a network, and how.
//!
//! In: names and wishes, then the rows to train with. Out: an [`Encoder`], which knows all that is to be known of those rows.

use super::encoder::{Encoder, Part};
use super::{Categories, Fill, Table, TableError};

/// Columns that become the features of a network, in this order. [`Columns::fit`] makes an [`Encoder`] of them.
///
/// ```
/// # use gradloom_runtime as gradloom;
/// use gradloom::table::{Columns, Encoder, Fill, Table};
///
/// let table = Table::parse("rooms,age,city\n3,10,Ulm\n2,,Berlin\n5,40,Ulm\n")?;
/// let columns = Columns::new()
///     .numbers(["rooms"])
///     .numbers(["age"]).fill(Fill::Median)
///     .one_hot("city").other()
///     .fit(&table)?;
/// let rows = Table::parse("city,age,rooms\nHalle,,4\n")?;                 // in another order, of an unknown city
/// assert_eq!(columns.encode(&rows)?.row(0).to_vec(), [4.0, 25.0, 0.0, 0.0]);
/// let again: Encoder = columns.to_string().parse()?;                     // in another program
/// assert_eq!(again, columns);
/// # Ok::<(), gradloom::table::TableError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Columns {
    groups: Vec<Group>,
    /// What was said before any column was named.
    early: Option<&'static str>,
}

/// Columns that were named together.
#[derive(Clone, Debug)]
struct Group {
    columns: Vec<String>,
    is_one_hot: bool,
    categories: Option<Vec<String>>,
    fill: Option<Fill>,
    other: bool,
}

impl Columns {
    /// None yet.
    pub fn new() -> Columns {
        Columns::default()
    }

    /// Numbers, each as it is. `Standardize` or `MinMax`, as the first layer of the network, bring them to one scale.
    pub fn numbers<N: Into<String>>(self, columns: impl IntoIterator<Item = N>) -> Columns {
        self.group(columns.into_iter().map(Into::into).collect(), false)
    }

    /// Categories: a number for each, 1 for that of the row and 0 for all others. They are those of the rows that are fitted to, sorted,
    /// or what [`Columns::categories`] says.
    pub fn one_hot(self, column: impl Into<String>) -> Columns {
        self.group(vec![column.into()], true)
    }

    fn group(mut self, columns: Vec<String>, is_one_hot: bool) -> Columns {
        self.groups.push(Group { columns, is_one_hot, categories: None, fill: None, other: false });
        self
    }

    /// What takes the place of cells that are missing, in the columns named last: [`Fill::Mean`], [`Fill::Median`], a number, or for
    /// [`Columns::one_hot`] a category. Without it a cell that is missing is an error.
    pub fn fill(self, fill: impl Into<Fill>) -> Columns {
        let fill = fill.into();
        self.last("`fill`", |group| group.fill = Some(fill))
    }

    /// What is unknown or missing is 0 for every category, in the column named last.
    pub fn other(self) -> Columns {
        self.last("`other`", |group| group.other = true)
    }

    /// The categories of the column named last, in this order, whatever a table has.
    pub fn categories<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Columns {
        let names = names.into_iter().map(Into::into).collect();
        self.last("`categories`", |group| group.categories = Some(names))
    }

    fn last(mut self, what: &'static str, change: impl FnOnce(&mut Group)) -> Columns {
        match self.groups.last_mut() {
            Some(group) => change(group),
            None => self.early = self.early.or(Some(what)),
        }
        self
    }

    /// Learns from these rows what the columns are: the categories, and what fills gaps. Those are the rows of the training part;
    /// [`Encoder::encode`] makes numbers of any rows.
    ///
    /// # Errors
    /// No columns, or none of a name; nothing in a column; a filling that does not suit it; a cell that is no number where the
    /// mean or the median is wanted.
    pub fn fit(&self, table: &Table) -> Result<Encoder, TableError> {
        match self.early {
            Some(what) => return Err(TableError::NoColumns { what }),
            None if self.groups.iter().all(|group| group.columns.is_empty()) => {
                return Err(TableError::NoColumns { what: "`fit`" });
            }
            None => {}
        }
        let mut parts = Vec::new();
        for group in &self.groups {
            for column in &group.columns {
                parts.push(match group.is_one_hot {
                    true => group.one_hot(column, table)?,
                    false => group.number(column, table)?,
                });
            }
        }
        Ok(Encoder { parts })
    }
}

impl Group {
    fn number(&self, column: &str, table: &Table) -> Result<Part, TableError> {
        let place = table.column(column)?;
        let refused = |reason: &str| Err(TableError::Fit { column: column.to_string(), reason: reason.to_string() });
        if self.other || self.categories.is_some() {
            return refused("is of numbers, which have no categories");
        }
        let fill = match &self.fill {
            None => None,
            Some(Fill::Category(name)) => return refused(&format!("is of numbers, and {name:?} is none")),
            Some(Fill::Number(number)) if !number.is_finite() => {
                return refused(&format!("can't be filled with {number}, which is not finite"));
            }
            Some(fill) => {
                let mut numbers = super::room(table.len())?;
                for row in 0..table.len() {
                    numbers.extend(table.number_at(row, place)?);
                }
                match fill.number(numbers) {
                    None => return refused("has nothing in its cells"),
                    number => number,
                }
            }
        };
        Ok(Part::Number { column: column.to_string(), fill })
    }

    fn one_hot(&self, column: &str, table: &Table) -> Result<Part, TableError> {
        let categories = match &self.categories {
            Some(names) => {
                table.column(column)?;
                Categories::given(column, names)?
            }
            None => Categories::fit(table, column)?,
        };
        let categories = if self.other { categories.other() } else { categories };
        Ok(Part::OneHot(match &self.fill {
            None => categories,
            Some(Fill::Category(name)) if !name.trim().is_empty() => categories.fill(name),
            Some(_) => {
                let reason = "is of categories, and is filled with the name of one".to_string();
                return Err(TableError::Fit { column: column.to_string(), reason });
            }
        }))
    }
}
