"""One token of a text after the other in PyTorch, with keys and values kept: what `cargo bench -p gradloom-benches -- --mode generate`
measures of gradloom.

Microseconds on one thread, the least of some texts.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import time

import torch
from torch import nn
from torch.nn import functional as F

TOKENS, TEXTS = 16, 5


class Block(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.kept = torch.zeros(2, heads, length, width // heads)

    def forward(self, x, at):
        q, k, v = self.qkv(self.norms[0](x)).view(3, self.heads, 1, -1)
        self.kept[0, :, at], self.kept[1, :, at] = k[:, 0], v[:, 0]
        keys, values = self.kept[:, :, : at + 1]
        read = F.scaled_dot_product_attention(q, keys, values)
        x = x + self.out(read.reshape(1, -1))
        return x + self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, width, layers, heads, length):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(65, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads, length) for _ in range(layers)])
        self.norm, self.logits = nn.LayerNorm(width), nn.Linear(width, 65)

    def forward(self, token, at):
        x = self.tokens(token) + self.positions.weight[at]
        for block in self.blocks:
            x = block(x, at)
        return self.logits(self.norm(x))


def one(width, layers, heads, length):
    net, tokens = Gpt(width, layers, heads, length), torch.arange(length) % 65
    least = float("inf")
    for _ in range(TEXTS):
        for at in range(length):
            start = time.perf_counter()
            net(tokens[at : at + 1], at)
            if at + TOKENS >= length:
                least = min(least, time.perf_counter() - start)
    return f"{1e6 * least:.0f}"


torch.set_num_threads(1)
print(f"| a token, us, PyTorch {torch.__version__} | after 64 | after 512 |")
print("| --- | ---: | ---: |")
with torch.inference_mode():
    print("| d 128, 4 layers |", one(128, 4, 4, 64), "|", one(128, 4, 4, 512), "|", flush=True)
    print("| d 512, 6 layers |", one(512, 6, 8, 64), "|", one(512, 6, 8, 512), "|", flush=True)
