"""PyTorch on the CPU, images with channels last: `eager`, modules with autograd and a fused optimizer; `compile`, everything through
`torch.compile`, compiled anew each time."""

import os
import tempfile

import measuring

args = measuring.arguments(["eager", "compile"])
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
os.environ["CUDA_VISIBLE_DEVICES"] = ""
if args.threads > 1:  # A thread a core: two that spin on one core cost milliseconds.
    os.environ |= {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}
compiled = args.mode == "compile"
if compiled:
    cache = tempfile.TemporaryDirectory()
    os.environ |= {
        "TORCHINDUCTOR_CACHE_DIR": cache.name,
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
    }

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(args.threads)
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": lambda: nn.GELU(approximate="tanh")}


class Block(nn.Module):
    """Two convolutions, whose result is added to what came in, or to a projection of it where the size changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = norm(outputs), norm(outputs)
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
        self.skip = projection if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.skip(x))


class Wide(nn.Module):
    """Two convolutions after a norm each, whose result is added to what came in, or to a projection of it after the first norm."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x):
        y = F.relu(self.norm1(x))
        skip = self.skip(y) if self.skip else x
        return self.conv2(F.relu(self.norm2(self.conv1(y)))) + skip


class Transformer(nn.Module):
    """Attention to what came before, and two layers, each after a norm and beside a way around it."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.norms = heads, nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.wide(self.norms[1](x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary, length, width, layers=4, heads=4):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.layers = nn.Sequential(*(Transformer(width, heads) for _ in range(layers)), nn.LayerNorm(width))
        self.head = nn.Linear(width, vocabulary, bias=False)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens):
        # Classes are along the second axis where the loss looks for them.
        return self.head(self.layers(self.tokens(tokens) + self.positions.weight)).transpose(1, 2)


class Rows(nn.Module):
    """The logits of all tokens, one row after the other: classes along the last axis are the fastest."""

    def __init__(self, vocabulary, width):
        super().__init__()
        self.tokens, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        return self.head(self.tokens(tokens)).flatten(0, 1)


class Recurrent(nn.Module):
    """All states of a layer that has one."""

    def __init__(self, cell, inputs, size):
        super().__init__()
        self.layer = getattr(nn, cell)(inputs, size, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0]


def norm(channels):
    return nn.BatchNorm2d(channels, eps=measuring.NORM_EPSILON, momentum=1 - measuring.NORM_MOMENTUM)


def cnn():
    layers = []
    for inputs, outputs in [(1, 32), (32, 64)]:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), norm(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), norm(16), nn.ReLU()]
    for inputs, outputs in [(16, 16), (16, 32), (32, 64)]:
        layers += [Block(inputs, outputs, outputs // inputs), Block(outputs, outputs, 1), Block(outputs, outputs, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def wrn16():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    for inputs, outputs, stride in [(16, 64, 1), (64, 128, 2), (128, 256, 2)]:
        layers += [Wide(inputs, outputs, stride), Wide(outputs, outputs, 1)]
    return nn.Sequential(*layers, norm(256), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def mobile():
    layers = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), norm(32), nn.ReLU()]
    for inputs, outputs, stride in [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2)]:
        layers += [nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), norm(inputs), nn.ReLU()]
        layers += [nn.Conv2d(inputs, outputs, 1, bias=False), norm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def model(workload):
    if workload.cell:
        return Recurrent(workload.cell, *workload.widths)
    if workload.length and not workload.heads:
        return Rows(*workload.widths[:2])
    if workload.length:
        return Gpt(workload.widths[0], workload.length, workload.widths[1], heads=workload.heads)
    if workload.image:
        network = {"cnn": cnn, "resnet20": resnet20, "wrn16": wrn16, "mobile": mobile}[args.workload]()
        return network.to(memory_format=torch.channels_last)
    layers = []
    for inputs, outputs in zip(workload.widths, workload.widths[1:-1]):
        layers.append(nn.Linear(inputs, outputs, bias=workload.bias))
        if workload.norm:
            layers.append(nn.BatchNorm1d(outputs, eps=measuring.NORM_EPSILON, momentum=1 - measuring.NORM_MOMENTUM))
        layers.append(ACTIVATIONS[workload.activation]())
    layers.append(nn.Linear(*workload.widths[-2:]))
    return nn.Sequential(*layers, *([] if workload.classes else [nn.Sigmoid()]))


def optimizer(workload, parameters):
    options = {"lr": workload.rate, "fused": not compiled}
    betas = {"betas": (measuring.BETA1, measuring.BETA2), "eps": measuring.EPSILON}
    return {
        "sgd": lambda: torch.optim.SGD(parameters, **options),
        "momentum": lambda: torch.optim.SGD(parameters, momentum=measuring.MOMENTUM, **options),
        "adam": lambda: torch.optim.Adam(parameters, **betas, **options),
        "adamw": lambda: torch.optim.AdamW(parameters, weight_decay=measuring.DECAY, **betas, **options),
    }[workload.optimizer]()


def build(workload):
    torch.manual_seed(0)
    net = model(workload)
    x, y = (torch.from_numpy(array) for array in measuring.data(workload))
    if workload.image:
        x = x.to(memory_format=torch.channels_last)
    update = optimizer(workload, net.parameters())
    criterion = F.cross_entropy if workload.classes else F.mse_loss
    if workload.length and not workload.heads:
        y = y.flatten()
    if workload.cell:
        criterion = lambda states, _: states.square().mean()
    objective, apply, infer = lambda: criterion(net(x), y), update.step, net
    if compiled:
        objective = torch.compile(objective, dynamic=False)
        apply = torch.compile(lambda: update.step())
        infer = torch.compile(lambda rows: net(rows), dynamic=False)
    last = None

    def step():
        nonlocal last
        if not net.training:
            net.train()
        loss = objective()
        loss.backward()
        apply()
        update.zero_grad(set_to_none=True)
        last = loss.detach()

    def predict(rows):
        if net.training:
            net.eval()
        # Compiled code does not take tensors of the stricter inference mode.
        with torch.no_grad() if compiled else torch.inference_mode():
            return infer(rows)

    row = x[:1]
    return measuring.Network(step, lambda: float(last), lambda: predict(row), lambda: predict(x))


measuring.measure(args, "pytorch", torch.__version__, build)
