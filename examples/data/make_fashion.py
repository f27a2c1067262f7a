"""Makes fashion.bin of the files of the Debian package dataset-fashion-mnist.

    apt-get install dataset-fashion-mnist       # or, without installing: apt-get download, dpkg-deb -x
    python3 make_fashion.py [/usr/share/datasets/fashion-mnist]

The first 2,000 images to learn from and the first 500 of the test: a label in a byte each, then the pixels, of which two make a byte, the
first in its upper half: 0 to 15, the nearest to the original 0 to 255. Needs Python alone.
"""
import gzip
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
FOLDER = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
PIXELS = 28 * 28


def elements(name, header):
    with gzip.open(FOLDER / f"{name}.gz") as file:
        return file.read()[header:]


labels, images = b"", b""
for part, count in (("train", 2_000), ("t10k", 500)):
    labels += elements(f"{part}-labels-idx1-ubyte", 8)[:count]
    pixels = elements(f"{part}-images-idx3-ubyte", 16)[: count * PIXELS]
    coarse = bytes((pixel * 15 + 127) // 255 for pixel in pixels)
    images += bytes(high << 4 | low for high, low in zip(coarse[::2], coarse[1::2]))
assert len(labels) == 2_500 and max(labels) == 9 and len(images) == 2_500 * PIXELS // 2
(HERE / "fashion.bin").write_bytes(labels + images)
