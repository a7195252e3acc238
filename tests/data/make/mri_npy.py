"""Cut small sets out of NumPy files that the scripts of the MRI project wrote.

    python tests/data/make/mri_npy.py formats/mri tests/data/mri_npy

Origin: marikgoldstein/athenak_flatiron at commit fed8469 (no licence file: its output only), NumPy
2.4.6. ``npy_64`` keeps output 51 and the fields vely, Bz and jz of ``npy_64_two_ranks``;
``dino_16`` keeps the corner of 16 x 16 cells of the windows for validation of ``dino_32``, its
pickled pairs written by ``np.save`` as in the original. Nothing of xphys is used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FIELDS = ["vely", "Bz", "jz"]
CELLS = 16


def cut_fields(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with np.load(source / "metadata.npz") as held:
        info = {name: held[name] for name in held.files}
    places = [info["field_names"].tolist().index(name) for name in FIELDS]
    values = np.load(source / "all_fields_64x64.npy")[:1, :, :, places]
    np.save(target / "all_fields_64x64.npy", np.ascontiguousarray(values))
    info["field_names"] = np.array(FIELDS)
    info["times"], info["snap_indices"] = info["times"][:1], info["snap_indices"][:1]
    info["snap_end"] = info["snap_start"]
    np.savez(target / "metadata.npz", **info)


def cut_windows(source: Path, target: Path) -> None:
    (target / "stats").mkdir(parents=True, exist_ok=True)
    windows = np.load(source / "neurops_val.npy")[:, :, :CELLS, :CELLS]
    np.save(target / "neurops_val.npy", np.ascontiguousarray(windows))
    # the one file that is unpickled: it comes from a program we know
    pairs = np.load(source / "diffusion_val.npy", allow_pickle=True).item()
    cut = {key: np.ascontiguousarray(v[..., :CELLS, :CELLS]) for key, v in pairs.items()}
    np.save(target / "diffusion_val.npy", cut, allow_pickle=True)
    for name in ("dataset_info.npz", "stats/train_neurops_stats.npz"):
        (target / name).write_bytes((source / name).read_bytes())


def main(source: str, target: str) -> None:
    cut_fields(Path(source) / "npy_64_two_ranks", Path(target) / "npy_64")
    cut_windows(Path(source) / "dino_32", Path(target) / "dino_16")


if __name__ == "__main__":
    main(*sys.argv[1:])
