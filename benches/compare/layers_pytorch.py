"""The convolutions of cnn and resnet20 one by one in PyTorch: what `cargo bench -p gradloom-benches -- --mode layers` measures of gradloom.

GFLOP/s forward, by the input and by the weight, on one thread, with channels last; bare products, with nothing fused into them or
computed between them, at their best of many runs in turns.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import time

import torch
from torch.nn import functional as F

ROUNDS, SECONDS = 5, 0.05
# Name, batch, size, channels in and out, taps, stride.
LAYERS = {
    "cnn": [("conv1", 64, 28, 1, 32, 3, 1), ("conv2", 64, 14, 32, 64, 3, 1)],
    "resnet20": [
        ("conv1", 32, 32, 3, 16, 3, 1),
        ("repeat1", 32, 32, 16, 16, 3, 1),
        ("down1.residual1.conv1", 32, 32, 16, 32, 3, 2),
        ("down1.residual1.skip.conv1", 32, 32, 16, 32, 1, 2),
        ("repeat2", 32, 16, 32, 32, 3, 1),
        ("down2.residual1.conv1", 32, 16, 32, 64, 3, 2),
        ("down2.residual1.skip.conv1", 32, 16, 32, 64, 1, 2),
        ("repeat3", 32, 8, 64, 64, 3, 1),
    ],
}


def passes(batch, size, inputs, outputs, taps, stride):
    """The three products of a layer, as functions, and their operations."""
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


torch.set_num_threads(1)
for workload, layers in LAYERS.items():
    print(f"| {workload}, GFLOP/s | forward | by the input | by the weight |\n| --- | ---: | ---: | ---: |")
    for name, *layer in layers:
        functions, flops = passes(*layer)
        least = [min(best(function) for _ in range(ROUNDS)) for function in functions]
        print(f"| {name} | " + " | ".join(f"{flops / seconds / 1e9:.1f}" for seconds in least) + " |", flush=True)
    print()
