//! Parameters by their paths: those that were declared, and those that an expression asks for.

use super::{Context, words};
use crate::ir::SlotKind;
use crate::network::At;
use crate::types::{Shape, TensorType};

impl<'a> Context<'a> {
    pub(super) fn param(&mut self, path: String, shape: Shape, kind: SlotKind) {
        let index = self.params.len();
        self.has_weights |= kind == SlotKind::Weight;
        let mut inner = &path[..];
        while let Some((owner, _)) = inner.rsplit_once('.')
            && !self.first_inside.contains_key(owner)
        {
            self.first_inside.insert(owner.to_string(), index);
            inner = owner;
        }
        self.by_path.insert(path.clone(), index);
        self.params.push((path, shape, kind));
    }

    /// Looks up a path that is neither a port nor a stage's name.
    pub(super) fn path(&mut self, path: &'a str, at: At) -> Option<TensorType> {
        if let Some(found) = self.inner_path(path) {
            return found;
        }
        self.used.insert(path);
        if let Some(ty) = self.types.get(path) {
            return Some(ty.clone());
        }
        if let Some(&index) = self.by_path.get(path) {
            return Some(TensorType::f32(self.params[index].1.clone()));
        }
        if let Some(of_loop) = self.of_loop(path) {
            let message = words::inside_of_a_loop(path, of_loop);
            self.report(at, message);
            return None;
        }
        // The macro lets a path without a point through only if it is that of a stage.
        let inside = self.first_inside.get(path).map(|&index| self.params[index].0.as_str());
        if inside.is_some() || !path.contains('.') {
            let message = words::stage_as_value(path, inside);
            self.report(at, message);
        } else if self.complete {
            let closest = self.suggestions.closest(path, || {
                let known = self.types.keys().map(String::as_str).filter(|name| name.contains('.'));
                let mut paths: Vec<&str> = self.by_path.keys().map(String::as_str).chain(known).collect();
                paths.sort_unstable();
                paths
            });
            let message = words::unknown_parameter(path, closest);
            self.report(at, message);
        }
        None
    }
}
