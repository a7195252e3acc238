"""The archives beside the arrays: what they must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xphys.errors import FormatError
from xphys.io.readers.mri_npy._npz import read_npz

__all__ = ["FieldInfo", "WindowInfo", "read_field_info", "read_window_info", "strings"]

_FIELDS = frozenset({"field_names", "times", "x_coords", "y_coords"})
_WINDOWS = frozenset({"channel_names", "window", "n_samples", "sample_times"})
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class FieldInfo:
    """What ``metadata.npz`` says about an ``all_fields`` array.

    Attributes
    ----------
    names : list of str
        Of the fields, as stored.
    times : ndarray
        float64.
    x, y : ndarray
        Left edges along x1 and x2.
    limits : dict
        "x", "y" -> (lower, upper) of the box, where stored.
    snapshots : ndarray or None
        Output numbers.
    native : int or None
        Number of cells of the run along x1.
    """

    names: list[str]
    times: np.ndarray
    x: np.ndarray
    y: np.ndarray
    limits: dict[str, tuple[float, float]]
    snapshots: np.ndarray | None
    native: int | None


@dataclass(frozen=True)
class WindowInfo:
    """What ``dataset_info.npz`` says about windows.

    Attributes
    ----------
    names : list of str
        Of the channels, as stored.
    times : ndarray
        Shape (windows, steps), float64.
    parts : dict
        "train", "val", "test" -> numbers of their windows.
    factor : int or None
        By which the inputs of diffusion were coarsened.
    stride : int or None
        Snapshots from one window to the next.
    """

    names: list[str]
    times: np.ndarray
    parts: dict[str, np.ndarray]
    factor: int | None
    stride: int | None

    def windows(self, part: str) -> np.ndarray:
        """Numbers of the windows of a part; "all" has every one."""
        return self.parts.get(part, np.arange(self.times.shape[0]))


def read_field_info(path: str, options: Mapping[str, Any]) -> FieldInfo:
    """Read ``metadata.npz``; FormatError if it is not one."""
    held = _read(path, options, _FIELDS)
    limits = {}
    for axis, stored in (("x", "x1"), ("y", "x2")):
        ends = [held.get(f"{stored}{end}") for end in ("min", "max")]
        if all(end is not None for end in ends):
            limits[axis] = (_number(ends[0], path), _number(ends[1], path))
    native = held.get("native_resolution", held.get("original_resolution"))
    snapshots = held.get("snap_indices")
    return FieldInfo(
        strings(held["field_names"], path),
        _line(held["times"], path),
        _line(held["x_coords"], path),
        _line(held["y_coords"], path),
        limits,
        None if snapshots is None else _integers(snapshots, path),
        None if native is None else int(_number(native, path)),
    )


def read_window_info(path: str, options: Mapping[str, Any]) -> WindowInfo:
    """Read ``dataset_info.npz``; FormatError if it is not one."""
    held = _read(path, options, _WINDOWS)
    times = held["sample_times"]
    if times.ndim != 2 or times.dtype.kind not in "fiu":
        raise FormatError(f"{path}: expected sample_times (windows, steps), found {times.shape}")
    parts = {}
    for part in _PARTS:
        if f"{part}_indices" in held:
            parts[part] = _integers(held[f"{part}_indices"], path)
            if (parts[part] < 0).any() or (parts[part] >= times.shape[0]).any():
                raise FormatError(f"{path}: {part}_indices name windows that do not exist")
    return WindowInfo(
        strings(held["channel_names"], path),
        times.astype(np.float64),
        parts,
        *(
            None if name not in held else int(_number(held[name], path))
            for name in ("downsample_factor", "stride")
        ),
    )


def _read(path: str, options: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, np.ndarray]:
    held = read_npz(path, options)
    if missing := sorted(wanted - set(held)):
        raise FormatError(f"{path}: expected the arrays {sorted(wanted)}, {missing} are missing")
    return held


def strings(values: np.ndarray, path: str) -> list[str]:
    """A line of short texts; FormatError for anything else."""
    if values.ndim != 1 or values.dtype.kind not in "US" or values.size > 4096:
        raise FormatError(f"{path}: expected a list of names, found {values.dtype} {values.shape}")
    try:
        texts = values.tolist()
        names = [t.decode("utf-8") if isinstance(t, bytes) else t for t in texts]
        "".join(names).encode("utf-8")
    except ValueError as error:
        raise FormatError(f"{path}: expected names, found text that is damaged") from error
    return names


def _line(values: np.ndarray, path: str) -> np.ndarray:
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: expected a line of numbers, found {values.dtype} {values.shape}"
        )
    return values.astype(np.float64)


def _integers(values: np.ndarray, path: str) -> np.ndarray:
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise FormatError(f"{path}: expected a line of integers, found {values.dtype}")
    return values.astype(np.int64)


def _number(value: Any, path: str) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise FormatError(f"{path}: expected a single number, found {array.dtype} {array.shape}")
    return float(array.reshape(()))
