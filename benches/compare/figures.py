"""From measurements to the tables of ../README.md."""

import collections
import datetime
import os
import pathlib
import platform

ORDER = ["xor", "mlp", "wide", "deepbn", "cnn", "resnet20", "wrn16", "mobile", "gpt", "gpt-long", "vocabulary", "lstm", "gru"]
WIDTHS = {
    "xor": (4, [2, 8, 1]),
    "mlp": (128, [784, 256, 128, 10]),
    "wide": (256, [1024] * 4 + [10]),
    "deepbn": (1024, [256] * 21 + [10]),
}
# The others: rows, multiplications of a row forward, those of a first layer whose input has no gradient, parameters.
OTHERS = {
    "cnn": (64, 4_241_152, 225_792, 421_834),
    "resnet20": (32, 40_813_184, 442_368, 272_474),
    "wrn16": (32, 392_612_352, 442_368, 2_748_890),
    "mobile": (32, 12_184_064, 884_736, 67_914),
    "gpt": (16, 55_058_432, 0, 818_176),
    "gpt-long": (4, 2_156_003_328, 0, 3_323_904),
    "vocabulary": (32, 536_870_912, 0, 16_777_216),
    "lstm": (64, 33_554_432, 16_777_216, 526_336),
    "gru": (64, 25_165_824, 12_582_912, 394_752),
}
SECOND_CACHE = 2 << 20  # bytes of a core of the machine of the figures
OURS = "gradloom/default"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def name(line):
    return f"{line['framework']}/{line['mode']}"


def summary(line):
    return (
        f"{name(line)} {line['workload']} t{line['threads']}: step {line['step_us_min']:,.1f} us, "
        f"1 row {line['infer_b1_us_min']:,.1f}, batch {line['infer_us_min']:,.1f}, loss {line['loss_last']:.4f}"
    )


def flops(workload, training=True):
    """Of the products: forward; in training also by the weights, and by the inputs of all layers but the first."""
    if workload in OTHERS:
        batch, forward, first, _ = OTHERS[workload]
        return 2 * batch * (3 * forward - first if training else forward)
    batch, widths = WIDTHS[workload]
    pairs = [2 * batch * inputs * outputs for inputs, outputs in zip(widths, widths[1:])]
    return 3 * sum(pairs) - pairs[0] if training else sum(pairs)


def extent(workload):
    """The rows of its batch, and its weights."""
    if workload in OTHERS:
        return OTHERS[workload][0], OTHERS[workload][3]
    batch, widths = WIDTHS[workload]
    return batch, sum(inputs * outputs for inputs, outputs in zip(widths, widths[1:]))


class Results:
    """The lowest values of all rounds."""

    def __init__(self, lines):
        self.values, self.versions = {}, {}
        for line in lines:
            self.versions[name(line)] = f"{line['framework']} {line['version']}"
            for key, value in line.items():
                if isinstance(value, (int, float)):
                    at = (name(line), line["workload"], line["threads"], key)
                    self.values[at] = min(value, self.values.get(at, value))
        self.names = sorted(self.versions, key=lambda framework: (framework != OURS, framework))
        self.workloads = [workload for workload in ORDER if any(at[1] == workload for at in self.values)]
        self.threads = sorted({at[2] for at in self.values})

    def get(self, *at):
        return self.values.get(at)

    def best_peer(self, *at):
        others = [self.get(framework, *at) for framework in self.names if framework != OURS]
        return min((value for value in others if value is not None), default=None)


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def compared(results, title, key, threads, unit=1.0):
    """A row a framework, a column a workload, and how many times faster than the fastest of the others gradloom is."""
    rows = []
    for framework in results.names:
        values = [results.get(framework, workload, threads, key) for workload in results.workloads]
        cells = [number(None if value is None else unit * value) for value in values]
        if any(cell != "-" for cell in cells):
            rows.append([f"**{framework}**" if framework == OURS else framework, *cells])
    ratios = []
    for workload in results.workloads:
        ours, best = results.get(OURS, workload, threads, key), results.best_peer(workload, threads, key)
        ratios.append(f"{best / ours:.2f}" if ours and best else "-")
    rows.append(["least other / gradloom" if key.endswith("mib") else "fastest other / gradloom", *ratios])
    return table([f"{title}, {threads} thread{'s' if threads > 1 else ''}", *results.workloads], rows)


def shares(results, peak):
    """How much of the arithmetic peak a step and a prediction reach: products alone count as work."""
    head = ["of the arithmetic peak, %", *results.workloads]
    rows = []
    for key, training in [("step_us_min", True), ("infer_us_min", False)]:
        for threads in results.threads:
            cells = []
            for workload in results.workloads:
                micros = results.get(OURS, workload, threads, key)
                share = flops(workload, training) / (1e3 * micros) / (peak["fma_gflops"] * threads) if micros else 0
                cells.append(f"{100 * share:.1f}" if micros else "-")
            what = "step" if training else "predict, batch"
            rows.append([f"{what}, {threads} thread{'s' if threads > 1 else ''}", *cells])
    return table(head, rows)


def limits(results, peak):
    """How many times faster than the fastest other framework anything could be, since the work takes its time on this machine."""
    head = ["fastest other / the least time", *results.workloads]
    columns = [("step", "step_us_min"), ("predict 1 row", "infer_b1_us_min"), ("predict the batch", "infer_us_min")]
    rows = []
    for title, key in columns:
        for threads in results.threads:
            cells = []
            for workload in results.workloads:
                batch, parameters = extent(workload)
                rows_computed = 1 if key == "infer_b1_us_min" else batch
                work = flops(workload, key == "step_us_min") * rows_computed / batch
                weights = 4 * parameters
                arithmetic = work / (1e3 * peak["fma_gflops"] * threads)
                reading = weights / (1e3 * peak["memory_gbytes"] * threads) if weights > SECOND_CACHE * threads else 0
                best = results.best_peer(workload, threads, key)
                cells.append(number(best / max(arithmetic, reading)) if best and workload != "xor" else "-")
            rows.append([f"{title}, {threads} thread{'s' if threads > 1 else ''}", *cells])
    return table(head, rows)


def machine():
    facts = {}
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    model = facts.get("model name", platform.machine())
    if "cpu family" in facts:
        model += f" (family {facts['cpu family']}, model {facts['model']})"
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"


def text(lines, peak, profile, scaling, seconds):
    results = Results(lines)
    date = datetime.datetime.now(datetime.timezone.utc).date()
    versions = ", ".join(sorted({results.versions[framework] for framework in results.names}))
    rounds = max(collections.Counter((name(line), line["workload"], line["threads"]) for line in lines).values())
    parts = [
        f"{date}, {machine()}; {versions}. {rounds} rounds in turns, {seconds / 60:.0f} minutes; lowest values, in "
        "microseconds unless it says otherwise.\n"
    ]
    columns = [("step", "step_us_min"), ("predict 1 row", "infer_b1_us_min"), ("predict the batch", "infer_us_min")]
    for title, key in columns:
        parts += [compared(results, title, key, threads) for threads in results.threads]
    parts.append(compared(results, "first step from the start of the process, ms", "first_step_s", results.threads[0], 1e3))
    parts.append(compared(results, "peak memory of training, MiB", "peak_rss_mib", results.threads[0]))
    parts.append(
        f"The arithmetic peak of a core is {peak['fma_gflops']:.0f} GFLOP/s (independent multiply-adds in registers); the best "
        f"whole product of gradloom reaches {peak['product_gflops']:.0f} ({peak['product']}). Counting the products of a step "
        "as its work:\n"
    )
    parts.append(shares(results, peak))
    parts.append(
        "How many times faster than the fastest other framework anything could be on this machine: the least time is that of the "
        "products at the arithmetic peak or, where the weights exceed the second caches, of reading them once at the "
        f"{peak['memory_gbytes']:.0f} GB/s that a core reaches, whichever is longer.\n"
    )
    parts.append(limits(results, peak))
    parts.append(
        "Where the time goes, kernel by kernel, each at its best: what the products of a step would take at the arithmetic peak; "
        "what their kernels take beyond that, for operands that travel from memory and between caches, their rearrangement, "
        "and all that is fused after a product; kernels without one.\n"
    )
    parts.append(profile)
    parts.append(scaling)
    return "\n".join(parts)


def write(path, text):
    """Puts the figures between their marks."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + BEGIN + "\n" + text.rstrip("\n") + "\n\n" + END + after)
