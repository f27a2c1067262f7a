"""Writes bikes.csv next to this script from the table of hours in an ISLP wheel.

A wheel is a zip file:  pip download --no-deps ISLP==0.6.0
                        unzip -j islp-*.whl ISLP/data/Bikeshare.csv
                        python3 make_bikes.py Bikeshare.csv
Standard library only.  The numbers stay as they are; the hours of a day become one line.
"""
import csv
import hashlib
import pathlib
import sys

HEADER = "working," + ",".join(f"h{hour}" for hour in range(24))
SHA256 = "f229faac4d95899218daca9f52a35fe887b7cea8fbb5bb042d2e7b44826d2178"  # of the result


def main(hours):
    days = [dict() for _ in range(365)]
    for row in csv.DictReader(pathlib.Path(hours).read_text("ascii").splitlines()):
        day = days[int(row["day"]) - 1]
        assert row["hr"] not in day and day.setdefault("working", row["workingday"]) == row["workingday"], "each hour is there once"
        day[row["hr"]] = row["bikers"]
    keys = ["working"] + [str(hour) for hour in range(24)]
    data = "".join(line + "\n" for line in [HEADER] + [",".join(day.get(key, "") for key in keys) for day in days]).encode("ascii")
    assert hashlib.sha256(data).hexdigest() == SHA256, "not the table that bikes.csv was made from"
    pathlib.Path(__file__).with_name("bikes.csv").write_bytes(data)


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(*sys.argv[1:])
