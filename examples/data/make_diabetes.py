"""Writes diabetes.csv next to this script from the two compressed files in a scikit-learn wheel.

A wheel is a zip file:  pip download --no-deps scikit-learn==1.9.1
                        unzip -j scikit_learn-*.whl 'sklearn/datasets/data/diabetes_*.csv.gz'
                        python3 make_diabetes.py diabetes_data_raw.csv.gz diabetes_target.csv.gz
Standard library only.  The measurements stay as they are written; commas, a header and the target are added.
"""
import gzip
import hashlib
import pathlib
import sys

HEADER = "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,progression"
SHA256 = "36e3fd6f8158bdc41f916d8989653227e5a5dd506c508de3f33febb48213e641"  # of the result


def main(measurements, targets):
    rows = [line.split() for line in gzip.decompress(pathlib.Path(measurements).read_bytes()).decode("ascii").splitlines()]
    ends = [float(line) for line in gzip.decompress(pathlib.Path(targets).read_bytes()).decode("ascii").splitlines()]
    assert len(rows) == len(ends) == 442 and all(len(row) == 10 for row in rows), "442 rows of ten measurements"
    assert {row[1] for row in rows} == {"1", "2"}, "sex is 1 or 2"
    assert all(end == int(end) and 25 <= end <= 346 for end in ends), "the progression is a whole number from 25 to 346"
    lines = [HEADER] + [",".join(row + [str(int(end))]) for row, end in zip(rows, ends)]
    data = "".join(line + "\n" for line in lines).encode("ascii")
    assert hashlib.sha256(data).hexdigest() == SHA256, "not the table that diabetes.csv was made from"
    pathlib.Path(__file__).with_name("diabetes.csv").write_bytes(data)


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
