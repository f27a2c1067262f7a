"""Golden values: what gradloom's kernels, losses, layers and optimizers are compared with.

    python3 -m venv golden-venv
    golden-venv/bin/pip install torch==2.15.0 numpy==2.4.6 mpmath==1.3.0 safetensors==0.8.0
    golden-venv/bin/python make_golden.py          # rewrites the files next to this script, about 5 seconds

Python 3.11.  Everything is computed in float64 on one thread.  Every initial value (inputs, parameters, upstream
gradients, targets) is exactly representable in float32; most are small dyadic fractions, which print short.
Hyperparameters (`lr`, `eps`, ..) are the decimal constants, in float64.

Format: `#` lines are comments; `case <name>` opens a block; every other line is `<key> <shape> <values..>`,
shape `scalar`, `6` or `3x4` (row-major), values printed with %.17g (also `inf`, `-inf`, `nan`, `-0`).
A key named `d` + another is that value's gradient; `dy` is the upstream gradient, `dx` the result.

Each file has its own seed, so that a change to one leaves the others alone.
"""
import pathlib

import mpmath
import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
mpmath.mp.dps = 60
VERSIONS = dict(torch="2.15.0", numpy="2.4.6", mpmath="1.3.0", safetensors="0.8.0")
for module in (torch, np, mpmath, safetensors):
    if module.__version__.split("+")[0] != VERSIONS[module.__name__]:
        print(f"note: {module.__name__} {module.__version__}, the checked-in files were made with {VERSIONS[module.__name__]}")


# ---- values and the file format --------------------------------------------------------------------------------

def f32(values):
    """Rounds to float32, returns float64."""
    return np.asarray(values, np.float64).astype(np.float32).astype(np.float64)


def normal(rng, *shape, scale=1.0, bits=10):
    """Normal numbers rounded to multiples of 2^-bits."""
    v = np.round(rng.standard_normal(shape) * scale * 2.0**bits) / 2.0**bits + 0.0   # + 0.0 turns -0 into 0
    assert np.array_equal(v, f32(v))
    return v


def leaf(a):
    return torch.tensor(np.asarray(a, np.float64)).requires_grad_(True)


class Golden:
    """One output file."""

    def __init__(self, name, comment):
        self.name, self.lines = name, ["# " + line for line in comment.strip().splitlines()]

    def case(self, name, **entries):
        self.lines.append(f"case {name}")
        for key, value in entries.items():
            self.put(key, value)

    def put(self, key, value):
        a = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
        a = a.astype(np.float64)
        shape = "x".join(map(str, a.shape)) or "scalar"
        self.lines.append(" ".join([key, shape] + ["%.17g" % v for v in a.ravel()]))

    def write(self):
        (HERE / f"{self.name}.txt").write_text("\n".join(self.lines) + "\n")


# ---- activations -----------------------------------------------------------------------------------------------

def activations():
    rng = np.random.default_rng(1)
    out = Golden("activations", """
y = f(x), dx = dy * f'(x); softmax and log_softmax over the last axis. Parameters: leaky_relu 0.01, elu alpha = 1,
celu alpha = 1, celu_half alpha = 0.5. At x = 0 the derivative is: step 0, relu 0, leaky_relu 0.01, elu 1, selu 1.7580993408473766 (its left branch, scale * alpha).
step(0) = 0. Compare with an absolute tolerance too: gelu, tanh and sigmoid cancel in their tails even in float64.""")
    x0 = f32([[0.0, 1e-6, -1e-6, 0.5, -0.5],
              [1.0, -1.0, 2.5, -2.5, 0.1],
              [20.0, -20.0, 3.75, -3.75, -0.01],
              [90.0, -90.0, 6.0, -6.0, 0.0]])
    dy = normal(rng, 4, 5)
    dy[dy == 0] = 0.5
    functions = dict(
        sigmoid=torch.sigmoid, tanh=torch.tanh, relu=F.relu, leaky_relu=lambda x: F.leaky_relu(x, 0.01), elu=F.elu, selu=F.selu,
        gelu=F.gelu, gelu_tanh=lambda x: F.gelu(x, approximate="tanh"), silu=F.silu, softplus=F.softplus,
        softmax=lambda x: F.softmax(x, -1), log_softmax=lambda x: F.log_softmax(x, -1), celu=F.celu,
        celu_half=lambda x: F.celu(x, 0.5), mish=F.mish, hard_sigmoid=lambda x: F.relu6(x + 3) / 6,
        hard_swish=lambda x: x * (F.relu6(x + 3) / 6), hard_tanh=F.hardtanh,
        softsign=F.softsign)
    y = np.heaviside(x0, 0.0)
    assert y[0, 0] == 0 and y[3, 4] == 0
    out.case("step", x=x0, y=y, dy=dy, dx=np.zeros_like(x0))
    at_zero = dict(relu=0.0, leaky_relu=0.01, elu=1.0, selu=1.7580993408473766)
    m = mpmath.mpf
    exact = dict(   # (f, f') in the reals: what torch's float64 is held against
        sigmoid=(lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2),
        tanh=(mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
        gelu=(lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x)),
        gelu_tanh=(gelu_tanh, lambda x: mpmath.diff(gelu_tanh, x)),
        silu=(lambda x: x / (1 + mpmath.exp(-x)), lambda x: mpmath.diff(lambda t: t / (1 + mpmath.exp(-t)), x)),
        softplus=(lambda x: mpmath.log1p(mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
        mish=(mish, lambda x: mpmath.diff(mish, x)),
        softsign=(lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2))
    own = dict(hard_sigmoid=F.hardsigmoid, hard_swish=F.hardswish)   # the slopes of these are of float32 even in float64
    for name, f in functions.items():
        x = leaf(x0)
        y = f(x)
        y.backward(torch.tensor(dy))
        out.case(name, x=x0, y=y, dy=dy, dx=x.grad)
        slope = x.grad.numpy() / dy
        if name in own:
            x = leaf(x0)
            own[name](x).backward(torch.tensor(dy))
            assert np.allclose(slope, x.grad.numpy() / dy, rtol=1e-7, atol=0), name
        if name in at_zero:
            assert np.allclose(slope[x0 == 0], at_zero[name], rtol=1e-15, atol=0), name
        if name in exact:
            for i, v in enumerate(x0.ravel()):
                assert abs(y.detach().numpy().ravel()[i] - exact[name][0](m(v))) < 1e-14 * (1 + abs(v)), (name, v)
                assert abs(slope.ravel()[i] - exact[name][1](m(v))) < 1e-14 * (1 + abs(v)), (name, v)
    out.write()


def gelu_tanh(x):
    return x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))


def mish(x):
    return x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))


# ---- element-wise functions of expressions ---------------------------------------------------------------------

def scalars():
    rng = np.random.default_rng(43)
    out = Golden("scalars", """
y = f(operands), d<operand> = dy * its partial derivative. minimum, maximum and clamp have no equal operands here.""")
    small = f32([[1e-8, -1e-8, 0.25, -0.75], [1.0, 3.5, -0.5, 0.0]])
    any_x, positive = normal(rng, 3, 4, scale=2), np.abs(normal(rng, 3, 4)) + 0.125
    a, b = normal(rng, 3, 4), normal(rng, 3, 4)
    for name, f, operands, options in (
            ("exp", torch.exp, dict(x=any_x), {}), ("ln", torch.log, dict(x=positive), {}), ("sqrt", torch.sqrt, dict(x=positive), {}),
            ("abs", torch.abs, dict(x=any_x), {}), ("expm1", torch.expm1, dict(x=small), {}), ("log1p", torch.log1p, dict(x=small), {}),
            ("rsqrt", torch.rsqrt, dict(x=positive), {}), ("square", torch.square, dict(x=any_x), {}),
            ("erf", torch.erf, dict(x=any_x), {}), ("sign", torch.sign, dict(x=any_x), {}),
            ("pow", lambda x, n: x**n, dict(x=any_x), dict(n=5)),
            ("minimum", torch.minimum, dict(a=a, b=b), {}), ("maximum", torch.maximum, dict(a=a, b=b), {}),
            ("clamp", torch.clamp, dict(x=any_x, low=np.full((3, 4), -1.5), high=np.full((3, 4), 0.75)), {})):
        leaves = {key: leaf(value) for key, value in operands.items()}
        y = f(*leaves.values(), **options)
        dy = normal(rng, *y.shape)
        y.backward(torch.tensor(dy))
        out.case(name, **operands, **options, y=y, dy=dy, **{f"d{key}": value.grad for key, value in leaves.items()})
    out.write()


# ---- losses ----------------------------------------------------------------------------------------------------

def losses():
    rng = np.random.default_rng(2)
    out = Golden("losses", """
Mean losses and their gradients with respect to the prediction. cross_entropy: logits 5x4, class ids in `labels`, mean over rows;
bce_with_logits and mse: mean over all elements. cross_entropy_large has logits of magnitude 1e4;
cross_entropy_weighted has weights of classes, one of them zero in _weighted_zero, all of them 1 in _weighted_alike;
<loss>_option has another value of an option than its default. nll takes log-probabilities; kl_div is `batchmean` with the target `p`,
kl_div_zero has zeros in p; hinge: mean(max(0, 1 - target scores)); r2 by columns, then their mean.""")
    labels = np.array([3, 0, 2, 1, 3])
    large = np.array([[1e4, -1e4, 0, 5e3], [-1e4, 1e4, 1e4, 9999], [1e4, 1e4, 1e4, 1e4],
                      [-1e4, -9998, -9999.5, -1e4], [0, 0, -1e4, 1.5]])
    for name, logits in (("cross_entropy", normal(rng, 5, 4, scale=2)), ("cross_entropy_large", f32(large))):
        z = leaf(logits)
        loss = F.cross_entropy(z, torch.tensor(labels))
        loss.backward()
        out.case(name, logits=logits, labels=labels, loss=loss, dlogits=z.grad)
    for name, logits, target in (
            ("bce_with_logits", normal(rng, 6, 1, scale=2), np.array([[1.0], [0], [0], [1], [1], [0]])),
            ("bce_with_logits_large", np.array([[0.0], [20], [-20], [90], [-90], [1e4]]),
             np.array([[1.0], [0], [1], [1], [1], [0.25]]))):
        z = leaf(logits)
        loss = F.binary_cross_entropy_with_logits(z, torch.tensor(target))
        loss.backward()
        out.case(name, logits=logits, target=target, loss=loss, dlogits=z.grad)
    prediction, target = normal(rng, 4, 3), normal(rng, 4, 3)

    def r2(p, y):
        return (1 - ((p - y) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)).mean()

    for name, f, options in (("mse", F.mse_loss, {}), ("mae", F.l1_loss, {}), ("mean_abs_error", F.l1_loss, {}),
                             ("huber", F.huber_loss, {}), ("huber_option", F.huber_loss, dict(delta=0.25)), ("r2", r2, {})):
        p = leaf(prediction)
        loss = f(p, torch.tensor(target), **options)
        loss.backward()
        out.case(name, prediction=prediction, target=target, **options, loss=loss, dprediction=p.grad)
    logits = normal(rng, 5, 4, scale=2)
    z = leaf(logits)
    loss = F.cross_entropy(z, torch.tensor(labels), label_smoothing=0.25)
    loss.backward()
    out.case("cross_entropy_option", logits=logits, labels=labels, label_smoothing=0.25, loss=loss, dlogits=z.grad)
    weights = np.array([1.0, 0.5, 3.0, 0.25])
    for name, weights, smoothing in (("weighted", weights, 0.0), ("weighted_option", weights, 0.25),
                                     ("weighted_alike", np.ones(4), 0.25), ("weighted_zero", np.array([1.0, 0, 2, 0.5]), 0.0)):
        z = leaf(logits)
        loss = F.cross_entropy(z, torch.tensor(labels), weight=torch.tensor(weights), label_smoothing=smoothing)
        loss.backward()
        out.case(f"cross_entropy_{name}", logits=logits, labels=labels, label_smoothing=smoothing, class_weights=weights,
                 loss=loss, dlogits=z.grad)
    log_probabilities = f32(F.log_softmax(torch.tensor(logits), -1).numpy())
    z = leaf(log_probabilities)
    loss = F.nll_loss(z, torch.tensor(labels))
    loss.backward()
    out.case("nll", log_probabilities=log_probabilities, labels=labels, loss=loss, dlog_probabilities=z.grad)
    p0 = f32(F.softmax(torch.tensor(normal(rng, 5, 4)), -1).numpy())
    zeros = np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25], [0, 0.125, 0.875, 0]])
    for name, p in (("kl_div", p0), ("kl_div_zero", zeros)):
        z = leaf(log_probabilities)
        loss = F.kl_div(z, torch.tensor(p), reduction="batchmean")
        loss.backward()
        out.case(name, log_q=log_probabilities, p=p, loss=loss, dlog_q=z.grad)
    scores, target = normal(rng, 6, 1, scale=2), np.array([[1.0], [-1], [-1], [1], [1], [-1]])
    z = leaf(scores)
    loss = F.relu(1 - torch.tensor(target) * z).mean()
    loss.backward()
    out.case("hinge", scores=scores, target=target, loss=loss, dscores=z.grad)
    out.write()


# ---- metrics and sizes -----------------------------------------------------------------------------------------

def metrics():
    rng = np.random.default_rng(41)
    out = Golden("metrics", """
l1 and l2 with their gradients (an element of x is 0), from torch. precision and recall, by scikit-learn's definitions with
zero_division=0: of scores against 0 and 1, a score above `threshold` being a positive decision (_none: no positive decision and no
positive), and of logits against class ids, average="macro" over labels=range(C) (_absent: of 5 classes the last never occurs and is
never decided). Rows with equal logits are among them; the first of equals is the decision.""")
    x = normal(rng, 3, 4, scale=2)
    x[1, 2] = 0
    for name, f in (("l1", lambda x: x.abs().sum()), ("l2", lambda x: (x * x).sum())):
        z = leaf(x)
        y = f(z)
        y.backward()
        out.case(name, x=x, y=y, dx=z.grad)

    def share(hits, total):
        return hits / total if total else 0.0

    def case(name, decided, positive, **entries):
        """`decided` and `positive`: a column of truth values for each class."""
        hits = (decided & positive).sum(0)
        out.case(name, **entries, precision=np.mean([share(h, n) for h, n in zip(hits, decided.sum(0))]),
                 recall=np.mean([share(h, n) for h, n in zip(hits, positive.sum(0))]))

    scores, target = normal(rng, 20), (rng.random(20) < 0.4).astype(float)
    scores[3] = 0.0
    for name, threshold in (("binary", 0.0), ("binary_threshold", 0.75), ("binary_none", 100.0)):
        t = target * 0 if name == "binary_none" else target
        case(name, (scores > threshold)[:, None], (t > 0.5)[:, None], scores=scores, target=t, threshold=threshold)
    column = scores[:, None]
    case("binary_column", column > 0, target[:, None] > 0.5, scores=column, target=target[:, None], threshold=0.0)
    for name, classes, absent in (("classes", 4, 0), ("classes_absent", 5, 1)):
        logits, labels = normal(rng, 30, classes), rng.integers(0, classes - absent, 30)
        logits[4:8] = 0.5
        if absent:
            logits[:, -1] = -9
        ids = np.arange(classes)
        case(name, logits.argmax(1)[:, None] == ids, labels[:, None] == ids, scores=logits, labels=labels, threshold=0.0)
    out.write()


# ---- batch norm ------------------------------------------------------------------------------------------------

MOMENTUM, EPS = 0.9, 1e-5   # running = 0.9 * running + 0.1 * batch; torch writes it momentum = 0.1


def batch_norm():
    rng = np.random.default_rng(3)
    out = Golden("batch_norm", """
momentum = 0.9 (running = momentum * running + (1 - momentum) * batch), eps = 1e-5. Normalization uses the biased batch variance
(`var`), the running variance the unbiased one (`var_unbiased`). Running statistics start at mean 0, variance 1.
running: x1..x5 are the batches of steps 1..5; every1_mean1.. are the running statistics after each step with every = 1,
every3_mean1.. with every = 3 (updates on steps 1 and 4). inference uses the statistics of every = 1 after step 5.
large_mean: the mean is 10,000 standard deviations; gamma = 1, beta = 0. In float32 a mean rounded to float32 alone costs up to 5e-4 in y.""")
    x0, dy = normal(rng, 8, 3, scale=2) + np.array([0.5, -3.0, 10.0]), normal(rng, 8, 3)
    gamma0, beta0 = 1 + normal(rng, 3, scale=0.25), normal(rng, 3, scale=0.5)
    x, gamma, beta = leaf(x0), leaf(gamma0), leaf(beta0)
    y = F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS)
    y.backward(torch.tensor(dy))
    out.case("train", x=x0, gamma=gamma0, beta=beta0, eps=EPS, mean=x0.mean(0), var=x0.var(0), var_unbiased=x0.var(0, ddof=1),
             y=y, dy=dy, dx=x.grad, dgamma=gamma.grad, dbeta=beta.grad)

    batches = [normal(rng, 8, 3, scale=1 + i / 2) + np.array([0.5, -3.0, i]) for i in range(5)]
    out.case("running", momentum=MOMENTUM)
    for i, b in enumerate(batches):
        out.put(f"x{i + 1}", b)
    layer = torch.nn.BatchNorm1d(3, eps=EPS, momentum=1 - MOMENTUM).train()
    for every in (1, 3):
        mean, var = np.zeros(3), np.ones(3)
        for i, b in enumerate(batches):
            if i % every == 0:
                mean = MOMENTUM * mean + (1 - MOMENTUM) * b.mean(0)
                var = MOMENTUM * var + (1 - MOMENTUM) * b.var(0, ddof=1)
            out.put(f"every{every}_mean{i + 1}", mean)
            out.put(f"every{every}_var{i + 1}", var)
            if every == 1:
                layer(torch.tensor(b))
                assert np.allclose(layer.running_mean.numpy(), mean, rtol=1e-14) and np.allclose(layer.running_var.numpy(), var, rtol=1e-14)
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    y = F.batch_norm(torch.tensor(x0), mean, var, torch.tensor(gamma0), torch.tensor(beta0), training=False, eps=EPS)
    out.case("inference", x=x0, gamma=gamma0, beta=beta0, eps=EPS, running_mean=mean, running_var=var, y=y)

    x0 = f32(10000 + rng.standard_normal((64, 3)))
    y = F.batch_norm(torch.tensor(x0), None, None, training=True, eps=EPS)
    assert np.allclose(y.numpy(), (x0 - x0.mean(0)) / np.sqrt(x0.var(0) + EPS), rtol=0, atol=1e-10)
    out.case("large_mean", x=x0, eps=EPS, mean=x0.mean(0), var=x0.var(0), var_unbiased=x0.var(0, ddof=1), y=y)
    out.write()


# ---- other layers with parameters ------------------------------------------------------------------------------

def layers():
    rng = np.random.default_rng(5)
    out = Golden("layers", """
Layers that own parameters: their results and the gradients by input and parameters. layer_norm: along the last axis, eps = 1e-5, biased
variance; layer_norm_large_mean: a mean of 1000 deviations. prelu: one slope; at x = 0 its derivative is the slope.""")
    x0, dy = normal(rng, 6, 5, scale=2) + np.array([0.5, -3.0, 10.0, 0.0, 1.0]), normal(rng, 6, 5)
    gamma0, beta0 = 1 + normal(rng, 5, scale=0.25), normal(rng, 5, scale=0.5)
    for name, x0 in (("layer_norm", x0), ("layer_norm_large_mean", f32(1000 + rng.standard_normal((6, 5))))):
        x, gamma, beta = leaf(x0), leaf(gamma0), leaf(beta0)
        y = F.layer_norm(x, (5,), gamma, beta, EPS)
        y.backward(torch.tensor(dy))
        out.case(name, x=x0, gamma=gamma0, beta=beta0, eps=EPS, y=y, dy=dy, dx=x.grad, dgamma=gamma.grad, dbeta=beta.grad)
    x0 = normal(rng, 6, 5, scale=2)
    x0[0, 0] = x0[3, 2] = 0.0
    x, slope = leaf(x0), leaf(0.25)
    y = F.prelu(x, slope)
    y.backward(torch.tensor(dy))
    assert np.all((x.grad.numpy() / dy)[x0 == 0] == 0.25)
    out.case("prelu", x=x0, slope=slope, y=y, dy=dy, dx=x.grad, dslope=slope.grad)
    out.write()


# ---- dropout ---------------------------------------------------------------------------------------------------

MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def splitmix64(z):
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014)."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK64
    return z ^ z >> 31


def dropout_key(seed, stream, forward):
    """Two words: number `forward` of the stream 2^32 + `stream`."""
    golden = 0x9E3779B97F4A7C15
    bits = splitmix64(splitmix64(splitmix64(seed) ^ (2**32 + stream) * golden & MASK64) + (forward + 1) * golden & MASK64)
    return bits & MASK32, bits >> 32


def pcg4d(*v):
    """Jarzynski & Olano 2020, "Hash functions for GPU rendering", listing of pcg4d."""
    x, y, z, w = (word * 1664525 + 1013904223 & MASK32 for word in v)

    def mixed(x, y, z, w):
        x = x + y * w & MASK32
        y = y + z * x & MASK32
        z = z + x * y & MASK32
        w = w + y * z & MASK32
        return x, y, z, w

    return mixed(*(word ^ word >> 16 for word in mixed(x, y, z, w)))


def dropout():
    rng = np.random.default_rng(6)
    out = Golden("dropout", """
The masks of dropout, in exact integers: seed, number of the layer, number of the forward pass -> `key` (two words; SplitMix64) -> `u`, one
number for each row and column (pcg4d of column, row and key; the high 24 bits of its first word, divided by 2^24) -> y = x / s where
u >= p, else 0, and dx likewise; s is the share of all 2^24 values of u that are at least p.""")
    for name, seed, stream, forward, p, rows, columns in (
            ("first", 0, 0, 0, 0.5, 6, 5), ("second_pass", 0, 0, 1, 0.5, 6, 5), ("second_layer", 0, 1, 0, 0.5, 6, 5),
            ("seed", 2**53 - 1, 0, 0, 0.5, 6, 5), ("wide", 7, 3, 123456789, 0.1, 3, 37), ("column", 1, 2, 2**40, 0.75, 21, 1),
            ("few_kept", 3, 0, 5, 0.9375, 8, 8)):
        key = dropout_key(seed, stream, forward)
        u = np.array([[(pcg4d(column, row, *key)[0] >> 8) / 2**24 for column in range(columns)] for row in range(rows)])
        x, dy = normal(rng, rows, columns), normal(rng, rows, columns)
        share = np.count_nonzero(np.arange(2**24) / 2**24 >= p) / 2**24
        factor = (u >= p) / share
        out.case(name, seed=seed, stream=stream, forward=forward, p=p, key=np.array(key), u=u, x=x, y=x * factor, dy=dy, dx=dy * factor)
    out.write()


# ---- optimizers ------------------------------------------------------------------------------------------------

def optimizers():
    rng = np.random.default_rng(4)
    out = Golden("optimizers", """
p0 and the gradients g1..g5 are given; p1..p5 are the parameters after each step; then the state after step 5.
momentum: velocity = momentum * velocity + g; p -= lr * velocity. adam and adamw: m, v without bias correction. <name>_l2 has torch's
coupled weight_decay = `l2` (g + l2 * p); <name>_decay and adamw first do p *= 1 - lr * decay: for other optimizers than AdamW by hand,
as PyTorch has none. lion: by the formula of Chen et al. 2023, algorithm 2, as PyTorch has none.""")
    p0, gs = normal(rng, 6), [normal(rng, 6, scale=s) for s in (1, 1, 0.5, 2, 0.25)]
    for g in gs:
        g[4] /= 1024        # a small gradient: Adam's steps do not shrink with it
    gs[0][5] = 0.0          # no gradient on the first step
    o = torch.optim
    adam, moments = dict(beta1=0.9, beta2=0.999, eps=1e-8), dict(m="exp_avg", v="exp_avg_sq")
    lion, buffer = dict(beta1=0.9, beta2=0.99), dict(velocity="momentum_buffer")
    plain = (
        ("sgd", lambda p, **w: o.SGD(p, lr=0.1, **w), dict(lr=0.1), {}),
        ("momentum", lambda p, **w: o.SGD(p, lr=0.1, momentum=0.9, **w), dict(lr=0.1, momentum=0.9), buffer),
        ("nesterov", lambda p, **w: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True, **w), dict(lr=0.1, momentum=0.9), buffer),
        ("adagrad", lambda p, **w: o.Adagrad(p, lr=1e-2, **w), dict(lr=1e-2, eps=1e-10), dict(sum="sum")),
        ("rmsprop", lambda p, **w: o.RMSprop(p, lr=1e-2, **w), dict(lr=1e-2, alpha=0.99, eps=1e-8), dict(square="square_avg")),
        ("rmsprop_centered", lambda p, **w: o.RMSprop(p, lr=1e-2, centered=True, **w), dict(lr=1e-2), dict(square="square_avg", mean="grad_avg")),
        ("adadelta", lambda p, **w: o.Adadelta(p, lr=1.0, **w), dict(lr=1.0, rho=0.9, eps=1e-6), dict(square="square_avg", delta="acc_delta")),
        ("adam", lambda p, **w: o.Adam(p, lr=1e-2, **w), dict(lr=1e-2, **adam), moments),
        ("lion", lambda p, **w: Lion(p, lr=1e-2, **w), dict(lr=1e-2, **lion), dict(m="m")))
    cases = list(plain) + [
        ("rmsprop_momentum", lambda p: o.RMSprop(p, lr=1e-2, centered=True, momentum=0.9, eps=0.5), dict(lr=1e-2, momentum=0.9, eps=0.5),
         dict(square="square_avg", mean="grad_avg", velocity="momentum_buffer")),
        ("adamw", lambda p: o.AdamW(p, lr=1e-2, weight_decay=0.01), dict(lr=1e-2, decay=0.01, **adam), moments)]
    for name, make, settings, state in plain:
        cases.append((f"{name}_l2", lambda p, make=make: make(p, weight_decay=0.5), dict(l2=0.5, **settings), state))
        cases.append((f"{name}_decay", make, dict(decay=0.5, **settings), state))
    for name, make, settings, state in cases:
        out.case(name, **settings, p0=p0)
        p = leaf(p0)
        opt = make([p])
        steps = []
        for g in gs:
            assert np.array_equal(g, f32(g))
            p.grad = torch.tensor(g)
            if name.endswith("_decay"):
                p.data.mul_(1 - settings["lr"] * settings["decay"])
            opt.step()
            steps.append(p.detach().numpy().copy())
        for i, g in enumerate(gs):
            out.put(f"g{i + 1}", g)
        for i, s in enumerate(steps):
            out.put(f"p{i + 1}", s)
        for key, name_in_torch in state.items():
            out.put(key, opt.state[p][name_in_torch])
    out.write()


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, l2=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                g = p.grad + group["l2"] * p
                p -= group["lr"] * torch.sign(0.9 * m + 0.1 * g)
                m.mul_(0.99).add_(g, alpha=0.01)


# ---- schedules -------------------------------------------------------------------------------------------------

def schedules():
    out = Golden("schedules", """
The rate of each step under torch's schedulers, moved on after every step. rates: the schedule alone. warm: after 5 steps of LinearLR with
start_factor = 1 / 6, by SequentialLR (one_cycle: by hand, as SequentialLR spoils OneCycleLR's start). Rates 0.1; step: every 4, factor
0.5; exponential: 0.9; polynomial: 10 steps, power 2; line: power 1; cosine: 10 steps; cosine_to: to 0.02; one_cycle: 20 steps.""")
    s = torch.optim.lr_scheduler

    def rates(make, count):
        opt = torch.optim.SGD([leaf(0.0)], lr=0.1)
        scheduler = make(opt)
        found = []
        for _ in range(count):
            found.append(opt.param_groups[0]["lr"])
            opt.step()
            scheduler.step()
        return found

    for name, make, count in (
            ("constant", lambda opt: s.LambdaLR(opt, lambda t: 1.0), 12),
            ("step", lambda opt: s.StepLR(opt, 4, 0.5), 12),
            ("exponential", lambda opt: s.ExponentialLR(opt, 0.9), 12),
            ("polynomial", lambda opt: s.PolynomialLR(opt, 10, 2.0), 13),
            ("line", lambda opt: s.PolynomialLR(opt, 10, 1.0), 13),
            ("cosine", lambda opt: s.CosineAnnealingLR(opt, 10), 11),
            ("cosine_to", lambda opt: s.CosineAnnealingLR(opt, 10, 0.02), 11),
            ("one_cycle", lambda opt: s.OneCycleLR(opt, 0.1, total_steps=20, cycle_momentum=False), 19)):
        alone = rates(make, count)
        warm = [alone[0] * (t + 1) / 6 for t in range(5)] + alone
        if name != "one_cycle":
            start = lambda opt: s.LinearLR(opt, 1 / 6, total_iters=5)
            torchs = rates(lambda opt: s.SequentialLR(opt, [start(opt), make(opt)], milestones=[5]), count + 5)
            # SequentialLR starts the cosine by its recursive form, which is the closed one up to rounding.
            assert np.allclose(warm, torchs, rtol=1e-12, atol=1e-17), (name, warm, torchs)
        out.case(name, rates=alone, warm=warm)
    out.write()


# ---- elementary functions --------------------------------------------------------------------------------------

def elementary():
    out = Golden("elementary", """
y = f(x) by mpmath with 60 digits, rounded to float64; the points of <f> give finite normal float32 results (erf, tanh, .. round to 1).
<f>_special: signed zeros, infinities, nan, overflow and underflow, with y as a correctly rounded float32 function gives it.""")
    mp = mpmath
    sigmoid = lambda x: 1 / (1 + mp.exp(-x))
    softplus = lambda x: mp.log1p(mp.exp(x))
    small = [1e-30, 1e-10, 1e-7, 1e-6, 1e-4, 0.001, 0.01, 0.1]
    both = lambda v: sorted({-a for a in v} | set(v))
    inf, nan = float("inf"), float("nan")
    near_one = [1 - 2.0**-24, 1 + 2.0**-23, 1 - 2.0**-12, 1 + 2.0**-12, 0.99, 1.01]
    middle = [0.25, 0.3465, 0.5, 0.6931472, 0.75, 1.0, 1.5, 2.0, 2.75, 3.5, 5.0, 8.0]
    functions = dict(
        exp=(mp.exp, [0.0] + both([1e-7, 1e-4, 0.01, 0.1] + middle) + [20, -20, 50, -50, 87.0, -87.0, 88.7, -87.3],
             [(-0.0, 1), (inf, inf), (-inf, 0), (nan, nan), (88.73, inf), (1000, inf), (-104, 0), (-1000, 0)]),
        expm1=(mp.expm1, [0.0] + both(small + middle)[1:-1] + [20, -20, 50, 88.7],
               [(-0.0, -0.0), (inf, inf), (-inf, -1), (nan, nan), (88.73, inf), (-90, -1)]),
        ln=(mp.log, [1.0, 1.1754944e-38, 1e-30, 1e-20, 1e-10, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.25, 1 / 3, 0.5, 2**-0.5,
                     0.6931472, 0.75, 0.9] + near_one + [1.25, 2**0.5, 1.5, 2, 2.7182817, 3, 5, 10, 100, 1e3, 1e4, 65504, 1e7, 1e10, 1e20, 1e30, 3.4028235e38],
            [(0.0, -inf), (-0.0, -inf), (-1, nan), (inf, inf), (-inf, nan), (nan, nan)]),
        log1p=(mp.log1p, [0.0] + both(small) + [-0.25, -0.5, -0.75, -0.9, -0.99, -1 + 2.0**-12, -1 + 2.0**-24, 0.25, 0.4142135, 0.5, 0.75,
                       1, 1.5, 2, 3, 5, 10, 100, 1e3, 1e4, 1e7, 1e10, 1e30, 3.4028235e38],
               [(-0.0, -0.0), (-1, -inf), (-2, nan), (inf, inf), (nan, nan)]),
        tanh=(mp.tanh, [0.0] + both(small[2:] + middle + [4.0, 9.0]),
              [(-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan), (20, 1), (-90, -1)]),
        sigmoid=(sigmoid, [0.0] + both(small[3:] + middle + [16.0, 20.0, 87.0]),
                 [(-0.0, 0.5), (inf, 1), (-inf, 0), (nan, nan), (100, 1), (-104, 0)]),
        softplus=(softplus, [0.0] + both(small[4:] + middle + [16.0, 20.0, 40.0, 87.0]),
                  [(inf, inf), (-inf, 0), (nan, nan), (1e4, 1e4), (-104, 0), (-1e4, 0)]),
        erf=(mp.erf, [0.0] + both(small[2:] + middle[:11] + [0.84375, 3.0, 3.9]),
             [(-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan), (20, 1), (-90, -1)]))
    for name, (f, points, special) in functions.items():
        x = f32(points)
        y = np.array([float(f(mp.mpf(float(v)))) for v in x])
        assert len(set(x)) == len(x) and 35 <= len(x) <= 45, (name, len(x))
        with np.errstate(all="raise"):   # finite, normal or zero in float32
            assert np.array_equal(f32(y) == 0, y == 0)
        out.case(name, x=x, y=y)
        out.case(f"{name}_special", x=f32([a for a, _ in special]), y=[b for _, b in special])
        for a, b in special:             # the finite ones, held against mpmath
            if np.isfinite(a) and np.isfinite(b) and a != 0:
                assert np.float32(float(f(mp.mpf(float(np.float32(a)))))) == np.float32(b), (name, a, b)
    out.write()


# ---- a whole network -------------------------------------------------------------------------------------------

def network():
    rng = np.random.default_rng(36)   # chosen for the assertion below
    out = Golden("network", """
x: [6, 5] -> Dense(7), BatchNorm, relu, Dense(4), tanh, Dense(3); cross_entropy(logits, labels). Weights are [in, out].
initial: parameters, running statistics and data. gradients: logits and loss of step 1 and the gradient of every parameter, under the
parameter's name. after_adam: loss1..loss3 of three steps of Adam (lr = 1e-2) on that batch (each before its update), then
parameters and running statistics after them, and `predict`: the logits for x in inference mode. dense1.bias stands right before the
batch norm: its gradient is exactly zero, so Adam leaves it alone (autograd's rounding noise is removed, as Adam would magnify it).""")
    n = torch.nn
    model = n.Sequential(n.Linear(5, 7), n.BatchNorm1d(7), n.ReLU(), n.Linear(7, 4), n.Tanh(), n.Linear(4, 3)).train()
    dense1, norm, _, dense2, _, dense3 = model
    names = {}   # ours -> (tensor, stored transposed)
    for i, d in enumerate((dense1, dense2, dense3), 1):
        names[f"dense{i}.weight"], names[f"dense{i}.bias"] = (d.weight, True), (d.bias, False)
        if i == 1:
            names["batch_norm1.gamma"], names["batch_norm1.beta"] = (norm.weight, False), (norm.bias, False)
    running = {"batch_norm1.running_mean": norm.running_mean, "batch_norm1.running_var": norm.running_var}
    ours = lambda t, transposed: t.detach().numpy().T.copy() if transposed else t.detach().numpy().copy()
    for name, (t, _) in names.items():
        v = normal(rng, *t.shape, scale=t.shape[-1] ** -0.5 if name.endswith("weight") else 0.25)
        t.data.copy_(torch.tensor(1 + v if name.endswith("gamma") else v))
    x0, labels = normal(rng, 6, 5), np.array([0, 2, 1, 1, 0, 2])
    out.case("initial", x=x0, labels=labels, lr=1e-2)
    for name, p in names.items():
        out.put(name, ours(*p))
    for name, t in running.items():
        out.put(name, t.numpy().copy())

    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, target = torch.tensor(x0), torch.tensor(labels)
    step_losses, smallest, kink = [], np.inf, np.inf
    for step in (1, 2, 3):
        opt.zero_grad()
        hidden = norm(dense1(x))          # the running statistics move once: the rest of the model continues from here
        logits = model[2:](hidden)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        assert dense1.bias.grad.abs().max() < 1e-14
        dense1.bias.grad.zero_()
        kink = min(kink, hidden.abs().min().item())
        smallest = min(smallest, *(t.grad.abs().min().item() for k, (t, _) in names.items() if k != "dense1.bias"))
        if step == 1:
            out.case("gradients", logits=logits, loss=loss)
            for name, (t, transposed) in names.items():
                out.put(name, ours(t.grad, transposed))
        opt.step()
        step_losses.append(loss)
    # A float32 run can follow this one: no activation within rounding of relu's kink, and no gradient so small that rounding turns
    # the sign of Adam's first steps.
    assert kink > 1e-2 and smallest > 1e-3, (kink, smallest)
    out.case("after_adam", **{f"loss{i + 1}": v for i, v in enumerate(step_losses)})
    for name, p in names.items():
        out.put(name, ours(*p))
    for name, t in running.items():
        out.put(name, t.numpy().copy())
    model.eval()
    out.put("predict", model(x))
    out.write()
    return kink, smallest


# ---- a state dict as other programs keep it ----------------------------------------------------------------------

def state_dict():
    """Also writes state_dict.safetensors, with the library of that name."""
    rng = np.random.default_rng(41)
    out = Golden("state_dict", """
x: [4, 6] -> Linear(5), BatchNorm1d, ReLU, Linear(4), Tanh, Linear(3) of PyTorch in inference mode gives y, with the parameters and
statistics of state_dict.safetensors: float32, but 3.weight in float16, 5.weight in bfloat16 and 5.bias in float64; and an int64 beside
them, 1.num_batches_tracked. y is computed in float64 from the stored numbers.""")
    n = torch.nn
    model = n.Sequential(n.Linear(6, 5), n.BatchNorm1d(5), n.ReLU(), n.Linear(5, 4), n.Tanh(), n.Linear(4, 3)).eval()
    stored = {"3.weight": torch.float16, "5.weight": torch.bfloat16, "5.bias": torch.float64}
    state = {}
    for name, t in model.state_dict().items():
        if t.dtype == torch.int64:
            state[name] = torch.tensor(7)
            continue
        v = normal(rng, *t.shape, scale=0.5)
        v = 0.25 + abs(v) if name == "1.running_var" else v
        state[name] = torch.tensor(v).to(stored.get(name, torch.float32)).contiguous()
    model.load_state_dict({name: t.to(torch.float64) if t.is_floating_point() else t for name, t in state.items()})
    safetensors.torch.save_file(state, HERE / "state_dict.safetensors", metadata={"format": "pt"})
    x0 = normal(rng, 4, 6)
    out.case("inference", x=x0, y=model(torch.tensor(x0)))
    out.write()


if __name__ == "__main__":
    for make in (activations, scalars, losses, metrics, batch_norm, layers, dropout, optimizers, schedules, elementary, network, state_dict):
        make()
