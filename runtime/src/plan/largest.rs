//! The largest value of a program, for a message that says what does not fit in memory.
//!
//! In: kernels and the largest batch. Out: what the value is of, and its extents; words only where it is printed.

use std::fmt;

use crate::elaborate::words;
use crate::kernel::{Buffer, Fused, Home, Kernel};
use crate::types::Shape;

/// What a value is of, and its extents; none where there is no value.
#[derive(Clone, Debug, Default)]
pub struct Largest(Option<(Of, Vec<usize>)>);

#[derive(Clone, Debug)]
enum Of {
    /// An input or a parameter, by its name.
    Slot(String),
    /// A layer.
    Layer(String),
}

impl Largest {
    /// The largest value in the arena.
    pub fn in_arena(fused: &Fused, max_batch: usize) -> Largest {
        let mut largest: Option<(&Buffer, f64)> = None;
        for buffer in fused.buffers.iter().filter(|buffer| buffer.home == Home::Arena) {
            let size = words::size(&buffer.shape.at(max_batch));
            // Of equals the first: a layer rather than what follows.
            if largest.is_none_or(|(_, most)| size > most) {
                largest = Some((buffer, size));
            }
        }
        Largest(largest.map(|(buffer, _)| (Of::layer(&buffer.layer), buffer.shape.at(max_batch))))
    }

    /// The largest of everything there is, be it in memory or not.
    pub fn of_all(fused: &Fused, max_batch: usize) -> Largest {
        let buffers = fused.buffers.iter().map(|buffer| (&buffer.shape, buffer.home, &buffer.layer));
        let computed = fused.kernels.iter().flat_map(Kernel::origins);
        let computed = computed.map(|origin| (&origin.ty.shape, Home::Arena, &origin.layer));
        let size = |shape: &Shape| words::size(&shape.at(max_batch));
        // Of equals the first: a parameter rather than what the optimizer keeps of it.
        let largest = buffers.chain(computed).reduce(|x, y| if size(y.0) > size(x.0) { y } else { x });
        Largest(largest.map(|(shape, home, layer)| {
            let of = match home {
                Home::Input(index) => Of::Slot(fused.slots.inputs[index].name.to_string()),
                Home::Param(index) => Of::Slot(fused.slots.params[index].name.to_string()),
                Home::Arena | Home::Tile => Of::layer(layer),
            };
            (of, shape.at(max_batch))
        }))
    }
}

impl Of {
    fn layer(name: &str) -> Of {
        Of::Layer(name.to_string())
    }
}

impl fmt::Display for Largest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((of, extents)) = &self.0 else { return f.write_str("none") };
        match of {
            Of::Slot(name) => write!(f, "`{name}`")?,
            // A rule that made it stands after the name of the layer.
            Of::Layer(name) => write!(f, "a value of `{}`", name.split(" (").next().unwrap_or_default())?,
        }
        write!(f, " {extents:?}, {}", words::bytes(words::size(extents)))
    }
}
