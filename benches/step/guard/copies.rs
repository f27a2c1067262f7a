//! Which operands a call of a microkernel copies on its way: the pick, and the other ways.

use gradloom_runtime::microkernels::gemm::Copies;
use gradloom_runtime::microkernels::gemm::checked::{Strided, multiply};
use gradloom_runtime::tiling::matmul::{self, Left};
use gradloom_runtime::tiling::{Isa, Machine};

use super::Variant;

/// A product: its extents, and from one row to the next and one column to the next of both operands.
pub struct Call {
    pub name: &'static str,
    extents: [usize; 3],
    steps: [[usize; 2]; 2],
}

/// All products.
pub fn all() -> Vec<Call> {
    let rows = |name, [m, n, k]: [usize; 3]| Call { name, extents: [m, n, k], steps: [[k, 1], [n, 1]] };
    let left = |name, [m, n, k]: [usize; 3]| Call { name, extents: [m, n, k], steps: [[1, m], [n, 1]] };
    let right = |name, [m, n, k]: [usize; 3]| Call { name, extents: [m, n, k], steps: [[k, 1], [1, k]] };
    vec![
        rows("call, 64 x 256 x 256", [64, 256, 256]),
        rows("call, 6 x 1024 x 1024", [6, 1024, 1024]),
        rows("call, 64 x 1000 x 1000", [64, 1000, 1000]),
        rows("call, 64 x 1024 x 1024", [64, 1024, 1024]),
        rows("call, 256 x 1024 x 1024", [256, 1024, 1024]),
        rows("call, 64 x 2000 x 2000", [64, 2000, 2000]),
        rows("call, 256 x 64 x 1024", [256, 64, 1024]),
        left("call, 256 x 256 x 128, left transposed", [256, 256, 128]),
        left("call, 1024 x 256 x 256, left transposed", [1024, 256, 256]),
        right("call, 64 x 256 x 256, right transposed", [64, 256, 256]),
        Call { name: "call, heads of 64 x 64 x 32", extents: [64, 64, 32], steps: [[384, 1], [384, 1]] },
        Call { name: "call, 64 x 64 x 64, left scattered", extents: [64, 64, 64], steps: [[192, 3], [64, 1]] },
    ]
}

/// The operands and the result of a product.
pub struct Memory {
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Memory {
    pub fn of(call: &Call) -> Memory {
        let [m, n, k] = call.extents;
        let numbers = |rows: usize, cols: usize, [row, col]: [usize; 2]| {
            (0..=(rows - 1) * row + (cols - 1) * col).map(|index| (index % 17) as f32 / 17.0 - 0.5).collect()
        };
        Memory { a: numbers(m, k, call.steps[0]), b: numbers(k, n, call.steps[1]) }
    }

    /// The pick, then the other ways.
    pub fn variants(&mut self, call: &Call) -> Vec<Variant<'_>> {
        let (isa, [m, n, k]) = (Isa::detect(), call.extents);
        let machine = Machine::of(isa);
        let pick = Copies {
            left: !matches!(matmul::left(&machine, n, call.steps[0]), Left::InPlace),
            right: !matmul::reads_in_place(&machine, m, k, call.steps[1]),
        };
        let [a, b] = [(&self.a, call.steps[0]), (&self.b, call.steps[1])].map(|(data, [row, col])| Strided {
            data: data.as_slice(),
            row,
            col,
        });
        let variant = |copies: Copies| -> Variant<'_> {
            let side = |copied: bool| if copied { "copied" } else { "in place" };
            let (mut c, mut workspace) = (vec![0.0; m * n], Vec::new());
            let run = move || multiply(isa, copies, [m, n, k], a, b, &mut c, &mut workspace);
            (format!("left operand {}, right operand {}", side(copies.left), side(copies.right)), Box::new(run))
        };
        let all = [(false, false), (false, true), (true, false), (true, true)];
        let others = all.map(|(left, right)| Copies { left, right }).into_iter();
        let others = others.filter(|&copies| copies != pick && (copies.right || b.col == 1));
        // Tiles read rows or terms that are adjacent.
        let others = others.filter(|&copies| copies.left || a.row == 1 || a.col == 1);
        [pick].into_iter().chain(others).map(variant).collect()
    }
}
