#!/usr/bin/env python3
"""Measures gradloom and the frameworks it is compared with in one sitting, and writes the figures into ../README.md.

    benches/compare/compare.py                 # installs and builds what is missing, measures everything
    benches/compare/compare.py --only jax,burn --workloads mlp --threads 1 --no-write

For every workload and number of threads all processes are started, one after the other, and make their first step; then
they take turns, several rounds of them, so that what else happens on the machine meets all alike. The lowest value of all
rounds counts: other load only ever adds. Needs Linux, Python 3.11 or newer with `venv`, cargo and a C++ compiler (for
`torch.compile`), and access to the package registries the first time. As root it runs at the highest priority.
"""

import argparse
import json
import os
import pathlib
import select
import subprocess
import sys
import time

import figures

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT = pathlib.Path(os.environ.get("COMPARE_DIR", ROOT / "target" / "compare"))
WORKLOADS = ["xor", "mlp", "wide", "deepbn", "cnn", "resnet20", "wrn16", "mobile", "gpt", "gpt-long", "vocabulary", "lstm", "gru"]
# Of the others, PyTorch is the fastest on convolutions; on attention it or TensorFlow; on recurrence those compete that have layers or
# loops for it.
OTHERS = (
    dict.fromkeys(["cnn", "resnet20", "wrn16", "mobile"], ["pytorch"])
    | dict.fromkeys(["gpt", "gpt-long", "vocabulary"], ["pytorch", "tensorflow"])
    | dict.fromkeys(["lstm", "gru"], ["pytorch", "jax", "tensorflow"])
)
PYTHON = {"pytorch/eager", "pytorch/compile", "jax/jit", "jax/scan", "tensorflow/xla"}
RUST = {"burn/flex", "candle/eager", "dfdx/eager"}
ALL = ["gradloom/default", *sorted(PYTHON), *sorted(RUST)]
PATIENCE = 300  # seconds that a first step or a turn may take


def run(*command, **settings):
    print("+", *command, flush=True)
    subprocess.run(command, check=True, **settings)


def build_gradloom():
    """The path of the bench."""
    command = ["cargo", "bench", "--locked", "-p", "gradloom-benches", "--no-run", "--message-format=json-render-diagnostics"]
    print("+", *command, flush=True)
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    paths = [json.loads(line).get("executable") for line in lines if '"bench"' in line]
    return [path for path in paths if path][-1]


def prepare(frameworks):
    """Installs and builds; gives the command of each framework."""
    commands = {"gradloom/default": [build_gradloom(), "--mode", "default"]}
    python = KEPT / "venv" / "bin" / "python"
    wanted = (HERE / "requirements.txt").read_text()
    installed = KEPT / "venv" / "installed.txt"
    if PYTHON & set(frameworks) and not (installed.exists() and installed.read_text() == wanted):
        run(sys.executable, "-m", "venv", KEPT / "venv")
        run(python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt")
        installed.write_text(wanted)
    environment = os.environ | {"CARGO_TARGET_DIR": str(KEPT / "peers"), "RUSTFLAGS": "-Ctarget-cpu=native"}
    for framework in frameworks:
        name, mode = framework.split("/")
        if framework in PYTHON:
            commands[framework] = [python, HERE / f"measure_{name}.py", "--mode", mode]
        elif framework in RUST:
            # One at a time: a build of several would unite the features of what they share.
            manifest = HERE / "peers" / "Cargo.toml"
            command = ["cargo", "build", "--locked", "--release", "--manifest-path", manifest, "-p", f"peer-{name}"]
            run(*command, env=environment)
            commands[framework] = [KEPT / "peers" / "release" / f"peer-{name}", "--mode", mode]
    return commands


def cores(threads):
    """One thread has the last core, where the system has least to do."""
    last = os.cpu_count() - 1
    return {last} if threads == 1 else set(range(threads))


class Process:
    """A framework on a workload, ready for its turn."""

    def __init__(self, framework, command, workload, threads, options):
        self.name = f"{framework} {workload} t{threads}"
        settings = ["--workload", workload, "--threads", threads, "--seconds", options.seconds, "--warmup", options.warmup]
        words = [str(word) for word in [*command, *settings, "--turns"]]
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}

        def settle():
            os.sched_setaffinity(0, cores(threads))
            try:
                os.nice(-20)
            except PermissionError:
                pass

        self.errors = open(KEPT / "errors.log", "a")
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            preexec_fn=settle,
            env=environment,
            cwd=HERE,
        )
        self.text = b""
        if self.line() != "ready":
            raise RuntimeError(f"{self.name} does not get ready; see {self.errors.name}")

    def line(self):
        """The next line of output, or `None` if there is none in time."""
        end = time.monotonic() + PATIENCE
        while b"\n" not in self.text:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 1 << 16) if readable else b""
            if not piece:
                return None
            self.text += piece
        line, _, self.text = self.text.partition(b"\n")
        return line.decode()

    def turn(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        line = self.line()
        if line is None:
            raise RuntimeError(f"{self.name} did not answer; see {self.errors.name}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


def measure(commands, workload, threads, options, record):
    """All frameworks on one workload, in turns."""
    processes = []
    try:
        for framework, command in commands.items():
            if not framework.startswith(("gradloom", *OTHERS.get(workload, [""]))):
                continue
            if framework == "jax/scan" and workload not in ["xor", "mlp"]:
                continue  # What fifty steps in a call save is lost in the time of such steps.
            try:
                processes.append(Process(framework, command, workload, threads, options))
            except RuntimeError as error:
                print(f"! {error}", flush=True)
        for _ in range(options.rounds):
            for process in list(processes):
                try:
                    record(process.turn())
                except (RuntimeError, OSError) as error:
                    print(f"! {error}", flush=True)
                    processes.remove(process)
                    process.end()
    finally:
        for process in processes:
            process.end()


def bench(command, mode, threads, *arguments):
    """What the bench prints in a mode of its own."""
    words = [*command[:1], "--mode", mode, "--threads", str(threads), *arguments]
    pinned = ["taskset", "-c", ",".join(map(str, sorted(cores(threads)))), *words]
    if os.geteuid() == 0:
        pinned = ["nice", "-n", "-20", *pinned]
    return subprocess.run(pinned, check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="frameworks beside gradloom, by the beginning of their names: jax,burn")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7, help="of training in a turn")
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--no-write", action="store_true", help="print the figures, leave ../README.md as it is")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else [""]
    frameworks = [name for name in ALL if name.startswith(("gradloom", *only))]
    KEPT.mkdir(parents=True, exist_ok=True)
    commands = prepare(frameworks)

    start, lines = time.time(), []
    with open(KEPT / "lines.jsonl", "w") as kept:

        def record(line):
            lines.append(line)
            kept.write(json.dumps(line) + "\n")
            kept.flush()
            print(f"{time.time() - start:4.0f} s  {figures.summary(line)}", flush=True)

        for workload in options.workloads.split(","):
            for threads in map(int, options.threads.split(",")):
                measure(commands, workload, threads, options, record)
    ours = commands["gradloom/default"]
    peak = json.loads(bench(ours, "peak", 1))
    scaling = bench(ours, "scaling", max(map(int, options.threads.split(","))))
    profile = bench(ours, "profile", 1)
    text = figures.text(lines, peak, profile, scaling, time.time() - start)
    print(text)
    if not options.no_write:
        figures.write(HERE.parent / "README.md", text)


if __name__ == "__main__":
    main()
