"""What the frameworks in Python share: the workloads, their data, and how a measurement goes.

A process measures one framework in one mode on one workload. It builds the network, makes the first step, and says
`ready`. For every line on standard input it then measures training and inference once and prints a line of JSON, so that
a caller can let several processes take turns. Without `--turns` it measures once.
"""

import argparse
import dataclasses
import json
import os
import resource
import statistics
import sys
import time

import numpy as np


@dataclasses.dataclass(frozen=True)
class Workload:
    batch: int
    widths: tuple  # of the input, the hidden layers and the output
    activation: str  # after every hidden layer
    norm: bool  # batch norm between a hidden layer and its activation
    bias: bool  # of the hidden layers; the last one always has one
    optimizer: str
    rate: float
    classes: bool = True  # cross-entropy; otherwise a sigmoid and the mean squared error
    image: tuple = ()  # channels, height and width; the network then is the convolutional one of that name
    length: int = 0  # of sequences of tokens; the network then is the transformer of that name, or
    cell: str = ""  # a layer with a state over sequences of numbers, and the loss the mean square of what it gives
    heads: int = 4  # of the transformer; without any it is a table and a product


WORKLOADS = {
    "xor": Workload(4, (2, 8, 1), "tanh", False, True, "sgd", 0.1, classes=False),
    "mlp": Workload(128, (784, 256, 128, 10), "relu", True, True, "adam", 1e-3),
    "wide": Workload(256, (1024, 1024, 1024, 1024, 10), "gelu", True, True, "adamw", 1e-3),
    "deepbn": Workload(1024, (256,) * 21 + (10,), "tanh", True, False, "momentum", 0.01),
    "cnn": Workload(64, (784, 10), "relu", True, True, "adam", 1e-3, image=(1, 28, 28)),
    "resnet20": Workload(32, (3072, 10), "relu", True, False, "momentum", 0.01, image=(3, 32, 32)),
    "wrn16": Workload(32, (3072, 10), "relu", True, False, "momentum", 0.01, image=(3, 32, 32)),
    "mobile": Workload(32, (3072, 10), "relu", True, False, "momentum", 0.01, image=(3, 32, 32)),
    "gpt": Workload(16, (65, 128, 65), "gelu", True, False, "adamw", 1e-3, length=64),
    "gpt-long": Workload(4, (65, 256, 65), "gelu", True, False, "adamw", 1e-3, length=512, heads=8),
    "vocabulary": Workload(32, (32_768, 256, 32_768), "", False, False, "sgd", 0.1, length=64, heads=0),
    "lstm": Workload(64, (256, 256), "tanh", False, True, "sgd", 0.1, classes=False, length=64, cell="LSTM"),
    "gru": Workload(64, (256, 256), "tanh", False, True, "sgd", 0.1, classes=False, length=64, cell="GRU"),
}
MOMENTUM, BETA1, BETA2, EPSILON, DECAY = 0.9, 0.9, 0.999, 1e-8, 0.01
NORM_MOMENTUM, NORM_EPSILON = 0.9, 1e-5

LEAST, MOST, PATIENCE = 3, 20_000, 60.0


def data(workload):
    """Inputs, and targets if there are any: standard normal and uniform classes or tokens, or the truth table of exclusive or."""
    if workload.cell:
        shape = (workload.batch, workload.length, workload.widths[0])
        return np.random.default_rng(1).standard_normal(shape).astype(np.float32), np.zeros(0, np.float32)
    if not workload.classes:
        return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([[0], [1], [1], [0]], np.float32)
    random = np.random.default_rng(1)
    if workload.length:
        return random.integers(0, workload.widths[-1], (2, workload.batch, workload.length)).astype(np.int64)
    shape = workload.image or (workload.widths[0],)
    x = random.standard_normal((workload.batch, *shape)).astype(np.float32)
    return x, random.integers(0, workload.widths[-1], workload.batch).astype(np.int64)


def arguments(modes):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", required=True, choices=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", default=modes[0], choices=modes)
    parser.add_argument("--seconds", type=float, default=3.0, help="of training in a measurement")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds of training before it")
    parser.add_argument("--turns", action="store_true", help="measure once for every line on standard input")
    return parser.parse_args()


def since_start():
    """Seconds since this process was started; the system counts in hundredths."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
        return float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def usage():
    return resource.getrusage(resource.RUSAGE_SELF)


def samples(call, seconds, warmup, steps=1):
    """Microseconds a step, in ascending order. `call` makes `steps` steps and returns when they are done."""
    clock = time.perf_counter
    start, calls = clock(), 0
    while clock() - start < warmup or (calls < LEAST and clock() - start < PATIENCE / 3):
        call()
        calls += 1
    start, times = clock(), []
    while clock() - start < seconds or (len(times) < LEAST and clock() - start < PATIENCE):
        before = clock()
        call()
        times.append(1e6 * (clock() - before) / steps)
        if len(times) == MOST:
            break
    return sorted(times)


@dataclasses.dataclass
class Network:
    """A framework's network at work; every call returns when its result is there."""

    step: callable
    loss: callable
    predict_one: callable
    predict_batch: callable


def measure(args, framework, version, build, steps=1):
    """`build` takes a workload and gives its `Network`; `steps` are made in a call of `step`."""
    import_s, rss_import = since_start(), usage().ru_maxrss / 1024
    workload = WORKLOADS[args.workload]
    before = time.perf_counter()
    network = build(workload)
    build_s = time.perf_counter() - before
    network.step()
    record = {
        "framework": framework,
        "version": version,
        "workload": args.workload,
        "threads": args.threads,
        "mode": args.mode,
        "batch": workload.batch,
        "dtype": "f32",
        "first_step_s": round(since_start(), 3),
        "import_s": round(import_s, 3),
        "build_s": round(build_s, 3),
        "compile_s": round(time.perf_counter() - before - build_s, 3),
        "rss_import_mib": round(rss_import, 1),
        "loss_first": network.loss(),
    }
    print("ready", flush=True)
    for _ in sys.stdin if args.turns else [None]:
        switches = usage().ru_nivcsw
        times = samples(network.step, args.seconds, args.warmup, steps)
        # The first time, nothing but training has touched memory.
        record.setdefault("peak_rss_mib", round(usage().ru_maxrss / 1024, 1))
        record |= {
            "step_us_median": round(statistics.median(times), 2),
            "step_us_min": round(times[0], 2),
            "step_us_p90": round(times[len(times) * 9 // 10], 2),
            "step_n": len(times),
            "nivcsw": usage().ru_nivcsw - switches,
            "load1": round(os.getloadavg()[0], 2),
            "loss_last": network.loss(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        for key, call in [("infer_b1_us", network.predict_one), ("infer_us", network.predict_batch)]:
            times = samples(call, args.seconds / 3, min(args.warmup, 0.3))
            record |= {key: round(statistics.median(times), 2), f"{key}_min": round(times[0], 2)}
        print(json.dumps(record), flush=True)
