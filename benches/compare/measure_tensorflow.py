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
from keras import layers, optimizers

tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)


def model(workload):
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
    x, y = tf.constant(x), tf.constant(y.astype(np.int32) if workload.classes else y)

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
