"""Golden values of networks of several flows, inputs and outputs.

    golden-venv/bin/python make_flows.py          # rewrites flows.txt and gpt_state.safetensors; see README.md

Everything is computed by PyTorch in float64, in the format that README.md gives.  A case is a network of tests/it/flows_golden.rs, which
has the declaration.  Weights are those of gradloom, [in, out]; in keys `_` stands for `.`.  `d` and a name is the gradient of the loss.
"""
import numpy as np
import safetensors.torch
import torch
import torch.nn as n
import torch.nn.functional as F

from make_golden import HERE, Golden, leaf, normal

rng = np.random.default_rng(83)
out = Golden("flows", """
Networks of several flows of PyTorch, float64. `gaussian`: h = tanh(Linear(6)(cat(a, b))); mean, spread = the halves of Linear(4)(h);
loss = mean(0.5 (exp(-spread) (t - mean)^2 + spread)) + weight mean(h^2), weight = 0.3. `tasks`: rows x [4, 3, 5] and class ids; see the
script. `gpt` has the parameters of gpt_state.safetensors, in float32.""")


def params(**shapes):
    return {name: leaf(normal(rng, *shape, scale=0.6)) for name, shape in shapes.items()}


def case(name, f, params, inputs, ids={}):
    tensors = {key: torch.tensor(value) for key, value in (inputs | ids).items()}
    outputs = f(**tensors, **params)
    outputs["loss"].backward()
    grads = {f"d{key}": value.grad for key, value in params.items()}
    out.case(name, **inputs, **ids, **params, **outputs, **grads)


def gaussian(a, b, t, h_dense1_weight, h_dense1_bias, mean_dense1_weight, mean_dense1_bias):
    h = torch.tanh(torch.cat((a, b), 1) @ h_dense1_weight + h_dense1_bias)
    mean, spread = torch.chunk(h @ mean_dense1_weight + mean_dense1_bias, 2, 1)
    nll = 0.5 * (torch.exp(-spread) * (t - mean) ** 2 + spread)
    return dict(mean=mean, spread=spread, loss=nll.mean() + 0.3 * (h**2).mean())


case("gaussian", gaussian, params(h_dense1_weight=(5, 6), h_dense1_bias=(6,), mean_dense1_weight=(6, 4), mean_dense1_bias=(4,)),
     dict(a=normal(rng, 4, 3), b=normal(rng, 4, 2), t=normal(rng, 4, 2)))


def tasks(x, kind, label, u_dense1_weight, u_dense1_bias, k_dense1_weight, logits_dense1_weight, logits_dense1_bias):
    u = x @ u_dense1_weight + u_dense1_bias                      # [4, 3, 6]
    k = F.one_hot(kind.long(), 3).double() @ k_dense1_weight     # [4, 6]
    centred = u - u.mean(2, keepdim=True)
    gated = torch.where(centred > 0.1, centred * k[:, None, :], 0.5 * centred)
    peak = torch.cat((gated[:, 0, 1:4], gated[:, :, -1]), 1)     # [4, 6]
    energy = (gated.transpose(1, 2).reshape(4, 18)[:, :9] ** 2).sum(1)
    spread = u.var((1, 2), unbiased=False)
    logits = torch.cat((peak, u.amax(1)), 1) @ logits_dense1_weight + logits_dense1_bias
    loss = F.cross_entropy(logits, label.long()) + 0.1 * (energy * torch.sqrt(spread + 1e-3)).mean() + 0.05 * u.amin(2).mean()
    return dict(logits=logits, energy=energy, loss=loss)


case("tasks", tasks, params(u_dense1_weight=(5, 6), u_dense1_bias=(6,), k_dense1_weight=(3, 6), logits_dense1_weight=(12, 4),
                            logits_dense1_bias=(4,)),
     dict(x=normal(rng, 4, 3, 5)), dict(kind=np.array([0, 2, 1, 2]), label=np.array([3, 0, 2, 2])))


def masked(tokens, next, embedding1_weight, h_qkv_weight, h_qkv_bias, h_out_weight, h_out_bias, logits_dense1_bias):
    """Padding is id 0: nobody looks at it and it costs nothing. The last layer has the transpose of the first one's weights."""
    rows = F.embedding(tokens.long(), embedding1_weight)
    module = n.MultiheadAttention(6, 2, batch_first=True)
    given = {"in_proj_weight": h_qkv_weight.T, "in_proj_bias": h_qkv_bias, "out_proj.weight": h_out_weight.T, "out_proj.bias": h_out_bias}
    options = dict(key_padding_mask=tokens == 0, need_weights=False)
    h = rows + torch.func.functional_call(module, given, (rows, rows, rows), options)[0]
    logits = (h @ embedding1_weight.T + logits_dense1_bias)
    flat, ids = logits.reshape(-1, 7), next.long().reshape(-1)
    weight = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.0, 3.0, 0.0], dtype=torch.float64)
    loss = F.cross_entropy(flat, ids, ignore_index=0) + 0.5 * F.cross_entropy(flat, ids, weight=weight, ignore_index=0)
    return dict(logits=logits, loss=loss + 0.25 * F.cross_entropy(flat, ids, label_smoothing=0.2, ignore_index=0))


case("masked", masked, params(embedding1_weight=(7, 6), h_qkv_weight=(6, 18), h_qkv_bias=(18,), h_out_weight=(6, 6), h_out_bias=(6,),
                              logits_dense1_bias=(7,)),
     {}, dict(tokens=np.array([[3, 1, 6, 2, 5], [4, 4, 0, 0, 0], [2, 5, 1, 0, 0]]), next=np.array([[1, 6, 2, 5, 4], [4, 0, 0, 0, 0], [5, 1, 3, 0, 0]])))


class Gpt(n.Module):
    """Layers that look back, with the norm first."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = n.Embedding(7, 8), n.Embedding(5, 8)
        layer = lambda: n.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.layers, self.norm, self.head = n.ModuleList(layer() for _ in range(2)), n.LayerNorm(8), n.Linear(8, 7, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight
        mask = n.Transformer.generate_square_subsequent_mask(5, dtype=x.dtype)
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return self.head(self.norm(x))


model = Gpt()
state = {name: torch.tensor(normal(rng, *t.shape, scale=0.5)).float().contiguous() for name, t in model.state_dict().items()}
safetensors.torch.save_file(state, HERE / "gpt_state.safetensors", metadata={"format": "pt"})
model.double().load_state_dict({name: t.double() for name, t in state.items()})
tokens = rng.integers(0, 7, (3, 5))
out.case("gpt", tokens=tokens, logits=model(torch.tensor(tokens)))
out.write()
