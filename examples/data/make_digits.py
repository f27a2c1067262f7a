"""Writes digits.csv next to this script from the compressed copy in a scikit-learn wheel.

A wheel is a zip file:  pip download --no-deps scikit-learn==1.9.1
                        unzip -p scikit_learn-*.whl sklearn/datasets/data/digits.csv.gz > digits.csv.gz
                        python3 make_digits.py digits.csv.gz
Standard library only.  Nothing is changed but the compression; the checks say what a reader may rely on.
"""
import gzip
import hashlib
import pathlib
import sys

SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"  # of the decompressed file


def main(source):
    data = gzip.decompress(pathlib.Path(source).read_bytes())
    rows = [[int(v) for v in line.split(",")] for line in data.decode("ascii").splitlines()]
    assert len(rows) == 1797 and all(len(r) == 65 for r in rows), "1,797 lines of 64 pixels and a label"
    assert all(0 <= p <= 16 for r in rows for p in r[:64]), "pixels are 0..16"
    assert {r[64] for r in rows} == set(range(10)), "labels are 0..9"
    assert b"\r" not in data and data.endswith(b"\n"), "lines end in \\n, the last one too"
    assert hashlib.sha256(data).hexdigest() == SHA256, "not the file that digits.csv was made from"
    pathlib.Path(__file__).with_name("digits.csv").write_bytes(data)


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(sys.argv[1])
