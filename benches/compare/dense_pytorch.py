"""Dense networks in PyTorch over the grid of `cargo bench -p gradloom-benches -- --mode dense`, held against its table.

    cargo bench -p gradloom-benches -- --mode dense > TABLE
    dense_pytorch.py TABLE [THREADS]

Prints the table with PyTorch's times beside it, and how many times faster gradloom is.
"""

import os
import sys

threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)

import torch
from torch import nn
from torch.nn import functional as F

import measuring

SECONDS, WARMUP = 0.2, 0.05


def times(width, depth, batch):
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    network = nn.Sequential(*hidden, nn.Linear(width, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)
    x, label = torch.randn(batch, width), torch.randint(10, (batch,))

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), label)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict():
        with torch.inference_mode():
            network(x)

    return [measuring.samples(call, SECONDS, WARMUP)[0] for call in (step, predict)]


torch.set_num_threads(threads)
print(f"| width | depth | batch | step, us | PyTorch {torch.__version__} | times | predict, us | PyTorch | times |")
print("| ---: " * 9 + "|")
with open(sys.argv[1]) as table:
    rows = [line.split("|")[1:-1] for line in table if line.startswith("|")]
for row in rows[2:]:
    width, depth, batch = (int(number) for number in row[:3])
    (step, predict), (own_step, own_predict) = times(width, depth, batch), (float(number) for number in row[3:])
    cells = [width, depth, batch, own_step, f"{step:.2f}", f"{step / own_step:.2f}"]
    print("|", " | ".join(map(str, cells + [own_predict, f"{predict:.2f}", f"{predict / own_predict:.2f}"])), "|", flush=True)
