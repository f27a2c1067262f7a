//! In which order a graph has the axes of an image.
//!
//! Declared, an image is `[B, C, H, W]`, and a signal `[B, C, T]`. In a graph, layers that look at channels have it as
//! `[B, H, W, C]`: channels are then columns, as features are, and lie side by side in memory. Lowering moves the axes where two
//! layers in a row want different orders, and at the ports of the network.

use crate::ir::{Builder, NodeId};
use crate::types::Shape;

/// The order of the axes of a tensor in a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As declared.
    Declared,
    /// The second of the declared axes is the last one, where there are three axes or more.
    ChannelsLast,
}

impl Layout {
    /// For each axis in this order, the declared axis that it is.
    pub fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Layout::ChannelsLast if rank > 2 => [0].into_iter().chain(2..rank).chain([1]).collect(),
            _ => (0..rank).collect(),
        }
    }

    /// Which axis in this order a declared axis is.
    pub fn axis(self, rank: usize, declared: usize) -> usize {
        self.back(rank)[declared]
    }

    /// A declared shape in this order.
    pub fn of(self, declared: &Shape) -> Shape {
        Shape(self.axes(declared.rank()).into_iter().map(|axis| declared.0[axis]).collect())
    }

    /// The declared shape of what has this shape in this order.
    pub fn declared(self, shape: &Shape) -> Shape {
        Shape(self.back(shape.rank()).into_iter().map(|axis| shape.0[axis]).collect())
    }

    /// For each declared axis, which one it is in this order.
    fn back(self, rank: usize) -> Vec<usize> {
        let axes = self.axes(rank);
        (0..rank).map(|axis| axes.iter().position(|&own| own == axis).expect("an order has every axis")).collect()
    }

    /// A tensor that has its axes in this order, in another one.
    pub fn to(self, other: Layout, b: &mut Builder, x: NodeId) -> NodeId {
        let rank = b.ty(x).shape.rank();
        if self == other || rank <= 2 {
            return x;
        }
        match other {
            Layout::Declared => b.transpose(x, &self.back(rank)),
            Layout::ChannelsLast => b.transpose(x, &other.axes(rank)),
        }
    }
}
