"""Golden values of layers over sequences, and of one network of several flows.

    golden-venv/bin/python make_sequences.py          # rewrites sequences.txt; see README.md

Everything is computed by PyTorch in float64, in the format that README.md gives.  The name of a case is that of its layer and a variant,
for which tests/it/sequences_golden.rs has the arguments.  Weights are those of gradloom, [in, out]; in keys `_` stands for `.`.  `dy` is
the upstream gradient of `y`; `d` and a name is a gradient.
"""
import numpy as np
import torch
import torch.nn as n
import torch.nn.functional as F

from make_golden import Golden, leaf, normal

rng = np.random.default_rng(71)
out = Golden("sequences", """
Layers over sequences [B, T, d] of PyTorch. The last case is a network of two flows: encoder = Linear(3), tanh, Linear(2) of a [4, 5] and of
b [4, 5]; d = sqrt(sum((encoder(a) - encoder(b))^2, 1) + 1e-6); loss = mean(same d^2 + (1 - same) relu(2 - d)^2).""")


def case(name, inputs, f, **params):
    """`f` of inputs and of parameters, and what it sends back; class ids get nothing."""
    inputs = {key: leaf(value) if value.dtype == np.float64 else torch.tensor(value) for key, value in inputs.items()}
    params = {key: leaf(value) for key, value in params.items()}
    y = f(*inputs.values(), **params)
    dy = normal(rng, *y.shape)
    y.backward(torch.tensor(dy))
    grads = {f"d{key}": value.grad for key, value in (inputs | params).items() if value.grad is not None}
    out.case(name, **inputs, **params, y=y, dy=dy, **grads)


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def attention(name, rows, length, d, count, causal=False, bias=True):
    """By the module itself, given its parameters."""
    module = n.MultiheadAttention(d, count, bias=bias, batch_first=True)

    def f(x, qkv_weight, out_weight, qkv_bias=None, out_bias=None):
        given = {"in_proj_weight": qkv_weight.T, "out_proj.weight": out_weight.T}
        if bias:
            given |= {"in_proj_bias": qkv_bias, "out_proj.bias": out_bias}
        mask = n.Transformer.generate_square_subsequent_mask(length) if causal else None
        return torch.func.functional_call(module, given, (x, x, x), dict(attn_mask=mask, need_weights=False))[0]

    params = dict(qkv_weight=normal(rng, d, 3 * d, scale=0.5), out_weight=normal(rng, d, d, scale=0.5))
    if bias:
        params |= dict(qkv_bias=normal(rng, 3 * d, scale=0.5), out_bias=normal(rng, d, scale=0.5))
    case(name, dict(x=normal(rng, rows, length, d)), f, **params)


def shared(x, qkv_weight, out_weight, qkv_bias, out_bias):
    """Four heads of queries, two of keys and values, causal."""
    q, k, v = (x @ qkv_weight + qkv_bias).split((8, 4, 4), -1)
    y = F.scaled_dot_product_attention(heads(q, 4), heads(k, 2), heads(v, 2), is_causal=True, enable_gqa=True)
    return y.transpose(1, 2).flatten(2) @ out_weight + out_bias


def cross(x, memory, query_weight, kv_weight, out_weight, query_bias, kv_bias, out_bias):
    module = n.MultiheadAttention(6, 3, batch_first=True)
    given = {"in_proj_weight": torch.cat((query_weight, kv_weight), 1).T, "in_proj_bias": torch.cat((query_bias, kv_bias)),
             "out_proj.weight": out_weight.T, "out_proj.bias": out_bias}
    return torch.func.functional_call(module, given, (x, memory, memory), dict(need_weights=False))[0]


attention("attention_plain", 2, 5, 6, 2)
attention("attention_causal", 3, 4, 6, 3, causal=True)
attention("attention_unbiased", 2, 3, 4, 1, bias=False)
attention("attention_single", 2, 1, 4, 4, causal=True)
case("attention_shared", dict(x=normal(rng, 2, 5, 8, scale=0.5)), shared, qkv_weight=normal(rng, 8, 16, scale=0.5),
     out_weight=normal(rng, 8, 8, scale=0.5), qkv_bias=normal(rng, 16, scale=0.5), out_bias=normal(rng, 8, scale=0.5))
case("cross_attention_plain", dict(x=normal(rng, 2, 4, 6), memory=normal(rng, 2, 7, 6)), cross,
     query_weight=normal(rng, 6, 6, scale=0.5), kv_weight=normal(rng, 6, 12, scale=0.5), out_weight=normal(rng, 6, 6, scale=0.5),
     query_bias=normal(rng, 6), kv_bias=normal(rng, 12), out_bias=normal(rng, 6))
case("embedding_plain", dict(x=rng.integers(0, 5, (3, 4))), lambda x, weight: F.embedding(x, weight), weight=normal(rng, 5, 3))
case("positional_plain", dict(x=normal(rng, 2, 4, 3)), lambda x, weight: x + weight, weight=normal(rng, 4, 3))
case("rms_norm_plain", dict(x=normal(rng, 2, 3, 5)), lambda x, gamma: F.rms_norm(x, (5,), gamma, 1e-5), gamma=normal(rng, 5))

a, b, same = normal(rng, 4, 5), normal(rng, 4, 5), np.array([1.0, 0.0, 0.0, 1.0])
params = {"encoder_dense1_weight": leaf(normal(rng, 5, 3)), "encoder_dense1_bias": leaf(normal(rng, 3)),
          "encoder_dense2_weight": leaf(normal(rng, 3, 2)), "encoder_dense2_bias": leaf(normal(rng, 2))}


def encoder(x):
    w1, b1, w2, b2 = params.values()
    return torch.tanh(torch.tensor(x) @ w1 + b1) @ w2 + b2


d = torch.sqrt(((encoder(a) - encoder(b)) ** 2).sum(1) + 1e-6)
target = torch.tensor(same)
loss = (target * d**2 + (1 - target) * F.relu(2 - d) ** 2).mean()
loss.backward()
out.case("siamese", a=a, b=b, same=same, **params, d=d, loss=loss, **{f"d{key}": value.grad for key, value in params.items()})
out.write()
