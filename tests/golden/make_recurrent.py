"""Golden values of layers with a state: `nn.RNN`, `nn.GRU` and `nn.LSTM` of PyTorch.

    golden-venv/bin/python make_recurrent.py          # rewrites recurrent.txt, recurrent_state.*; see README.md

Everything is computed by PyTorch in float64, in the format that README.md gives.  The name of a case is that of its layer and a variant,
for which tests/it/recurrent_golden.rs has the arguments.  Weights are those of gradloom, [in, out]; in keys `_` stands for `.`.  `dy` is
the upstream gradient of `y`; `d` and a name is a gradient.  The last lines of a case may have an initial state and lengths.
"""
import numpy as np
import safetensors.torch
import torch
import torch.nn as n
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from make_golden import HERE, Golden, leaf, normal

rng = np.random.default_rng(97)
out = Golden("recurrent", """
Layers over sequences [B, T, in] that carry a state: y is every state [B, T, n], or what the variant says; with lengths, of packed rows.""")


def case(name, module, rows, length, inputs, size, last=False, reverse=False, bias=True, initial=False, lengths=None, cell=False):
    gates = dict(RNN=1, GRU=3, LSTM=4)[module.__name__]
    sizes = dict(input_weight=(inputs, gates * size), recurrent_weight=(size, gates * size))
    if bias:
        sizes |= dict(input_bias=(gates * size,), recurrent_bias=(gates * size,))
    params = {key: leaf(normal(rng, *shape, scale=0.5)) for key, shape in sizes.items()}
    x = leaf(normal(rng, rows, length, inputs))
    given = dict(x=x)
    states = 2 if module is n.LSTM else 1
    state = None
    if initial:
        given["initial"] = leaf(normal(rng, rows, states * size, scale=0.5))
        state = given["initial"].unflatten(-1, (states, size)).movedim(1, 0).unsqueeze(1)
        state = tuple(state) if states == 2 else state[0]
    options = dict(nonlinearity="relu") if name.endswith("relu") else {}
    layer = module(inputs, size, bias=bias, batch_first=True, **options)
    own = dict(weight_ih_l0=params["input_weight"].T, weight_hh_l0=params["recurrent_weight"].T)
    if bias:
        own |= dict(bias_ih_l0=params["input_bias"], bias_hh_l0=params["recurrent_bias"])
    # Backwards in time is forwards over the reversed sequence; a row that is shorter is reversed within its length.
    order = torch.arange(length).repeat(rows, 1)
    if lengths is not None:
        given["lengths"] = torch.tensor(lengths, dtype=torch.float64)
    if reverse:
        ends = torch.tensor(lengths if lengths is not None else [length] * rows)
        order = torch.where(order < ends[:, None], ends[:, None] - 1 - order, order)
    walked = torch.gather(x, 1, order[..., None].expand(-1, -1, inputs))
    if lengths is not None:
        walked = pack_padded_sequence(walked, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    y, state = torch.func.functional_call(layer, own, (walked, state))
    if lengths is not None:
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=length)
    y = torch.gather(y, 1, order[..., None].expand(-1, -1, size))
    if last:
        y = torch.cat([part[0] for part in state], -1) if cell else (state[0] if states == 2 else state)[0]
    dy = normal(rng, *y.shape)
    y.backward(torch.tensor(dy))
    grads = {f"d{key}": value.grad for key, value in (given | params).items() if value.requires_grad}
    out.case(name, **given, **params, y=y, dy=dy, **grads)


case("rnn_plain", n.RNN, 2, 5, 3, 4)
case("rnn_relu", n.RNN, 2, 4, 3, 2)
case("rnn_reverse", n.RNN, 3, 4, 2, 3, reverse=True, bias=False)
case("rnn_lengths", n.RNN, 3, 5, 2, 3, lengths=[5, 1, 3])
case("gru_plain", n.GRU, 2, 5, 3, 4)
case("gru_last", n.GRU, 3, 4, 2, 5, last=True)
case("gru_reverse", n.GRU, 2, 3, 4, 2, reverse=True, bias=False)
case("gru_initial", n.GRU, 2, 4, 3, 2, initial=True)
case("lstm_plain", n.LSTM, 2, 6, 3, 4)
case("lstm_single", n.LSTM, 3, 1, 2, 2)
case("lstm_last", n.LSTM, 2, 5, 3, 3, last=True, cell=True)
case("lstm_reverse", n.LSTM, 2, 4, 3, 2, reverse=True)
case("lstm_initial", n.LSTM, 2, 4, 2, 3, initial=True, last=True)
case("lstm_lengths", n.LSTM, 4, 5, 2, 3, lengths=[2, 5, 1, 4], reverse=True)
out.write()


class Known(n.Module):
    """All three, with several layers, in both directions, and bent otherwise."""

    def __init__(self):
        super().__init__()
        self.lstm = n.LSTM(3, 4, num_layers=2, batch_first=True)
        self.gru = n.GRU(4, 3, bidirectional=True, batch_first=True)
        self.rnn = n.RNN(6, 5, nonlinearity="relu", batch_first=True)
        self.head = n.Linear(5, 2)

    def forward(self, x):
        both, _ = self.gru(self.lstm(x)[0])
        _, last = self.rnn(both)
        return self.head(last[0])


out = Golden("recurrent_state", """
x: [3, 6, 3] -> LSTM(4, num_layers=2), GRU(3, bidirectional=True), RNN(5, nonlinearity="relu"), Linear(2) of its last state: y, with
the parameters of recurrent_state.safetensors, in float32. y is computed in float64.""")
model = Known()
state = {name: torch.tensor(normal(rng, *t.shape, scale=0.5)).float().contiguous() for name, t in model.state_dict().items()}
safetensors.torch.save_file(state, HERE / "recurrent_state.safetensors", metadata={"format": "pt"})
model.double().load_state_dict({name: t.double() for name, t in state.items()})
x = normal(rng, 3, 6, 3)
out.case("network", x=x, y=model(torch.tensor(x)))
out.write()
