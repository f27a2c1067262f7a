//! Ports: their types, with the batch where it belongs.

use super::numbers::extent;
use super::{Context, MOST_AXES, is_absurd, words};
use crate::network::{Extent, Port};
use crate::types::{Dim, Shape, TensorType};

impl Port<'_> {
    /// The type of the tensor, if all of it is known and makes sense.
    pub fn ty(&self) -> Option<TensorType> {
        let dims: Option<Vec<Dim>> = self.dims.iter().map(|dim| extent(dim).ok().flatten()).collect();
        let shape = Shape(dims?);
        let sound = shape.0.first() == Some(&Dim::B)
            && !shape.0[1..].contains(&Dim::B)
            && shape.rank() <= MOST_AXES
            && !is_absurd(&shape);
        sound.then_some(TensorType { dtype: self.dtype, shape })
    }

    /// The type of a port of a network without mistakes.
    pub fn known(&self) -> TensorType {
        self.ty().expect("a network without mistakes has ports that make sense")
    }
}

impl Context<'_> {
    pub(super) fn ports(&mut self, ports: &[Port<'_>]) {
        for port in ports {
            self.axes(port);
            if let Some(ty) = port.ty() {
                self.types.insert(port.name.to_string(), ty);
            }
        }
    }

    /// `B` first and nowhere else, not too many axes, not too many elements.
    fn axes(&mut self, port: &Port<'_>) {
        let mut dims = Vec::new();
        for dim in port.dims {
            match extent(dim) {
                Ok(dim) => dims.push(dim),
                Err((at, message)) => {
                    self.report(at, message);
                    dims.push(None);
                }
            }
        }
        let later = port.dims.iter().skip(1).find_map(|dim| match dim {
            Extent::Batch(at) => Some(*at),
            Extent::Size(_) => None,
        });
        let known: Option<Shape> = dims.iter().copied().collect::<Option<Vec<Dim>>>().map(Shape);
        if let Some(later) = later {
            self.report(later, words::batch_not_first(port.name));
        } else if dims.len() > MOST_AXES {
            self.report(port.at, words::too_many_axes(port.name, dims.len(), MOST_AXES));
        } else if let Some(shape) = known.as_ref().filter(|shape| shape.0.first() != Some(&Dim::B)) {
            self.report(port.at, words::batch_missing(port.name, shape));
        } else if let Some(shape) = known.filter(is_absurd) {
            self.report(port.at, words::too_large(&format!("one row of `{}`", port.name), &shape));
        }
    }
}
