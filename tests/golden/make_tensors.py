"""Golden values of the operations on tensors of any rank: movement, windows, rows of tables, products, reductions.

    python3 make_tensors.py          # rewrites tensors.txt next to this script; needs NumPy alone

Everything is computed in float64, in the format that README.md gives.  Values are small multiples of 1/1024.  Operands are `x`
and `z`, `index` holds row numbers, `dy` is the upstream gradient of `y`, and `dx`, `dz` are the gradients.  No operation is
computed the way the compiler computes it: elements that only move are followed by moving their numbers, windows are walked
tap by tap, products are `einsum`, and the first of several largest is `argmax`.
"""
import itertools
import pathlib

import numpy as np

rng = np.random.default_rng(17)
lines = ["# " + line for line in """Operations on tensors of any rank, by NumPy in float64. The name of a case is that of its operation and a
variant, for which tests/it/tensor_golden.rs has the attributes.""".splitlines()]


def normal(*shape):
    return np.round(rng.standard_normal(shape) * 1024) / 1024 + 0.0


def case(name, **entries):
    lines.append(f"\ncase {name}")
    for key, value in entries.items():
        value = np.asarray(value, np.float64)
        shape = "x".join(map(str, value.shape)) or "scalar"
        lines.append(" ".join([key, shape, *("%.17g" % number for number in value.ravel())]))


def moved(name, x, f, fill=0.0):
    """An operation that gives elements other places: `f` of an array and a fill."""
    numbers = f(np.arange(x.size).reshape(x.shape), -1)
    y = np.where(numbers < 0, fill, x.ravel()[numbers])
    assert np.array_equal(y, f(x, fill))
    dy = normal(*y.shape)
    dx = np.zeros(x.size)
    np.add.at(dx, numbers[numbers >= 0], dy[numbers >= 0])
    case(name, x=x, y=y, dy=dy, dx=dx.reshape(x.shape))


def pad(x, axis, before, inside, after, fill):
    x = np.moveaxis(x, axis, 0)
    n = len(x)
    y = np.full((before + n + max(n - 1, 0) * inside + after, *x.shape[1:]), fill, x.dtype)
    for i in range(n):
        y[before + i * (inside + 1)] = x[i]
    return np.moveaxis(y, 0, axis)


def patches(x, axis, size, stride, dilation, before, after, fill):
    x = np.moveaxis(pad(x, axis, before, 0, after, fill), axis, 0)
    starts = range(0, len(x) - dilation * (size - 1), stride)
    y = np.stack([np.stack([x[start + tap * dilation] for tap in range(size)]) for start in starts])
    return np.moveaxis(y, (0, 1), (axis, axis + 1))


def folded(name, extent, axis, shape, *window):
    """The adjoint of patches, from the numbers of the elements that patches hold."""
    whole = list(shape)
    whole[axis] = extent
    numbers = patches(np.arange(np.prod(whole)).reshape(whole), axis, *window, -1)
    x = normal(*numbers.shape)
    y = np.zeros(np.prod(whole))
    np.add.at(y, numbers[numbers >= 0], x[numbers >= 0])
    y = y.reshape(whole)
    dy = normal(*whole)
    dx = np.where(numbers < 0, 0.0, dy.ravel()[numbers])
    case(name, x=x, y=y, dy=dy, dx=dx)


def product(name, subscripts, x, z):
    y = np.einsum(subscripts, x, z)
    dy = normal(*y.shape)
    left, right, result = subscripts.replace("->", ",").split(",")
    case(name, x=x, z=z, y=y, dy=dy, dx=np.einsum(f"{result},{right}->{left}", dy, z), dz=np.einsum(f"{left},{result}->{right}", x, dy))


def reduced(kind, name, axes, x):
    n = np.prod([x.shape[axis] for axis in axes])
    y = {"sum": np.sum, "mean": np.mean, "variance": np.var, "max": np.max}[kind](x, axis=axes)
    dy = normal(*y.shape)
    spread = np.expand_dims(dy, axes)
    if kind == "sum":
        dx = np.broadcast_to(spread, x.shape)
    elif kind == "mean":
        dx = np.broadcast_to(spread / n, x.shape)
    elif kind == "variance":
        dx = spread * 2.0 * (x - x.mean(axis=axes, keepdims=True)) / n
    else:
        dx = np.zeros(x.shape)
        kept = [axis for axis in range(x.ndim) if axis not in axes]
        for place in itertools.product(*(range(x.shape[axis]) for axis in kept)):
            where = [slice(None)] * x.ndim
            for axis, at in zip(kept, place):
                where[axis] = at
            part = x[tuple(where)]
            first = np.zeros(part.size)
            first[part.argmax()] = dy[place]
            dx[tuple(where)] = first.reshape(part.shape)
    case(name, x=x, y=y, dy=dy, dx=dx)


moved("transpose_matrix", normal(2, 3), lambda x, _: x.T)
moved("transpose_rank4", normal(2, 3, 1, 4), lambda x, _: x.transpose(2, 0, 3, 1))
moved("transpose_rank6", normal(2, 1, 3, 2, 2, 2), lambda x, _: x.transpose(5, 3, 1, 0, 2, 4))
moved("slice_middle", normal(2, 5, 3), lambda x, _: x[:, 1:4, :])
moved("slice_steps", normal(8, 2), lambda x, _: x[1:8:3])
moved("slice_one", normal(2, 3, 4), lambda x, _: x[:, :, 3:4])
moved("pad_around", normal(2, 3), lambda x, fill: pad(x, 1, 2, 0, 1, fill))
moved("pad_inside", normal(3, 2), lambda x, fill: pad(x, 0, 1, 2, 0, fill), 0.5)
moved("pad_infinity", normal(2, 2, 2), lambda x, fill: pad(x, 1, 1, 1, 1, fill), -np.inf)
moved("patches_plain", normal(5), lambda x, fill: patches(x, 0, 3, 1, 1, 0, 0, fill))
moved("patches_stride", normal(2, 7, 3), lambda x, fill: patches(x, 1, 3, 2, 1, 1, 1, fill))
moved("patches_dilation", normal(9, 2), lambda x, fill: patches(x, 0, 3, 1, 3, 2, 3, fill), -np.inf)
moved("patches_gaps", normal(2, 8), lambda x, fill: patches(x, 1, 2, 3, 1, 0, 1, fill))
moved("patches_2d", normal(2, 4, 5, 2), lambda x, fill: patches(patches(x, 1, 3, 1, 1, 1, 1, fill), 3, 2, 2, 1, 0, 1, fill))
folded("fold_plain", 5, 0, (5,), 3, 1, 1, 0, 0)
folded("fold_stride", 7, 1, (2, 7, 3), 3, 2, 1, 1, 1)
folded("fold_dilation", 9, 0, (9, 2), 3, 1, 3, 2, 3)
folded("fold_gaps", 8, 1, (2, 8), 2, 3, 1, 0, 1)

x, z = normal(2, 2, 3), normal(2, 1, 3)
y = np.concatenate([x, z], axis=1)
dy = normal(*y.shape)
case("concat_middle", x=x, z=z, y=y, dy=dy, dx=dy[:, :2], dz=dy[:, 2:])
x, z = normal(2), normal(3)
y = np.concatenate([x, z])
dy = normal(5)
case("concat_vectors", x=x, z=z, y=y, dy=dy, dx=dy[:2], dz=dy[2:])

for name, table, index in [
    ("matrix", normal(5, 3), np.array([[1, 4, 1], [0, 1, 4]])),
    ("numbers", normal(4), np.array([3, 3, 0, 3])),
    ("one", normal(3, 2, 2), np.array(2)),
]:
    row = table.shape[1:]
    y = np.take(table, index, axis=0)
    dy = normal(*y.shape)
    dx = np.zeros_like(table)
    np.add.at(dx, index.ravel(), dy.reshape(-1, *row))
    case(f"gather_{name}", x=table, index=index, y=y, dy=dy, dx=dx)
    values, dy = normal(*y.shape), normal(*table.shape)
    y = np.zeros_like(table)
    np.add.at(y, index.ravel(), values.reshape(-1, *row))
    case(f"scatter_add_{name}", x=values, index=index, y=y, dy=dy, dx=np.take(dy, index, axis=0))

product("dot_batch", "bik,bkj->bij", normal(2, 3, 4), normal(2, 4, 2))
product("dot_scores", "bqhj,bkhj->bhqk", normal(2, 3, 2, 4), normal(2, 2, 2, 4))
product("dot_two_axes", "mhw,whn->mn", normal(2, 3, 4), normal(4, 3, 2))
product("dot_right_batch", "ikb,bjk->bij", normal(3, 4, 2), normal(2, 2, 4))
product("dot_outer", "ij,k->ijk", normal(2, 3), normal(4))
product("dot_pairs", "ij,ji->ji", normal(2, 3), normal(3, 2))
product("dot_all", "ij,ij->", normal(2, 3), normal(2, 3))
product("dot_rank6", "abcd,cbad->bad", normal(2, 3, 2, 3), normal(2, 3, 2, 3))

for kind in ["sum", "mean", "variance", "max"]:
    for name, axes, shape in [("middle", (1,), (2, 3, 4)), ("outer", (0, 2), (2, 3, 4)), ("most", (1, 2, 4), (2, 3, 2, 2, 3, 1)), ("ones", (0, 1), (1, 1, 3))]:
        x = normal(*shape)
        # Few different numbers, so that several are the largest.
        reduced(kind, f"{kind}_{name}", axes, np.round(x) if kind == "max" else x)


def convolution(name, image, kernel, outputs, stride, dilation, before, after):
    """Images [n, h, w, c] under windows with the weights [kh, kw, c, o], tap by tap, and both gradients."""
    x, w = normal(*image), normal(*kernel, image[3], outputs)
    covered = [dilation * (size - 1) + 1 for size in kernel]
    extents = [(image[1 + axis] + before + after - covered[axis]) // stride + 1 for axis in (0, 1)]
    y = np.zeros((image[0], *extents, outputs))
    dy = normal(*y.shape)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n, i, j, u, v in np.ndindex(image[0], *extents, *kernel):
        p, q = i * stride + u * dilation - before, j * stride + v * dilation - before
        if 0 <= p < image[1] and 0 <= q < image[2]:
            y[n, i, j] += x[n, p, q] @ w[u, v]
            dx[n, p, q] += w[u, v] @ dy[n, i, j]
            dw[u, v] += np.outer(x[n, p, q], dy[n, i, j])
    case(name, x=x, z=w, y=y, dy=dy, dx=dx, dz=dw)


convolution("conv_padded", (2, 4, 5, 2), (3, 3), 3, 1, 1, 1, 1)
convolution("conv_stride", (2, 5, 6, 3), (3, 2), 2, 2, 1, 1, 0)
convolution("conv_dilation", (1, 6, 5, 2), (2, 3), 3, 1, 2, 2, 1)

(pathlib.Path(__file__).parent / "tensors.txt").write_text("\n".join(lines) + "\n")
