"""One small recurrent step at a time in PyTorch: what `cargo bench -p gradloom-benches -- --mode stream` measures of gradloom.

An element of 16 numbers comes, a state of 64 goes on, on one thread. Of each layer the fastest counts of the module, the cell and the
cell as TorchScript.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch
from torch import nn

import measuring

ELEMENTS, SECONDS, WARMUP = 64, 0.5, 0.1


def module(kind, elements):
    layer, state = kind(16, 64, batch_first=True), None

    def step():
        nonlocal state
        for element in elements:
            _, state = layer(element, state)

    return step


def cell(kind, elements, script):
    layer, state = kind(16, 64), None
    layer = torch.jit.script(layer) if script else layer
    elements = [element[:, 0] for element in elements]

    def step():
        nonlocal state
        for element in elements:
            state = layer(element, state)

    return step


torch.set_num_threads(1)
print(f"| an element of a stream, us, PyTorch {torch.__version__} | least | median |")
print("| --- | ---: | ---: |")
for name, whole, one in [("rnn", nn.RNN, nn.RNNCell), ("gru", nn.GRU, nn.GRUCell), ("lstm", nn.LSTM, nn.LSTMCell)]:
    elements = list(torch.randn(ELEMENTS, 1, 1, 16))
    with torch.inference_mode():
        ways = [module(whole, elements), cell(one, elements, False), cell(one, elements, True)]
        found = min((measuring.samples(way, SECONDS, WARMUP, ELEMENTS) for way in ways), key=lambda times: times[0])
    print(f"| {name} | {found[0]:.2f} | {found[len(found) // 2]:.2f} |")
