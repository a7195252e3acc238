"""The file of The Well while it is written: made in full size first, then filled in place.

All that HDF5 itself writes is written at the start; fields are contiguous, and their bytes are
put where they belong afterwards. So nothing that a kill interrupts can damage the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xphys.io.writers._well_plan import Plan, Target

__all__ = ["digest_of", "make_file", "put", "regions", "settle"]


def make_file(path: str, plan: Plan) -> dict[str, int]:
    """Write groups, attributes and small arrays, and make room for the rest.

    Parameters
    ----------
    path : str
        Replaced if it exists.
    plan : Plan
        What goes in.

    Returns
    -------
    dict
        Path of a target -> its place in bytes.
    """
    import h5py

    # From 1.8 on attributes may be large; later versions mark a file as open, and a killed
    # writer would leave the mark.
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        _set(file, plan.root)
        for name, attrs in plan.groups.items():
            _set(file.create_group(name), attrs)
        for name, (values, attrs) in plan.small.items():
            kind = h5py.string_dtype() if values.dtype.kind == "O" else None
            _set(file.create_dataset(name, data=values, dtype=kind), attrs)
        for target in plan.targets:
            _set(_room(file, target), target.attrs)
    with h5py.File(path, "r") as file:
        return {t.path: file[t.path].id.get_offset() or 0 for t in plan.targets}


def _room(file: Any, target: Target) -> Any:
    import h5py

    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_layout(h5py.h5d.CONTIGUOUS)
    made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    made.set_obj_track_times(False)
    group, _, name = target.path.rpartition("/")
    kind = h5py.h5t.py_create(target.dtype, logical=True)
    space = (
        h5py.h5s.create_simple(target.shape) if target.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    )
    h5py.h5d.create(file[group].id, name.encode(), kind, space, made)
    return file[target.path]


def _set(held: Any, attrs: Mapping[str, Any]) -> None:
    import h5py

    for key, value in attrs.items():
        if isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value):
            held.attrs.create(key, list(value), (len(value),), h5py.string_dtype())
        elif isinstance(value, np.ndarray) and value.dtype.kind in "UT":
            held.attrs.create(key, value.tolist(), value.shape, h5py.string_dtype())
        else:
            held.attrs[key] = np.bool_(value) if isinstance(value, bool) else value


def regions(
    target: Target, start: int, block: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Places and lengths, in bytes, of a block of a target: one for every trajectory.

    Parameters
    ----------
    target : Target
        The dataset.
    start : int
        Its place in the file.
    block : mapping
        Of ``trajectory`` and ``time`` -> first place and the one behind the last.
    """
    inner = target.shape[len(target.lead) :]
    frame = int(np.prod(inner, dtype=np.int64)) * target.dtype.itemsize
    steps = target.shape[target.lead.index("time")] if "time" in target.lead else 1
    first, last = block["time"] if "time" in target.lead else (0, 1)
    members = range(*block["trajectory"]) if "trajectory" in target.lead else range(1)
    for member in members:
        yield start + (member * steps + first) * frame, (last - first) * frame


def put(
    file: Any, target: Target, start: int, parts: Sequence[np.ndarray], block: Mapping[str, Any]
) -> bytes:
    """Write the values of a block; parts are those of the components.

    Returns
    -------
    bytes
        Digest of what was written.
    """
    values = np.stack(parts, axis=-1) if len(parts) > 1 else parts[0]
    data = np.ascontiguousarray(values, target.dtype).reshape(-1).view(np.uint8)
    seen, at = hashlib.blake2b(digest_size=16), 0
    for place, length in regions(target, start, block):
        file.seek(place)
        file.write(data[at : at + length].data)
        seen.update(data[at : at + length].data)
        at += length
    return seen.digest()


def digest_of(file: Any, target: Target, start: int, block: Mapping[str, Any]) -> bytes:
    """Digest of what the file holds of a block."""
    seen = hashlib.blake2b(digest_size=16)
    for place, length in regions(target, start, block):
        file.seek(place)
        while length:
            data = file.read(min(length, 2**24))
            if not data:
                return b""
            seen.update(data)
            length -= len(data)
    return seen.digest()


def settle(path: str) -> None:
    """Make sure that a folder's entries are on the disk."""
    if os.name == "posix":
        number = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
