"""Cut a real Gust file of a Rayleigh-Benard run down: its first steps, at full resolution.

    python tests/data/make/gust.py SOURCE tests/data/gust/rayleigh_benard_64x24.h5

SOURCE is the ``output.h5`` of Gust's own converter. Fields, coordinates and attributes are
copied as they are; only the number of steps, the chunks along it and the attribute that repeats
it change.
"""

from __future__ import annotations

import sys

import h5py

STEPS = 2


def main(source: str, target: str) -> None:
    with h5py.File(source, "r") as old, h5py.File(target, "w") as new:
        for name, field in old["fields"].items():
            made = new.create_dataset(
                f"fields/{name}",
                data=field[:STEPS],
                chunks=(min(field.chunks[0], STEPS), *field.chunks[1:]),
                compression=field.compression,
                compression_opts=field.compression_opts,
            )
            assert made.dtype == field.dtype
        for name, values in old["coordinates"].items():
            new[f"coordinates/{name}"] = values[()]
        new.create_group("metadata").attrs.update(old["metadata"].attrs)
        new["metadata"].attrs["n_samples"] = STEPS


if __name__ == "__main__":
    main(*sys.argv[1:])
