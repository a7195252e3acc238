"""The three layouts of PDEBench's files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError
from xphys.io.readers._axes import plane_axes
from xphys.io.readers._hdf5 import HDF5Array, HDF5File
from xphys.io.readers._stack import Stacked
from xphys.io.readers.pdebench._names import described, take_attributes, take_configs
from xphys.io.readers.pdebench._part import Part, Times

__all__ = ["FLOW", "SAMPLE", "read"]

FLOW = {"velocity", "particles", "t"}
SAMPLE = re.compile(r"[0-9]+$")
_CONVENTION = "convention of PDEBench"
# (spatial axes, channels) -> names, usual order of the axes and its reason
_GROUPS: dict[tuple[int, int], tuple[tuple[str, ...], str, str]] = {
    (1, 1): (("concentration",), "xy", _CONVENTION),
    (2, 1): (("height",), "xy", "PDEBench's shallow-water generator writes [x, y]"),
    (2, 2): (
        ("activator", "inhibitor"),
        "yx",
        "PDEBench's diffusion-reaction generator writes [y, x]",
    ),
}


def read(file: HDF5File, axes: str | None) -> Part:
    """Find out the layout of a file and what it holds; FormatError if it has none of the three."""
    members = file.members()
    if "x-coordinate" in members:
        return _read_arrays(file, members, axes)
    if set(members) >= FLOW:
        return _read_flow(file, members, axes)
    samples = [name for name in members if SAMPLE.match(name) and members[name] == "group"]
    if samples:
        return _read_groups(file, samples, axes)
    raise FormatError(
        f"{file.path}: expected x-coordinate with tensor or density, or groups 0000 with data and "
        f"grid, or velocity, particles and t, found {sorted(members)[:8]}"
    )


def _read_arrays(file: HDF5File, members: Mapping[str, str], axes: str | None) -> Part:
    coordinates = {d: file.values(f"{d}-coordinate") for d in "xyz" if f"{d}-coordinate" in members}
    dims = tuple(coordinates)
    if dims != ("x", "y", "z")[: len(dims)]:
        raise FormatError(f"{file.path}: expected coordinates x, y, z in this order, found {dims}")
    sizes = [values.size for values in coordinates.values()]
    part, left = Part(file.path), []
    has_time = "t-coordinate" in members
    for name in sorted(members):
        if name.endswith("-coordinate") or members[name] != "dataset":
            continue
        array = HDF5Array(file, name)
        rank = len(array.shape) - len(dims)
        if rank not in (1, 2):
            left.append(name)
            continue
        order, reason = plane_axes(
            array.shape[rank:],
            sizes,
            asked=axes,
            usual="xy",
            reason=_CONVENTION,
            where=f"{file.path}: {name!r}",
        )
        # a steady solution is stored as one step without a time
        steady = rank == 2 and array.shape[1] == 1 and not has_time
        at = {1: 0} if steady else {}
        kept = [axis for axis in range(rank) if axis not in at]
        space = list(range(rank, rank + len(dims)))
        part.attrs |= {"axes": order, "axes_decided_by": reason} if len(dims) > 1 else {}
        made = HDF5Array(
            file, name, at=at, order=[*kept, *(reversed(space) if order == "xy" else space)]
        )
        new, attrs = described(name)
        part.arrays[new] = (made, (*("trajectory", "time")[: len(kept)], *reversed(dims)), attrs)
        part.agree(array.shape[0], name)
        if len(kept) == 2:
            steps = array.shape[1]
            if part.times is not None and part.times.steps != steps:
                raise FormatError(f"{file.path}: fields have {part.times.steps} and {steps} steps")
            stored = file.values("t-coordinate") if has_time else None
            part.times = Times.of(stored, steps, file.path)
    if not part.arrays:
        raise FormatError(f"{file.path}: expected arrays of samples, found {sorted(members)[:8]}")
    part.positions = {
        dim: (values, {"source_name": f"{dim}-coordinate"}) for dim, values in coordinates.items()
    }
    part.attrs |= {"not_opened": ", ".join(left)} if left else {}
    take_attributes(part, file.attributes())
    return part


def _read_groups(file: HDF5File, samples: Sequence[str], axes: str | None) -> Part:
    first = samples[0]
    grid = file.members(f"{first}/grid")
    dims = tuple(d for d in "xyz" if d in grid)
    shape = HDF5Array(file, f"{first}/data").shape
    if "t" not in grid or not dims or len(shape) != len(dims) + 2:
        raise FormatError(
            f"{file.path}: expected {first}/data as (time, space, channel) with grid/t and grid/x, "
            f"found {shape} and {sorted(grid)}"
        )
    coordinates = {d: file.values(f"{first}/grid/{d}") for d in (*dims, "t")}
    _check_grids(file, samples, coordinates)
    usual = _GROUPS.get((len(dims), shape[-1]))
    names, order, reason = usual or ((), "xy", _CONVENTION)
    order, reason = plane_axes(
        shape[1:-1],
        [coordinates[d].size for d in dims],
        asked=axes,
        usual=order,
        reason=reason,
        where=f"{file.path}: {first}/data",
    )
    part = Part(file.path, len(samples))
    space = list(range(1, 1 + len(dims)))
    kept = [0, *(reversed(space) if order == "xy" else space)]
    for channel in range(shape[-1]):
        name = names[channel] if names else f"data_{channel}"
        array = Stacked(_Samples(file, tuple(samples), {len(shape) - 1: channel}, kept))
        attrs = {"units": "1", "long_name": name, "source_name": f"data[..., {channel}]"}
        part.arrays[name] = (array, ("trajectory", "time", *reversed(dims)), attrs)
    part.positions = {d: (coordinates[d], {"source_name": f"grid/{d}"}) for d in dims}
    part.times = Times.of(coordinates["t"], shape[0], file.path)
    part.attrs |= {"axes": order, "axes_decided_by": reason} if len(dims) > 1 else {}
    part.more["source_group"] = xr.Variable(
        "trajectory", np.asarray(samples), {"long_name": "group of the sample in the file"}
    )
    configs = [file.attributes(name).get("config") for name in samples]
    take_configs(part, configs, "sim")
    return part


def _check_grids(
    file: HDF5File, samples: Sequence[str], coordinates: Mapping[str, np.ndarray]
) -> None:
    """Raise FormatError unless all samples lie on the grid of the first; thousands of them."""
    with file.opened() as opened:
        for name in samples[1:]:
            for d, wanted in coordinates.items():
                held = file.dataset(opened, f"{name}/grid/{d}")
                same = held.shape == wanted.shape and held.dtype.kind in "fiu"
                if same and held.compression in (None, "lzf"):
                    same = np.array_equal(held[()], wanted)
                elif same:
                    same = np.array_equal(file.values(f"{name}/grid/{d}"), wanted)
                if not same:
                    raise FormatError(
                        f"{file.path}: {name}/grid/{d} differs from that of {samples[0]}"
                    )


class _Samples(Sequence[HDF5Array]):
    """One array of each group, made when it is asked for; all must be like the first."""

    def __init__(
        self, file: HDF5File, names: tuple[str, ...], at: Mapping[int, int], order: Sequence[int]
    ):
        self.file, self.names, self.at, self.order = file, names, at, order
        self.like: tuple[Any, Any] | None = None
        first = self[0]
        self.like = (first.shape, first.dtype)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: Any) -> Any:
        name = f"{self.names[number]}/data"
        array = HDF5Array(self.file, name, at=self.at, order=self.order)
        if self.like is not None and self.like != (array.shape, array.dtype):
            raise FormatError(
                f"{self.file.path}: expected {name} like the first sample {self.like}, found "
                f"{array.dtype} of {array.shape}"
            )
        return array


def _read_flow(file: HDF5File, members: Mapping[str, str], axes: str | None) -> Part:
    velocity = HDF5Array(file, "velocity").shape
    if len(velocity) != 5 or velocity[-1] != 2:
        raise FormatError(f"{file.path}: expected velocity (N, T, X, Y, 2), found {velocity}")
    part = Part(file.path, velocity[0])
    dims, reason = list(axes or "xy"), "given as axes=" if axes else _CONVENTION
    for name, lead in (("velocity", 2), ("particles", 2), ("force", 1)):
        if name not in members:
            continue
        shape = HDF5Array(file, name).shape
        if shape[:-1] != (*velocity[:lead], *velocity[2:4]):
            raise FormatError(f"{file.path}: expected {name} to fit velocity {velocity}: {shape}")
        space = [lead + dims.index("y"), lead + dims.index("x")]
        for place in range(shape[-1]):
            vector = shape[-1] == 2
            letter = "xy"[place] if vector else ""
            new, attrs = described(name)
            if vector:
                new = f"{name}_{letter}"
                attrs |= {"vector": name, "component": letter}
                attrs["long_name"] = f"{letter} component of {name}"
            elif shape[-1] > 1:
                new = f"{new}_{place}"
            attrs["source_name"] = f"{name}[..., {place}]"
            array = HDF5Array(file, name, at={lead + 2: place}, order=[*range(lead), *space])
            label = ("trajectory", "time")[:lead]
            part.arrays[new] = (array, (*label, "y", "x"), attrs)
    said = {"comment": "the file stores no positions: cell centres, in cells"}
    part.positions = {
        dim: (np.arange(velocity[2 + dims.index(dim)]) + 0.5, said) for dim in ("x", "y")
    }
    part.attrs |= {"axes": axes or "xy", "axes_decided_by": reason}
    attributes = file.attributes()
    _flow_times(part, file.values("t"), velocity[1], attributes.get("latestIndex"))
    config = attributes.pop("config", None)
    take_configs(part, [config] * part.count, None)
    take_attributes(part, {key: v for key, v in attributes.items() if key != "latestIndex"})
    return part


def _flow_times(part: Part, t: np.ndarray, steps: int, latest: Any) -> None:
    """Times of the samples; frames that a run which was stopped did not write are left out."""
    if t.shape != (part.count, steps) or t.dtype.kind not in "fiu":
        raise FormatError(f"{part.path}: expected t of {(part.count, steps)}, found {t.shape}")
    said = ""
    if isinstance(latest, int) and 0 <= latest < steps - 1:
        said = f"the run was stopped: {latest + 1} of {steps} frames were written"
        steps = latest + 1
    t = t[:, :steps]
    if (t == t[:1]).all():
        part.times = Times(t[0], steps, said)
        return
    part.times = Times(None, steps, said or "the samples have times of their own: see output_time")
    part.more["output_time"] = xr.Variable(
        ("trajectory", "time"), t, {"units": "1", "long_name": "time of the output"}
    )
