"""PyTorch's fused causal attention, forward and backward: what `cargo bench -p gradloom-benches -- --mode attention` measures of gradloom.

Microseconds on one thread, at their best of many runs.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import time

import torch
from torch.nn import functional as F

SECONDS = 1.0
# Name, batch, heads, positions.
SHAPES = [("64 heads, T 64", 16, 4, 64), ("8 heads, T 512", 1, 8, 512), ("2 heads, T 2048", 1, 2, 2048)]


def main():
    torch.set_num_threads(1)
    print("| causal attention, heads of 32 | forward | backward |")
    print("| --- | ---: | ---: |")
    for name, batch, heads, length in SHAPES:
        q, k, v = (torch.randn(batch, heads, length, 32, requires_grad=True) for _ in range(3))
        dy = torch.randn(batch, heads, length, 32)
        least, end = [float("inf")] * 2, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            start = time.perf_counter()
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            between = time.perf_counter()
            torch.autograd.grad(y, (q, k, v), dy)
            times = between - start, time.perf_counter() - between
            least = [min(pair) for pair in zip(least, times)]
        print(f"| {name} | {1e6 * least[0]:.0f} | {1e6 * least[1]:.0f} |", flush=True)


main()
