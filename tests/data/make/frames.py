"""Coded chunks of version 2 and what they decode to: ``python tests/data/make/frames.py``.

They are written once and kept: every later version must decode them. A new case gets a new name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import xphys.codecs.wrapped  # noqa: F401 - registers "bitround"
from xphys.coding import Bounds, Request, decode_chunk, encode_chunk
from xphys.coding.preserve import Preserve
from xphys.coding.reference import reference

FRAMES = Path(__file__).parents[1] / "frames"
ROLES = ("time", "space", "space")
BOX, ROOM = (None, True, True), (None, False, False)


def waves(steps: int, n: int, rough: float = 0.02) -> np.ndarray:
    """Travelling waves and noise."""
    rng = np.random.default_rng(11)
    t, x = np.arange(steps) / 8, 2 * np.pi * np.arange(n) / n
    u = np.sin(x[:, None] + 2 * x - t[:, None, None]) + np.cos(
        3 * x[:, None] - x + t[:, None, None]
    )
    return np.asarray(u + rough * rng.standard_normal(u.shape))


def cases() -> dict[str, tuple[np.ndarray, Request, np.ndarray | None]]:
    """Name -> values, request, state."""
    x = waves(12, 24)
    walk = np.cumsum(np.random.default_rng(3).standard_normal((9, 20, 30)), axis=2)
    holes = np.where(np.random.default_rng(4).random(x.shape) < 0.1, np.nan, x)
    fill = np.where(x > 1.5, 1e20, x)
    sizes = 10.0 ** np.arange(-3, 3)[:, None, None] * waves(6, 16)

    def lossy(
        periodic: tuple[bool | None, ...] = BOX, effort: str = "normal", **bounds: float
    ) -> Request:
        return Request("transform", Bounds(**bounds), ROLES, periodic, effort)

    return {
        "periodic_f4_vrmse": (x.astype("f4"), lossy(vrmse=1e-2), None),
        "mixing_f4_vrmse": (x.astype("f4"), lossy(effort="max", vrmse=1e-1), None),
        "tight_f8_vrmse": (x, lossy(vrmse=1e-6), None),
        "walls_f4_vrmse": (walk.astype("f4"), lossy(ROOM, vrmse=1e-2), None),
        "single_points_f4_max_abs": (x.astype("f4"), lossy(max_abs=1e-3), None),
        "nan_f8_max_abs": (holes, lossy(max_abs=1e-2), None),
        "fill_f8_vrmse": (fill, lossy(vrmse=1e-2), None),
        "big_endian_f4_rel": (x.astype(">f4"), lossy(pointwise_rel=1e-2), None),
        "every_field_f8_vrmse": (sizes, lossy(vrmse=1e-2), reference(sizes, (1, 2))),
        "four_dims_f4_vrmse": (
            waves(20, 9).reshape(4, 5, 9, 9).astype("f4"),
            Request("transform", Bounds(vrmse=1e-2), ("time", "space", "space", "space")),
            None,
        ),
        "i2_max_abs": ((x * 1000).astype("i2"), lossy(max_abs=3), None),
        "bitround_f4_rel": (x.astype("f4"), Request("bitround", Bounds(pointwise_rel=1e-3)), None),
        "preserve_f4_vrmse": (
            x.astype("f4"),
            replace(lossy(vrmse=1e-2), preserve=Preserve(("mean", "energy"))),
            None,
        ),
        "moved_f4_max_rel": (
            waves(6, 16).astype("f4"),
            lossy(ROOM, "fast", max_rel=1e-2),
            None,
        ),
        "moved_f4_rel": (waves(6, 16).astype("f4"), lossy(ROOM, pointwise_rel=1e-2), None),
        "every_f2_lossless": (np.arange(2**16, dtype="u2").view("f2"), Request(), None),
    }  # fmt: skip


def main() -> None:
    """Write those that are not there yet."""
    FRAMES.mkdir(exist_ok=True)
    for name, (x, request, state) in cases().items():
        if (FRAMES / f"{name}.v2").exists():
            continue
        data = encode_chunk(x, request, state)
        (FRAMES / f"{name}.v2").write_bytes(data)
        np.save(FRAMES / f"{name}.npy", decode_chunk(data))


if __name__ == "__main__":
    main()
