"""Thin a real py2d snapshot out: every 8th point of ``Omega`` along both axes.

    python tests/data/make/py2d.py SOURCE... tests/data/py2d

Each SOURCE is a ``.mat`` file of py2d with 256 x 256 points; it is written again by
``scipy.io.savemat``, as py2d does, with the 32 x 32 points that lie on the coarser grid.
"""

from __future__ import annotations

import sys
from pathlib import Path

import scipy.io

STEP = 8


def main(*arguments: str) -> None:
    *sources, folder = map(Path, arguments)
    for source in sources:
        held = scipy.io.loadmat(source)
        thin = {"Omega": held["Omega"][::STEP, ::STEP], "time": held["time"]}
        target = folder / source.name.replace("py2d_snapshot_", "")
        scipy.io.savemat(target, thin)
        # savemat writes the date of today into the text of the header
        data = bytearray(target.read_bytes())
        data[:116] = b"MATLAB 5.0 MAT-file, every 8th point of a py2d snapshot".ljust(116)
        target.write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
