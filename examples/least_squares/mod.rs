//! Linear regression, which examples compare a network with.

use std::error::Error;

use gradloom::ndarray::{Array1, ArrayView2};

/// The weights of all columns but the last, and a constant, that predict the last with the least squared error: the normal
/// equations by elimination, in f64.
pub fn least_squares(table: ArrayView2<'_, f32>) -> Result<Array1<f32>, Box<dyn Error>> {
    let n = table.ncols();
    let mut rows = table.mapv(f64::from);
    let y = rows.column(n - 1).to_owned();
    rows.column_mut(n - 1).fill(1.0);
    let (mut matrix, mut right) = (rows.t().dot(&rows), rows.t().dot(&y));
    // The matrix is positive definite: no pivoting.
    for column in 0..n {
        for row in 0..n {
            let factor = matrix[[row, column]] / matrix[[column, column]];
            if row != column {
                let pivot = matrix.row(column).to_owned();
                matrix.row_mut(row).scaled_add(-factor, &pivot);
                right[row] -= factor * right[column];
            }
        }
    }
    let solution = &right / &matrix.diag();
    match solution.iter().all(|x| x.is_finite()) {
        true => Ok(solution.mapv(|x| x as f32)),
        false => Err("a column of the table follows from the others".into()),
    }
}
