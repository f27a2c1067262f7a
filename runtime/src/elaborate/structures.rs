//! Bodies that go out from one value and come together again: added up, or one after the other.

use super::{Action, Context, is_absurd, words};
use crate::network::Stage;
use crate::types::{Dim, Shape, TensorType};

impl<'a> Context<'a> {
    pub(super) fn residual(
        &mut self,
        stage: &'a Stage<'a>,
        body: &'a [Stage<'a>],
        skip: Option<&'a [Stage<'a>]>,
        path: &str,
        x: &TensorType,
    ) -> Option<(Action<'a>, Shape)> {
        let before = self.trace.len();
        let (body, long) = self.body(body, &format!("{path}."), Some(x.clone()));
        let inside = self.trace.split_off(before);
        let (short_steps, short) = match skip {
            Some(skip) => self.body(skip, &format!("{path}.skip."), Some(x.clone())),
            None => (Vec::new(), Some(x.clone())),
        };
        self.trace.truncate(before);
        let (long, short) = (long?, short?);
        if long != short {
            let trace = [self.trace.concat(), inside.concat()].concat();
            let message = words::branches_differ(skip.is_some(), &long.shape, &short.shape, &trace);
            self.report(stage.at, message);
            return None;
        }
        if long != *x {
            self.trace_to(stage.text, &long.shape);
        }
        Some((Action::Residual(body, short_steps), long.shape))
    }

    pub(super) fn branches(
        &mut self,
        stage: &'a Stage<'a>,
        bodies: &'a [&'a [Stage<'a>]],
        path: &str,
        x: &TensorType,
    ) -> Option<(Action<'a>, Shape)> {
        let before = self.trace.len();
        let (mut branches, mut results) = (Vec::new(), Vec::new());
        for (index, body) in bodies.iter().enumerate() {
            let (steps, result) = self.body(body, &format!("{path}.{}.", index + 1), Some(x.clone()));
            self.trace.truncate(before);
            branches.push(steps);
            results.push(result);
        }
        let results: Vec<Shape> =
            results.into_iter().map(|result| result.map(|ty| ty.shape)).collect::<Option<Vec<Shape>>>()?;
        let first = &results[0];
        let rest = |shape: &Shape| (shape.rank() > 1).then(|| shape.without(&[1]));
        if rest(first).is_none() || results.iter().any(|other| rest(other) != rest(first)) {
            self.report(stage.at, words::parts_differ(&results, &self.trace.concat()));
            return None;
        }
        let parts = results.iter().try_fold(0usize, |sum, part| sum.checked_add(part.0[1].factor()));
        let mut shape = first.clone();
        shape.0[1] = Dim::Fixed(parts.unwrap_or(usize::MAX));
        if is_absurd(&shape) {
            self.report(stage.at, words::too_large(&format!("one row of the result of `{}`", stage.text), &shape));
            return None;
        }
        if shape != x.shape {
            self.trace_to(stage.text, &shape);
        }
        Some((Action::Branches(branches), shape))
    }
}
