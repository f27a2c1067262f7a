//! Layers with a state: one row after the other, one step after the other, one number after the other.

use gradloom_runtime::layers::Arg;

use super::Evaluator;
use super::array::{Array, Value};

/// What a recurrent layer is asked for.
struct Asked {
    n: usize,
    gates: usize,
    /// Numbers of a state for each number of the result.
    states: usize,
    /// How many of these the result shows.
    shown: usize,
    last: bool,
    reverse: bool,
    biased: bool,
    relu: bool,
    initial: &'static str,
    lengths: &'static str,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Evaluator<'_> {
    /// One of the three layers, by its name.
    pub(super) fn recurrent(&self, layer: &str, owner: &str, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let is = |arg: Arg| arg == Arg::Flag(true);
        let asked = match (layer, args) {
            (
                "Rnn",
                &[Arg::Int(n), Arg::Word(bend), last, reverse, bias, _, _, Arg::Path(initial), Arg::Path(lengths)],
            ) => Asked {
                n: n as usize,
                gates: 1,
                states: 1,
                shown: 1,
                last: is(last),
                reverse: is(reverse),
                biased: is(bias),
                relu: bend == "relu",
                initial,
                lengths,
            },
            (_, &[Arg::Int(n), last, reverse, bias, _, _, Arg::Path(initial), Arg::Path(lengths), ref cell @ ..]) => {
                let [gates, states] = if layer == "Gru" { [3, 1] } else { [4, 2] };
                Asked {
                    n: n as usize,
                    gates,
                    states,
                    shown: 1 + usize::from(cell.first().is_some_and(|&cell| is(cell))),
                    last: is(last),
                    reverse: is(reverse),
                    biased: is(bias),
                    relu: false,
                    initial,
                    lengths,
                }
            }
            (layer, args) => panic!("{layer} does not take {args:?}"),
        };
        self.stepped(owner, &asked, x)
    }

    fn stepped(&self, owner: &str, asked: &Asked, x: &Array<f64>) -> Array<f64> {
        let [rows, steps, inputs] = x.shape[..] else { panic!("a sequence has three axes") };
        let &Asked { n, gates, states, .. } = asked;
        let (w, u) = (self.param(owner, "input.weight"), self.param(owner, "recurrent.weight"));
        let bias = |name: &str| match asked.biased {
            true => self.param(owner, name).data,
            false => vec![0.0; gates * n],
        };
        let biases = [bias("input.bias"), bias("recurrent.bias")];
        let width = states * n;
        let shown = asked.shown * n;
        let mut all = Array::new(&[rows, steps, shown], vec![0.0; rows * steps * shown]);
        let mut last = Array::new(&[rows, shown], vec![0.0; rows * shown]);
        let named = |name: &str| (!name.is_empty()).then(|| self.value(name));
        for row in 0..rows {
            let mut state = vec![0.0; width];
            if let Some(initial) = named(asked.initial) {
                state = (0..width).map(|at| initial.floats().at(&[row, at])).collect();
            }
            let length = match named(asked.lengths) {
                None => steps as f64,
                Some(Value::Ids(ids)) => f64::from(ids.at(&[row])),
                Some(lengths) => lengths.floats().at(&[row]),
            };
            for step in 0..steps {
                let position = if asked.reverse { steps - 1 - step } else { step };
                if position as f64 >= length {
                    continue;
                }
                let given = |gate: usize, at: usize| {
                    let terms = (0..inputs).map(|from| x.at(&[row, position, from]) * w.at(&[from, gate * n + at]));
                    terms.sum::<f64>() + biases[0][gate * n + at]
                };
                let kept = |gate: usize, at: usize| {
                    let terms = (0..n).map(|from| state[from] * u.at(&[from, gate * n + at]));
                    terms.sum::<f64>() + biases[1][gate * n + at]
                };
                let both = |gate: usize, at: usize| given(gate, at) + kept(gate, at);
                let mut next = vec![0.0; width];
                for at in 0..n {
                    match gates {
                        1 => next[at] = if asked.relu { both(0, at).max(0.0) } else { both(0, at).tanh() },
                        3 => {
                            let (reset, keep) = (sigmoid(both(0, at)), sigmoid(both(1, at)));
                            let new = (given(2, at) + reset * kept(2, at)).tanh();
                            next[at] = (1.0 - keep) * new + keep * state[at];
                        }
                        _ => {
                            let [input, forget, show] = [0, 1, 3].map(|gate| sigmoid(both(gate, at)));
                            let cell = forget * state[n + at] + input * both(2, at).tanh();
                            next[n + at] = cell;
                            next[at] = show * cell.tanh();
                        }
                    }
                }
                state = next;
                let to = (row * steps + position) * shown;
                all.data[to..to + shown].copy_from_slice(&state[..shown]);
            }
            last.data[row * shown..][..shown].copy_from_slice(&state[..shown]);
        }
        if asked.last { last } else { all }
    }
}
