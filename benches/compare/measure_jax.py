"""JAX on the CPU, pure functions: `jit`, a step a call with its state given away; `scan`, fifty steps a call."""

import os

import measuring

args = measuring.arguments(["jit", "scan"])
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 50 if args.mode == "scan" else 1
GATES = {"LSTM": 4, "GRU": 3}
ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "gelu": lambda x: jax.nn.gelu(x, approximate=True)}


def parameters(workload):
    """A list of layers, and the running statistics of those that have them."""
    random = np.random.default_rng(0)
    if workload.cell:
        (inputs, size), gates = workload.widths, GATES[workload.cell]
        shapes = {"weight": (inputs, gates * size), "recurrent": (size, gates * size)}
        shapes |= {"bias": gates * size, "recurrent_bias": gates * size}
        layer = {name: random.uniform(-(size**-0.5), size**-0.5, shape).astype(np.float32) for name, shape in shapes.items()}
        return jax.tree.map(jnp.asarray, ([layer], []))
    layers, statistics = [], []
    for index, (inputs, outputs) in enumerate(zip(workload.widths, workload.widths[1:])):
        hidden = index + 2 < len(workload.widths)
        bound = inputs**-0.5
        layer = {"weight": random.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)}
        if workload.bias or not hidden:
            layer["bias"] = random.uniform(-bound, bound, outputs).astype(np.float32)
        if workload.norm and hidden:
            layer |= {"gamma": np.ones(outputs, np.float32), "beta": np.zeros(outputs, np.float32)}
            statistics.append({"mean": np.zeros(outputs, np.float32), "var": np.ones(outputs, np.float32)})
        layers.append(layer)
    return jax.tree.map(jnp.asarray, (layers, statistics))


def states(workload, layer, x):
    """All states of a layer that has one: what the elements give is one product over the whole sequence."""
    size = workload.widths[1]
    projected = jnp.swapaxes(x, 0, 1) @ layer["weight"] + layer["bias"]
    zeros = jnp.zeros((len(x), size), x.dtype)

    def lstm(carry, given):
        state, cell = carry
        gates = given + state @ layer["recurrent"] + layer["recurrent_bias"]
        i, f, g, o = jnp.split(gates, 4, 1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        state = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (state, cell), state

    def gru(state, given):
        reset, keep, own = jnp.split(state @ layer["recurrent"] + layer["recurrent_bias"], 3, 1)
        given_reset, given_keep, given_own = jnp.split(given, 3, 1)
        reset, keep = jax.nn.sigmoid(given_reset + reset), jax.nn.sigmoid(given_keep + keep)
        state = (1 - keep) * jnp.tanh(given_own + reset * own) + keep * state
        return state, state

    step, first = {"LSTM": (lstm, (zeros, zeros)), "GRU": (gru, zeros)}[workload.cell]
    return jnp.swapaxes(jax.lax.scan(step, first, projected)[1], 0, 1)


def forward(workload, layers, statistics, x, training):
    """The outputs, and the next running statistics."""
    following = []
    if workload.cell:
        return states(workload, layers[0], x), following
    for layer, known in zip(layers[:-1], statistics or [None] * len(layers)):
        x = x @ layer["weight"] + layer.get("bias", 0.0)
        if known is not None:
            mean, var = known["mean"], known["var"]
            if training:
                rows, keep = len(x), measuring.NORM_MOMENTUM
                mean, var = x.mean(0), x.var(0)
                unbiased = var * (rows / (rows - 1))
                following.append({
                    "mean": keep * known["mean"] + (1 - keep) * mean,
                    "var": keep * known["var"] + (1 - keep) * unbiased,
                })
            x = (x - mean) * (jax.lax.rsqrt(var + measuring.NORM_EPSILON) * layer["gamma"]) + layer["beta"]
        x = ACTIVATIONS[workload.activation](x)
    x = x @ layers[-1]["weight"] + layers[-1]["bias"]
    return x if workload.classes else jax.nn.sigmoid(x), following


def state(workload, layers):
    zeros = lambda: jax.tree.map(jnp.zeros_like, layers)
    return {"sgd": lambda: (), "momentum": zeros}.get(workload.optimizer, lambda: (zeros(), zeros(), jnp.zeros(())))()


def update(workload, layers, state, gradients):
    rate, tree = workload.rate, jax.tree.map
    if workload.optimizer == "sgd":
        return tree(lambda p, g: p - rate * g, layers, gradients), state
    if workload.optimizer == "momentum":
        state = tree(lambda v, g: measuring.MOMENTUM * v + g, state, gradients)
        return tree(lambda p, v: p - rate * v, layers, state), state
    first, second, steps = state
    b1, b2, steps = measuring.BETA1, measuring.BETA2, steps + 1
    first = tree(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = tree(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
    keep = 1 - rate * measuring.DECAY if workload.optimizer == "adamw" else 1.0
    fix1, fix2 = 1 - b1**steps, 1 - b2**steps
    next_one = lambda p, m, v: keep * p - rate * (m / fix1) / (jnp.sqrt(v / fix2) + measuring.EPSILON)
    return tree(next_one, layers, first, second), (first, second, steps)


def build(workload):
    layers, statistics = parameters(workload)
    x, y = measuring.data(workload)
    x, y = jnp.asarray(x), jnp.asarray(y.astype(np.int32) if workload.classes else y)

    def objective(layers, statistics, x, y):
        outputs, statistics = forward(workload, layers, statistics, x, True)
        if workload.cell:
            return (outputs**2).mean(), statistics
        if workload.classes:
            picked = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1)
            return -picked.mean(), statistics
        return ((outputs - y) ** 2).mean(), statistics

    def one(carry, x, y):
        layers, statistics, state = carry
        (loss, statistics), gradients = jax.value_and_grad(objective, has_aux=True)(layers, statistics, x, y)
        layers, state = update(workload, layers, state, gradients)
        return (layers, statistics, state), loss

    def several(carry, x, y):
        if STEPS == 1:
            return one(carry, x, y)
        carry, losses = jax.lax.scan(lambda carry, _: one(carry, x, y), carry, None, length=STEPS)
        return carry, losses[-1]

    train = jax.jit(several, donate_argnums=0)
    infer = jax.jit(lambda layers, statistics, x: forward(workload, layers, statistics, x, False)[0])
    carry, loss = (layers, statistics, state(workload, layers)), None

    def step():
        nonlocal carry, loss
        carry, loss = jax.block_until_ready(train(carry, x, y))

    row = x[:1]
    predict = lambda rows: infer(carry[0], carry[1], rows).block_until_ready()
    return measuring.Network(step, lambda: float(loss), lambda: predict(row), lambda: predict(x))


measuring.measure(args, "jax", jax.__version__, build, STEPS)
