"""Writes penguins.csv next to this script: the table of a palmerpenguins wheel, as it is.

A wheel is a zip file:  pip download --no-deps palmerpenguins==0.1.6
                        unzip -j palmerpenguins-*.whl palmerpenguins/data/penguins.csv -d wheel
                        python3 make_penguins.py wheel/penguins.csv
Standard library only.
"""

import csv
import hashlib
import pathlib
import sys

SHA256 = "f204db2c753b0937caac3cb35258562c14f073e4bbc76be24b4c51ce22767a93"

data = pathlib.Path(sys.argv[1]).read_bytes()
rows = list(csv.DictReader(data.decode("ascii").splitlines()))
species = [row["species"] for row in rows]
assert [species.count(name) for name in ("Adelie", "Chinstrap", "Gentoo")] == [152, 68, 124], "another table"
assert hashlib.sha256(data).hexdigest() == SHA256, "other bytes than those that were published"
pathlib.Path(__file__).with_name("penguins.csv").write_bytes(data)
