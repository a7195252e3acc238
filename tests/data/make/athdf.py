"""Write files in the layout that Athena++ documents for its HDF5 output (.athdf).

    python tests/data/make/athdf.py tests/data/athdf

No file of Athena++ itself was at hand: these follow the page "HDF5 Format" of its wiki (attributes,
datasets, big-endian floats of single precision, blocks in Z-order) and src/outputs/athena_hdf5.cpp
(``MeshBlockSize`` counts ghost cells, and is 1 across a slice). Only h5py and numpy are used.

The values are those of `field` at the centres of the cells, so that a reader can be checked cell
by cell.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

PRIM = ("rho", "press", "vel1", "vel2", "vel3")
MAGNETIC = ("Bcc1", "Bcc2", "Bcc3")
# Place (lx1, lx2, lx3) and level of each block; 8 x 8 cells in 2 x 2 blocks, refined twice.
STATIC = (
    ((0, 0, 0), 0),
    ((2, 0, 0), 1), ((3, 0, 0), 1), ((2, 1, 0), 1),
    ((6, 2, 0), 2), ((7, 2, 0), 2), ((6, 3, 0), 2), ((7, 3, 0), 2),
    ((0, 1, 0), 0), ((1, 1, 0), 0),
)  # fmt: skip
COARSE = tuple(((i, j, 0), 0) for j in range(2) for i in range(2))
LEFT = tuple(((i, j, 0), 1) for j in range(2) for i in range(2)) + COARSE[1:]
STRING = "S21"


def field(number: int, x1: np.ndarray, x2: np.ndarray, x3: np.ndarray, time: float) -> np.ndarray:
    """Variable ``number`` at positions, in double precision."""
    phase = 2.0 * x1 + 3.0 * x2 + 5.0 * x3 + 0.25 * number + time
    return 1.5 + number + 0.5 * np.sin(phase)


def edges(low: float, high: float, ratio: float, cells: int, level: int) -> np.ndarray:
    """Interfaces of the cells of a level, for a ratio of neighbouring widths at the root."""
    n = cells * 2**level if cells > 1 else 1
    if ratio == 1.0:
        return low + (high - low) * np.arange(n + 1) / n
    step = ratio ** (1.0 / 2**level)
    return low + (high - low) * (1.0 - step ** np.arange(n + 1)) / (1.0 - step**n)


def write(
    path: Path,
    cells: Sequence[int],
    block: Sequence[int],
    blocks: Sequence[tuple[Sequence[int], int]],
    *,
    time: float = 0.0,
    cycle: int = 0,
    bounds: Sequence[Sequence[float]] = ((0.0, 1.0, 1.0), (0.0, 2.0, 1.0), (0.0, 1.0, 1.0)),
    coordinates: str = "cartesian",
    datasets: Sequence[tuple[str, Sequence[str]]] = (("prim", PRIM), ("B", MAGNETIC)),
    ghosts: int = 0,
    plane: tuple[int, int] | None = None,
    dtype: str = ">f4",
) -> None:
    """Write one file.

    Sizes, places and bounds (minimum, maximum, ratio) are in the order x1, x2, x3; ``plane`` is
    (axis, cell of the block) of a slice.
    """
    count = len(blocks)
    stored = [n + 2 * ghosts if m > 1 else 1 for n, m in zip(block, cells, strict=True)]
    faces: list[list[np.ndarray]] = [[], [], []]
    for place, level in blocks:
        for axis in range(3):
            every = edges(*bounds[axis], cells[axis], level)
            first = place[axis] * block[axis] if cells[axis] > 1 else 0
            index = np.arange(first - ghosts * (cells[axis] > 1), first + stored[axis] + 1)
            index = index[: stored[axis] + 1]
            inside = np.clip(index, 0, len(every) - 1)
            beyond = (index - inside) * (every[1] - every[0])
            own = every[inside] + beyond
            if plane is not None and plane[0] == axis:
                own = own[ghosts + plane[1] : ghosts + plane[1] + 2]
            faces[axis].append(own)
    if plane is not None:
        stored[plane[0]] = 1
    tables = [np.array(f) for f in faces]
    centres = [(t[:, 1:] + t[:, :-1]) / 2 for t in tables]
    names = [name for _, members in datasets for name in members]
    with h5py.File(path, "w", track_order=False) as file:
        file.attrs["NumCycles"] = np.array(cycle, ">i4")
        file.attrs["Time"] = np.array(time, ">f8")
        file.attrs["Coordinates"] = np.bytes_(coordinates).astype(STRING)
        for axis in range(3):
            file.attrs[f"RootGridX{axis + 1}"] = np.array(bounds[axis], ">f8")
        file.attrs["RootGridSize"] = np.array(cells, ">i4")
        file.attrs["NumMeshBlocks"] = np.array(count, ">i4")
        file.attrs["MeshBlockSize"] = np.array(stored, ">i4")
        file.attrs["MaxLevel"] = np.array(max(level for _, level in blocks), ">i4")
        file.attrs["NumVariables"] = np.array([len(members) for _, members in datasets], ">i4")
        file.attrs["DatasetNames"] = np.array([name for name, _ in datasets], STRING)
        file.attrs["VariableNames"] = np.array(names, STRING)
        file["Levels"] = np.array([level for _, level in blocks], ">i4")
        file["LogicalLocations"] = np.array([place for place, _ in blocks], ">i8")
        for axis in range(3):
            file[f"x{axis + 1}f"] = tables[axis].astype(dtype)
            file[f"x{axis + 1}v"] = centres[axis].astype(dtype)
        number = 0
        for name, members in datasets:
            values = np.empty((len(members), count, *stored[::-1]), dtype)
            for i in range(len(members)):
                for b in range(count):
                    x3, x2, x1 = np.meshgrid(*(centres[a][b] for a in (2, 1, 0)), indexing="ij")
                    values[i, b] = field(number, x1, x2, x3, time)
                number += 1
            file[name] = values


def main(folder: Path) -> None:
    """Write the files that travel with the repository."""
    for name in ("smr", "amr", "spherical"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(2):
        write(
            folder / "smr" / f"Blast.prim.{number:05d}.athdf", (8, 8, 1), (4, 4, 1), STATIC,
            time=0.1 * number, cycle=7 * number,
        )  # fmt: skip
    one = (("hydro", ("rho",)),)
    for number, blocks in enumerate((COARSE, LEFT)):
        write(
            folder / "amr" / f"Blob.d.{number:05d}.athdf", (8, 8, 1), (4, 4, 1), blocks,
            time=0.5 * number, cycle=3 * number, datasets=one,
        )  # fmt: skip
    write(
        folder / "spherical" / "Wind.prim.00000.athdf", (8, 4, 4), (4, 4, 4),
        (((0, 0, 0), 0), ((1, 0, 0), 0)), coordinates="spherical_polar",
        bounds=((1.0, 4.0, 1.1), (0.5, 2.5, 1.0), (0.0, 6.283185307179586, 1.0)),
        datasets=(("prim", ("rho", "vel1", "vel2", "vel3")),),
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
