"""Golden values of layers over images: convolutions, pooling, batch norm over channels, and one small network.

    golden-venv/bin/python make_images.py          # rewrites images.txt and image_state.safetensors; see README.md

Everything is computed by PyTorch in float64, in the format that README.md gives.  The name of a case is that of its layer and a variant,
for which tests/it/images.rs has the arguments.  `dy` is the upstream gradient of `y`; `dx` and, for a parameter, `d` and its name are
the gradients.
"""
import numpy as np
import safetensors.torch
import torch
import torch.nn as n
import torch.nn.functional as F

from make_golden import HERE, Golden, leaf, normal

rng = np.random.default_rng(53)
out = Golden("images", """
Layers over images [B, C, H, W] of PyTorch, in training mode unless the name of the case says inference. The last case is a network:
x: [3, 1, 9, 8] -> Conv2d(6, 3, padding=1), BatchNorm2d, ReLU, MaxPool2d(2), Conv2d(8, (3, 2), groups=2, padding=(1, 0)), ReLU, Flatten,
Linear(5) in inference mode gives y, with the parameters and statistics of image_state.safetensors, in float32.""")


def case(name, x, f, **params):
    """`f` of an image and of parameters, and what it sends back."""
    x, params = leaf(x), {key: leaf(value) for key, value in params.items()}
    y = f(x, **params)
    dy = normal(rng, *y.shape)
    y.backward(torch.tensor(dy))
    entries = dict(x=x, **params, y=y, dy=dy, dx=x.grad)
    out.case(name, **entries, **{f"d{key}": value.grad for key, value in params.items()})


def convolution(name, image, channels, kernel, bias=True, groups=1, **options):
    per_group = image[1] // groups
    params = dict(weight=normal(rng, channels, per_group, *kernel, scale=0.5))
    if bias:
        params["bias"] = normal(rng, channels)
    case(name, normal(rng, *image), lambda x, weight, bias=None: F.conv2d(x, weight, bias, groups=groups, **options), **params)


convolution("conv2d_plain", (2, 3, 5, 4), 4, (3, 3))
convolution("conv2d_one_by_one", (3, 4, 3, 2), 5, (1, 1), bias=False)
convolution("conv2d_one_by_one_stride", (2, 3, 5, 6), 2, (1, 1), stride=2)
convolution("conv2d_stride", (2, 2, 7, 6), 3, (3, 3), stride=2, padding=1)
convolution("conv2d_pairs", (2, 2, 6, 9), 3, (2, 4), stride=(1, 3), padding=(1, 2), dilation=(2, 1))
convolution("conv2d_same", (2, 2, 5, 6), 3, (4, 3), padding="same", dilation=(1, 2))
convolution("conv2d_groups", (2, 4, 5, 5), 6, (3, 3), groups=2, padding=1)
convolution("conv2d_depthwise", (2, 5, 4, 6), 5, (3, 3), groups=5, padding=1, bias=False)
convolution("conv2d_multiplier", (2, 3, 4, 4), 6, (2, 2), groups=3, stride=2)
convolution("conv2d_patches", (2, 3, 6, 7), 4, (2, 3), stride=(2, 3))

# The second image is all of one number, so that every window has ties.
image = normal(rng, 2, 3, 7, 6)
image[1] = 0.25
case("max_pool_plain", image, lambda x: F.max_pool2d(x, 2))
case("max_pool_overlap", image, lambda x: F.max_pool2d(x, 3, stride=2, padding=1))
case("max_pool_pairs", image, lambda x: F.max_pool2d(x, (2, 3), stride=(3, 1), padding=(1, 0)))
case("avg_pool_plain", image, lambda x: F.avg_pool2d(x, 2))
case("avg_pool_overlap", image, lambda x: F.avg_pool2d(x, 3, stride=2, padding=1))
case("avg_pool_pairs", image, lambda x: F.avg_pool2d(x, (2, 3), stride=(3, 1), padding=(1, 0)))
case("global_avg_pool", image, lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1))
case("global_max_pool", image, lambda x: F.adaptive_max_pool2d(x, 1).flatten(1))
case("flatten", normal(rng, 2, 3, 2, 2), lambda x: x.flatten(1))


def batch_norm(name, image, training):
    channels = image[1]
    mean, var = normal(rng, channels), 0.5 + abs(normal(rng, channels))
    running = dict(running_mean=torch.tensor(mean), running_var=torch.tensor(var))
    params = dict(gamma=normal(rng, channels), beta=normal(rng, channels))

    def norm(x, gamma, beta):
        return F.batch_norm(x, running["running_mean"], running["running_var"], gamma, beta, training, 0.1, 1e-5)

    case(name, normal(rng, *image) + 0.5, norm, **params)
    out.put("running_mean", mean)
    out.put("running_var", var)
    if training:
        out.put("next_mean", running["running_mean"])
        out.put("next_var", running["running_var"])


batch_norm("batch_norm_image", (3, 4, 3, 5), True)
batch_norm("batch_norm_one_image", (1, 3, 2, 3), True)
batch_norm("batch_norm_inference", (2, 4, 3, 3), False)

model = n.Sequential(
    n.Conv2d(1, 6, 3, padding=1), n.BatchNorm2d(6), n.ReLU(), n.MaxPool2d(2),
    n.Conv2d(6, 8, (3, 2), groups=2, padding=(1, 0)), n.ReLU(), n.Flatten(), n.Linear(8 * 4 * 3, 5),
).eval()
state = {}
for name, t in model.state_dict().items():
    if t.dtype == torch.int64:
        state[name] = torch.tensor(7)
        continue
    v = normal(rng, *t.shape, scale=0.5)
    state[name] = torch.tensor(0.25 + abs(v) if name == "1.running_var" else v).to(torch.float32).contiguous()
model.load_state_dict({name: t.to(torch.float64) if t.is_floating_point() else t for name, t in state.items()})
safetensors.torch.save_file(state, HERE / "image_state.safetensors", metadata={"format": "pt"})
x = normal(rng, 3, 1, 9, 8)
out.case("network", x=x, y=model(torch.tensor(x)))


def transposed(name, image, channels, kernel, groups=1, **options):
    params = dict(weight=normal(rng, image[1], channels // groups, *kernel, scale=0.5), bias=normal(rng, channels))
    f = lambda x, weight, bias: F.conv_transpose2d(x, weight, bias, groups=groups, **options)
    case(name, normal(rng, *image), f, **params)


transposed("conv_transpose2d_plain", (2, 3, 3, 4), 2, (3, 3))
transposed("conv_transpose2d_stride", (2, 3, 4, 3), 2, (2, 2), stride=2)
transposed("conv_transpose2d_pairs", (2, 2, 3, 4), 3, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(1, 2))
transposed("conv_transpose2d_groups", (2, 4, 3, 3), 6, (3, 3), groups=2, stride=2, padding=1, output_padding=1)


def signal(name, shape, channels, kernel, groups=1, **options):
    params = dict(weight=normal(rng, channels, shape[1] // groups, kernel, scale=0.5), bias=normal(rng, channels))
    f = lambda x, weight, bias: F.conv1d(x, weight, bias, groups=groups, **options)
    case(name, normal(rng, *shape), f, **params)


signal("conv1d_plain", (2, 3, 7), 4, 3)
signal("conv1d_stride", (2, 4, 8), 6, 4, groups=2, stride=2, padding=1)
signal("conv1d_same", (2, 3, 7), 2, 4, padding="same", dilation=2)

image = normal(rng, 2, 2, 3, 4)
case("upsample_nearest", image, lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"))
case("upsample_bilinear", image, lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear"))
params = dict(gamma=normal(rng, 6), beta=normal(rng, 6))
case("group_norm_image", normal(rng, 2, 6, 3, 2) + 0.5, lambda x, gamma, beta: F.group_norm(x, 3, gamma, beta), **params)
case("group_norm_signal", normal(rng, 2, 6, 3), lambda x, gamma, beta: F.group_norm(x, 1, gamma, beta), **params)
case("group_norm_matrix", normal(rng, 3, 6), lambda x, gamma, beta: F.group_norm(x, 2, gamma, beta), **params)
mean, std = normal(rng, 3), 0.25 + abs(normal(rng, 3))
case("normalize", normal(rng, 2, 3, 3, 2), lambda x: (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])
out.put("normalize_mean", mean)
out.put("normalize_std", std)
out.write()
