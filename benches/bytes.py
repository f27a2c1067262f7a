#!/usr/bin/env python3
"""Holds the bytes that a step is predicted to move against those that a simulated cache counts.

    cargo bench -p gradloom-benches --no-run
    benches/bytes.py target/release/deps/step-... [WORKLOAD...]

Needs valgrind. Its tool cachegrind counts the lines of 64 bytes that are fetched into a cache for reading and for writing; two
runs of different length differ by whole steps. The cache is one of 512 KiB, as a core has of its own, behind one of 48 KiB.
"""

import re
import subprocess
import sys

STEPS = {"mlp": (1, 6), "wide": (0, 1), "deepbn": (0, 1)}
CACHES = ["--D1=49152,12,64", "--LL=524288,8,64"]


def predicted(step):
    """Megabytes a step, by workload, from the table of the compiler's own counts."""
    table = subprocess.run([step, "--mode", "bytes"], check=True, capture_output=True, text=True).stdout
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
    return {row[0]: float(row[4]) for row in rows}


def lines(step, workload, steps):
    """Lines fetched by a process that makes the first step and so many more."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null", *CACHES, step]
    command += ["--workload", workload, "--steps", str(steps)]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"LL misses: +([\d,]+)", report)[1].replace(",", ""))


def main():
    [step, *workloads] = sys.argv[1:]
    expected = predicted(step)
    print("| a step | MB predicted | MB counted | counted / predicted |\n| --- | ---: | ---: | ---: |")
    for workload in workloads or ["mlp"]:
        few, many = STEPS[workload]
        counted = 64e-6 * (lines(step, workload, many) - lines(step, workload, few)) / (many - few)
        ratio = counted / expected[workload]
        print(f"| {workload} | {expected[workload]:.1f} | {counted:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
