"""The layers of cnn and resnet20 one by one in PyTorch: what `cargo bench -p gradloom-benches -- --mode layers` measures of gradloom alone.

    cargo bench -p gradloom-benches -- --mode layers > TABLE
    layers_pytorch.py [TABLE]

GFLOP/s forward, by the input and by the weight, on one thread, with channels last; bare products, with nothing fused into them or
computed between them, at their best of many runs in turns. With a table: gradloom's alone, PyTorch's, and how many times as fast
gradloom is.
"""

import os
import sys

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import time

import torch
from torch.nn import functional as F

ROUNDS, SECONDS = 5, 0.05
PASSES = ("forward", "by the input", "by the weight")
# Batch, size, channels in and out, taps, stride; of a dense layer its width is 0. A layer inside of a block has the shape of the block.
LAYERS = {
    "cnn": {
        "conv1": (64, 28, 1, 32, 3, 1),
        "conv2": (64, 14, 32, 64, 3, 1),
        "dense1": (64, 0, 3136, 128, 1, 1),
        "dense2": (64, 0, 128, 10, 1, 1),
    },
    "resnet20": {
        "conv1": (32, 32, 3, 16, 3, 1),
        "repeat1": (32, 32, 16, 16, 3, 1),
        "down1.residual1.conv1": (32, 32, 16, 32, 3, 2),
        "down1.residual1.skip.conv1": (32, 32, 16, 32, 1, 2),
        "down1": (32, 16, 32, 32, 3, 1),
        "repeat2": (32, 16, 32, 32, 3, 1),
        "down2.residual1.conv1": (32, 16, 32, 64, 3, 2),
        "down2.residual1.skip.conv1": (32, 16, 32, 64, 1, 2),
        "down2": (32, 8, 64, 64, 3, 1),
        "repeat3": (32, 8, 64, 64, 3, 1),
        "dense1": (32, 0, 64, 10, 1, 1),
    },
}


def passes(batch, size, inputs, outputs, taps, stride):
    """The three products of a layer, as functions, and their operations."""
    if size == 0:
        x, w, dy = torch.randn(batch, inputs), torch.randn(outputs, inputs), torch.randn(batch, outputs)
        return [lambda: F.linear(x, w), lambda: dy @ w, lambda: dy.t() @ x], 2 * batch * inputs * outputs
    last = torch.channels_last
    x = torch.randn(batch, inputs, size, size).to(memory_format=last)
    w = torch.randn(outputs, inputs, taps, taps).to(memory_format=last)
    pad = [taps // 2] * 2
    y = F.conv2d(x, w, None, stride, pad)
    dy = torch.randn_like(y, memory_format=last)

    def backward(by_input, by_weight):
        wanted = [by_input, by_weight, False]
        return lambda: torch.ops.aten.convolution_backward(
            dy, x, w, None, [stride] * 2, pad, [1, 1], False, [0, 0], 1, wanted
        )

    flops = 2 * y.numel() * inputs * taps * taps
    return [lambda: F.conv2d(x, w, None, stride, pad), backward(True, False), backward(False, True)], flops


def best(function):
    end, least = time.perf_counter() + SECONDS, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - start)
    return least


rates = {}


def measured(shape):
    """GFLOP/s of the products of a layer."""
    if shape not in rates:
        functions, flops = passes(*shape)
        rates[shape] = [flops / min(best(function) for _ in range(ROUNDS)) / 1e9 for function in functions]
    return rates[shape]


def beside(table):
    """The table of gradloom with PyTorch's rates, and how many times as fast gradloom is alone."""
    workload = None
    for line in table:
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells or cells[0] == "---":
            continue
        if cells[0].split(",")[0] in LAYERS:
            workload = cells[0].split(",")[0]
            print(f"\n| {workload}, GFLOP/s alone, PyTorch {torch.__version__}, times | " + " | ".join(PASSES) + " |")
            print("| --- | ---: | ---: | ---: |")
            continue
        layers = LAYERS[workload]
        shape = layers.get(cells[0]) or layers[cells[0].split(".")[0]]
        found = []
        for cell, rate in zip(cells[1:], measured(shape)):
            own = float(cell.split()[0]) if "alone" in cell else None
            found.append(f"{own:.1f} / {rate:.1f}, {own / rate:.2f}" if own else "-")
        print(f"| {cells[0]} | " + " | ".join(found) + " |", flush=True)


torch.set_num_threads(1)
if len(sys.argv) > 1:
    with open(sys.argv[1]) as table:
        beside(table)
else:
    for workload, layers in LAYERS.items():
        print(f"| {workload}, GFLOP/s | " + " | ".join(PASSES) + " |\n| --- | ---: | ---: | ---: |")
        for name, shape in layers.items():
            print(f"| {name} | " + " | ".join(f"{rate:.1f}" for rate in measured(shape)) + " |", flush=True)
        print()
