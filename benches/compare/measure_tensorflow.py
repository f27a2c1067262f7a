"""TensorFlow on the CPU: layers and optimizers of Keras, a training step in a `tf.function` through XLA."""

import os

import measuring

args = measuring.arguments(["xla"])
os.environ |= {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "OMP_NUM_THREADS": str(args.threads),
}

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops, optimizers

tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)


class Positions(layers.Layer):
    """Adds what is learned of each position."""

    def build(self, shape):
        self.weight = self.add_weight(shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x):
        return x + self.weight


def norm(x):
    return layers.LayerNormalization(epsilon=measuring.NORM_EPSILON)(x)


def transformer(x, heads):
    """Attention to what came before, and two layers, each after a norm and beside a way around it."""
    length, width = x.shape[1:]
    parts = ops.reshape(layers.Dense(3 * width)(norm(x)), (-1, length, 3, heads, width // heads))
    q, k, v = (ops.transpose(parts[:, :, part], (0, 2, 1, 3)) for part in range(3))
    scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * (width // heads) ** -0.5
    scores = ops.where(np.tril(np.ones((length, length), bool)), scores, -1e30)
    y = ops.transpose(ops.matmul(ops.softmax(scores), v), (0, 2, 1, 3))
    x = x + layers.Dense(width)(ops.reshape(y, (-1, length, width)))
    y = layers.Activation(lambda y: keras.activations.gelu(y, approximate=True))(layers.Dense(4 * width)(norm(x)))
    return x + layers.Dense(width)(y)


def language_model(workload):
    """A table of tokens, the transformer's layers if there are heads, and the logits of all tokens."""
    vocabulary, width = workload.widths[:2]
    inputs = keras.Input((workload.length,), dtype="int32")
    x = layers.Embedding(vocabulary, width)(inputs)
    if workload.heads:
        x = Positions()(x)
        for _ in range(4):
            x = transformer(x, workload.heads)
        x = norm(x)
    return keras.Model(inputs, layers.Dense(vocabulary, use_bias=False)(x))


def model(workload):
    if workload.length and not workload.cell:
        return language_model(workload)
    if workload.cell:
        inputs = keras.Input((workload.length, workload.widths[0]))
        return keras.Model(inputs, getattr(layers, workload.cell)(workload.widths[1], return_sequences=True)(inputs))
    activation = {"gelu": lambda x: keras.activations.gelu(x, approximate=True)}.get(workload.activation)
    inputs = x = keras.Input((workload.widths[0],))
    for width in workload.widths[1:-1]:
        x = layers.Dense(width, use_bias=workload.bias)(x)
        if workload.norm:
            x = layers.BatchNormalization(momentum=measuring.NORM_MOMENTUM, epsilon=measuring.NORM_EPSILON)(x)
        x = layers.Activation(activation or workload.activation)(x)
    return keras.Model(inputs, layers.Dense(workload.widths[-1], None if workload.classes else "sigmoid")(x))


def optimizer(workload):
    betas = {"beta_1": measuring.BETA1, "beta_2": measuring.BETA2, "epsilon": measuring.EPSILON}
    return {
        "sgd": lambda: optimizers.SGD(workload.rate),
        "momentum": lambda: optimizers.SGD(workload.rate, momentum=measuring.MOMENTUM),
        "adam": lambda: optimizers.Adam(workload.rate, **betas),
        "adamw": lambda: optimizers.AdamW(workload.rate, weight_decay=measuring.DECAY, **betas),
    }[workload.optimizer]()


def build(workload):
    keras.utils.set_random_seed(0)
    net, update = model(workload), optimizer(workload)
    update.build(net.trainable_variables)
    x, y = measuring.data(workload)
    tokens = workload.length and not workload.cell
    x = tf.constant(x.astype(np.int32) if tokens else x)
    y = tf.constant(y.astype(np.int32) if workload.classes else y)

    @tf.function(jit_compile=True)
    def train():
        with tf.GradientTape() as tape:
            outputs = net(x, training=True)
            if workload.cell:
                losses = outputs**2
            elif workload.classes:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs)
            else:
                losses = (outputs - y) ** 2
            loss = tf.reduce_mean(losses)
        update.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        return loss

    @tf.function(jit_compile=True)
    def infer(rows):
        return net(rows, training=False)

    last, row = None, x[:1]

    def step():
        nonlocal last
        last = train().numpy()

    return measuring.Network(step, lambda: float(last), lambda: infer(row).numpy(), lambda: infer(x).numpy())


measuring.measure(args, "tensorflow", tf.__version__, build)
