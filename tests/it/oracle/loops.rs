//! Loops of the user's own: step by step.

use gradloom_runtime::layers::Arg;
use gradloom_runtime::network::Scan;

use super::Evaluator;
use super::array::{Array, Value};
use super::expressions::settle;
use super::stages::Place;

impl Evaluator<'_> {
    pub(super) fn scan(&mut self, scan: &Scan<'static>, at: &Place, x: Array<f64>) -> Array<f64> {
        let args = settle(Scan::ARGS, scan.args);
        let [n, last, reverse, initial, lengths] = &args[..] else { panic!("{args:?}") };
        let named = |evaluator: &Self, arg: &Arg| match arg {
            Arg::Path("") => None,
            Arg::Path(name) => Some(evaluator.value(name)),
            other => panic!("{other:?} names no value"),
        };
        let (rows, steps) = (x.shape[0], x.shape[1]);
        let element: Vec<usize> = [&[rows], &x.shape[2..]].concat();
        let mut state = match (named(self, initial), n) {
            (Some(initial), _) => initial.floats().clone(),
            (None, &Arg::Int(n)) => Array::of(&[rows, n as usize], |_| 0.0),
            (None, _) => Array::of(&element, |_| 0.0),
        };
        // How many positions each row has.
        let lengths: Vec<f64> = match named(self, lengths) {
            Some(Value::Floats(lengths)) => lengths.data,
            Some(Value::Ids(lengths)) => lengths.data.iter().map(|&length| f64::from(length)).collect(),
            _ => vec![f64::INFINITY; rows],
        };
        self.inside.push([&at.path, &at.owner].map(|path| format!("{path}.")));
        let mut states = vec![Array::of(&state.shape, |_| 0.0); steps];
        let mut order: Vec<usize> = (0..steps).collect();
        if *reverse == Arg::Flag(true) {
            order.reverse();
        }
        for position in order {
            let here: Vec<bool> = lengths.iter().map(|&n| self.decisions.above(n, position as f64)).collect();
            let of_step = Array::of(&element, |place| x.at(&[&[place[0], position], &place[1..]].concat()));
            for (name, value) in [(scan.element, of_step), (scan.state, state.clone())] {
                self.names.insert(format!("{}.{name}", at.path), Value::Floats(value));
            }
            let (next, lines) = scan.lines.split_last().expect("a body gives a state");
            lines.iter().for_each(|line| self.flow(line));
            let next = self.line(next).floats().clone();
            assert_eq!(next.shape, state.shape, "the state keeps its shape");
            state = Array::of(&state.shape, |place| if here[place[0]] { next.at(place) } else { state.at(place) });
            states[position] = Array::of(&state.shape, |place| if here[place[0]] { next.at(place) } else { 0.0 });
        }
        self.inside.pop();
        match *last == Arg::Flag(true) {
            true => state,
            false => {
                let shape: Vec<usize> = [&[rows, steps], &state.shape[1..]].concat();
                Array::of(&shape, |place| states[place[1]].at(&[&place[..1], &place[2..]].concat()))
            }
        }
    }
}
