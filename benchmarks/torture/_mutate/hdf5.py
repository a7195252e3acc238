"""HDF5: fields of superblock, headers, messages, trees and heaps; and whole objects through h5py.

Structures are found by their signatures, object headers of version 1 through the symbol tables
that point to them. A checksum over a changed structure is made right again, else nothing behind it
would ever be looked at.
"""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import h5py
import numpy as np
from numcodecs.checksum32 import JenkinsLookup3

from benchmarks.torture._mutate.any import anything, fields, number

__all__ = ["mutate", "structures"]

_SIGNED = {
    b"TREE": 24, b"SNOD": 8, b"HEAP": 32, b"GCOL": 16, b"OHDR": 12, b"OCHK": 4, b"FRHP": 142,
    b"FHDB": 17, b"FHIB": 17, b"BTHD": 34, b"BTLF": 6, b"BTIN": 6, b"FADB": 14, b"FAHD": 24,
    b"EAHD": 68, b"EAIB": 14,
}  # fmt: skip
_CONTINUED = 0x10


@dataclass(frozen=True)
class _Part:
    """A structure in the file; ``checksum`` is where that of version 2 stands, -1 for none."""

    kind: str
    start: int
    stop: int
    checksum: int = -1
    first: int = 0  # where what the checksum covers begins


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A damaged or hostile version of an HDF5 file."""
    return _object(rng, data) if rng.random() < 0.4 else structures(rng, data)


def structures(rng: random.Random, data: bytes) -> bytes:
    """The bytes of a structure changed; the file may be a damaged one."""
    if rng.random() < 0.1:
        return anything(rng, data)
    parts = _parts(data)
    kind = rng.choice(sorted({part.kind for part in parts}))
    part = rng.choice([p for p in parts if p.kind == kind])
    if rng.random() < 0.15:
        other = rng.choice([p for p in parts if p.kind.split()[0] == kind.split()[0]])
        size = min(part.stop - part.start, other.stop - other.start)
        out = bytearray(data)
        out[part.start : part.start + size] = data[other.start : other.start + size]
        changed = bytes(out)
    elif kind == "chunks" and rng.random() < 0.7:
        changed = _chunk_key(rng, data, part)
    else:
        changed = fields(rng, data, part.start, part.stop)
    return _summed(changed, part)


def _chunk_key(rng: random.Random, data: bytes, part: _Part) -> bytes:
    """Size, mask, place or address of a chunk; an address may be that of the tree itself."""
    out = bytearray(data)
    at = part.start + 24 + rng.randrange(max((part.stop - part.start - 24) // 8, 1)) * 8
    if rng.random() < 0.2:
        out[at : at + 8] = part.start.to_bytes(8, "little")
    else:
        number(rng, out, at, rng.choice((4, 8)))
    return bytes(out)


def _summed(data: bytes, part: _Part) -> bytes:
    if part.checksum < 0 or part.checksum + 4 > len(data):
        return data
    held = data[part.first : part.checksum]
    right = bytes(JenkinsLookup3().encode(held))[-4:]
    return data[: part.checksum] + right + data[part.checksum + 4 :]


def _parts(data: bytes) -> list[_Part]:
    found = [_Part("superblock", 8, 96)]
    for signature, size in _SIGNED.items():
        at = data.find(signature)
        while at >= 0:
            kind = signature.decode()
            if signature == b"TREE" and at + 5 < len(data) and data[at + 4] == 1:
                used = int.from_bytes(data[at + 6 : at + 8], "little")
                found.append(_Part("chunks", at, min(at + 24 + 56 * min(used, 64), len(data))))
            elif signature == b"SNOD":
                used = int.from_bytes(data[at + 6 : at + 8], "little")
                found.append(_Part(kind, at + 4, min(at + 8 + 40 * used, len(data))))
                for entry in range(at + 8, at + 8 + 40 * used, 40):
                    head = int.from_bytes(data[entry + 8 : entry + 16], "little")
                    found += _old_header(data, head)
            elif signature == b"OHDR":
                found += _new_header(data, at)
            else:
                found.append(_Part(kind, at + 4, min(at + max(size, 64), len(data))))
            at = data.find(signature, at + 4)
    return [part for part in found if part.stop - part.start > 1]


def _old_header(data: bytes, at: int) -> list[_Part]:
    """Messages of an object header of version 1, and its own fields."""
    if at + 16 > len(data) or data[at] != 1:
        return []
    size = int.from_bytes(data[at + 8 : at + 12], "little")
    found = [_Part("header", at, at + 16)]
    blocks = [(at + 16, min(at + 16 + size, len(data)))]
    while blocks and len(found) < 200:
        here, end = blocks.pop()
        while here + 8 <= end:
            kind = int.from_bytes(data[here : here + 2], "little")
            length = int.from_bytes(data[here + 2 : here + 4], "little")
            found.append(_Part(f"message {kind}", here + 8, min(here + 8 + length, end)))
            found.append(_Part("message head", here, here + 8))
            if kind == _CONTINUED:
                place = int.from_bytes(data[here + 8 : here + 16], "little")
                more = int.from_bytes(data[here + 16 : here + 24], "little")
                blocks.append((place, min(place + more, len(data))))
            here += 8 + length
    return found


def _new_header(data: bytes, at: int) -> list[_Part]:
    """Messages of an object header of version 2 in its first block."""
    if at + 16 > len(data):
        return []
    flags = data[at + 5]
    here = at + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(data[here : here + width], "little")
    here += width
    end = here + size
    if end + 4 > len(data):
        return []
    found = [_Part("header", at + 4, here, end, at)]
    head = 4 + (2 if flags & 4 else 0)
    while here + head <= end:
        kind, length = data[here], int.from_bytes(data[here + 1 : here + 3], "little")
        stop = min(here + head + length, end)
        found.append(_Part(f"message {kind}", here + head, stop, end, at))
        found.append(_Part("message head", here, here + head, end, at))
        here += head + length
    return found


# Whole objects


def _object(rng: random.Random, data: bytes) -> bytes:
    """One object replaced by another that HDF5 itself finds right."""
    held = io.BytesIO(data)
    with h5py.File(held, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        if not names:
            return anything(rng, data)
        datasets = [name for name in names if isinstance(file.get(name), h5py.Dataset)]
        what = rng.choice(list(_OBJECTS))
        name = rng.choice(datasets if datasets and what not in _GROUPS else names)
        # what HDF5 does not let one write may have left half of it
        with suppress(OSError, ValueError, TypeError, RuntimeError, KeyError, OverflowError):
            _OBJECTS[what](rng, file, name)
    return held.getvalue()


def _replace(file: h5py.File, name: str, **made: Any) -> h5py.Dataset:
    old = file[name]
    attrs = dict(old.attrs.items()) if isinstance(old, h5py.Dataset) else {}
    shape = getattr(old, "shape", ()) or ()
    values = old[()] if isinstance(old, h5py.Dataset) and old.dtype.kind in "fiu" else None
    del old, file[name]
    settings = {"shape": shape, "dtype": "f8", **made}
    if values is not None and "shape" not in made and "data" not in made and "dtype" in made:
        settings["data"] = values
    new = file.create_dataset(name, **settings)
    for key, value in attrs.items():
        if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS"):
            new.attrs[key] = value
    return new


def _gone(rng: random.Random, file: h5py.File, name: str) -> None:
    del file[name]


def _link(rng: random.Random, file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = rng.choice(
        (
            h5py.ExternalLink("/etc/passwd", "/"),
            h5py.ExternalLink("../../other.h5", "/data"),
            h5py.SoftLink("/" + name),
            h5py.SoftLink("/nowhere"),
            h5py.SoftLink("/"),
        )
    )


def _cycle(rng: random.Random, file: h5py.File, name: str) -> None:
    parent = file[name].parent
    if isinstance(file[name], h5py.Group):
        file[name]["again"] = parent
    else:
        del file[name]
        file[name] = parent


def _shape(rng: random.Random, file: h5py.File, name: str) -> None:
    shape = list(file[name].shape) or [1]
    axis = rng.randrange(len(shape))
    shape[axis] = rng.choice((0, 1, shape[axis] + 1, 7, 2**20, 2**31, 2**40, 2**62))
    chunks = tuple(min(n, 16) or 1 for n in shape)
    if rng.random() < 0.3:
        chunks = tuple(min(n, 2 ** rng.choice((8, 12, 20, 28))) or 1 for n in shape)
    more = {"maxshape": (None,) * len(shape)} if 0 in shape else {}
    _replace(file, name, shape=tuple(shape), chunks=chunks, dtype=file[name].dtype, **more)


def _rank(rng: random.Random, file: h5py.File, name: str) -> None:
    shape = file[name].shape or ()
    new = rng.choice((shape[1:], (*shape, 1), (*shape, 3), (), shape[::-1], (1,) * 32))
    _replace(file, name, shape=new)


def _dtype(rng: random.Random, file: h5py.File, name: str) -> None:
    choices: tuple[Any, ...] = (
        "i1", "u8", ">f4", "f2", "c16", "S3", "S1000000", "V7", "bool",
        [("a", "f8"), ("b", "i4")],
        np.dtype(("f4", (3, 2))),
        h5py.string_dtype(),
        h5py.vlen_dtype(np.dtype("f8")),
        h5py.enum_dtype({"a": 1}),
        h5py.ref_dtype,
        h5py.regionref_dtype,
        h5py.opaque_dtype(np.dtype("M8[s]")),
        np.longdouble,
    )  # fmt: skip
    dtype = rng.choice(choices)
    shape = file[name].shape or ()
    del file[name]
    file.create_dataset(name, shape=shape, dtype=dtype)


def _empty(rng: random.Random, file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.Empty("f8")


def _values(rng: random.Random, file: h5py.File, name: str) -> None:
    """Other numbers: not finite, not sorted, too large, all the same."""
    old = file[name]
    if old.dtype.kind not in "fiu" or not old.size or old.size > 2**20:
        raise ValueError("no numbers")
    values = np.array(old[()])
    with np.errstate(all="ignore"):
        odd = np.array([np.nan, np.inf, -np.inf, 0, -1, 1e300, 2**62]).astype(values.dtype)
    flat = values.reshape(-1)
    if rng.random() < 0.5:
        flat[rng.randrange(flat.size)] = odd[rng.randrange(len(odd))]
    elif rng.random() < 0.5:
        flat[:] = odd[rng.randrange(len(odd))]
    else:
        flat[:] = flat[::-1]
    old[...] = values


def _elsewhere(rng: random.Random, file: h5py.File, name: str) -> None:
    """Values in another file, or assembled from others."""
    shape = file[name].shape or (1,)
    del file[name]
    if rng.random() < 0.5:
        file.create_dataset(name, shape, "f8", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
        return
    layout = h5py.VirtualLayout(shape, "f8")
    source = rng.choice(("/etc/passwd", "../x.h5", ".", "none.h5"))
    layout[...] = h5py.VirtualSource(source, rng.choice((name, "/")), shape)
    file.create_virtual_dataset(name, layout)


def _bomb(rng: random.Random, file: h5py.File, name: str) -> None:
    """A chunk that inflates to far more than a chunk."""
    shape = tuple(n or 1 for n in (file[name].shape or (1,)))
    dtype = file[name].dtype if file[name].dtype.kind in "fiu" else np.dtype("f8")
    new = _replace(
        file, name, shape=shape, chunks=shape, dtype=dtype, compression="gzip", shuffle=True
    )
    new.id.write_direct_chunk((0,) * len(shape), _zeros(rng.choice((1, 16, 64))))


@cache
def _zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def _noise(rng: random.Random, file: h5py.File, name: str) -> None:
    """A chunk of noise behind a filter."""
    shape = tuple(n or 1 for n in (file[name].shape or (1,)))
    how = rng.choice(({"compression": "gzip"}, {"compression": "lzf"}, {"fletcher32": True},
                      {"scaleoffset": 2}, {"compression": "szip"}))  # fmt: skip
    new = _replace(file, name, shape=shape, chunks=shape, dtype="i4", **how)
    new.id.write_direct_chunk((0,) * len(shape), rng.randbytes(rng.choice((0, 1, 5, 300))))


def _swap(rng: random.Random, file: h5py.File, name: str) -> None:
    """A group where a dataset was, or the other way round."""
    group = isinstance(file[name], h5py.Group)
    del file[name]
    if group:
        file[name] = np.zeros(rng.choice((1, 3)))
    else:
        file.create_group(f"{name}/inner")


def _attribute(rng: random.Random, file: h5py.File, name: str) -> None:
    """An attribute of another type, size or value; or none."""
    holders = [file[name], file, file[name].parent]
    held = rng.choice([h for h in holders if len(h.attrs)] or holders)
    keys = list(held.attrs) or ["n_spatial_dims"]
    key = rng.choice(keys)
    choices: tuple[Any, ...] = (
        0, -1, 2**62, 1.5, float("nan"), "text", b"\xff\xfe", "x" * 40000, [], [1, 2, 3],
        ["a", "b"], np.zeros((2, 2, 2)), np.array([b"a\0b"]), h5py.Empty("f8"), True,
        file[name].ref, np.zeros(3, [("a", "f8")]), np.arange(5000.0), "{" * 5000, "[]", "NaN",
    )  # fmt: skip
    if key in held.attrs:
        del held.attrs[key]
    if rng.random() < 0.85:
        held.attrs[key] = rng.choice(choices)


def _move(rng: random.Random, file: h5py.File, name: str) -> None:
    """Another name."""
    last = name.rpartition("/")[2]
    new = rng.choice((f"{last}_", "\u00fc", "..", " ", last.upper(), "x" * 3000, "a\nb"))
    file.move(name, f"{name.rpartition('/')[0]}/{new}")


def _many(rng: random.Random, file: h5py.File, name: str) -> None:
    """More neighbours."""
    parent = file[name].parent
    for number_ in range(rng.choice((1, 3, 40))):
        file.copy(file[name], parent, name=f"more{number_}")


_OBJECTS: dict[str, Callable[[random.Random, h5py.File, str], None]] = {
    "gone": _gone,
    "link": _link,
    "cycle": _cycle,
    "shape": _shape,
    "rank": _rank,
    "dtype": _dtype,
    "empty": _empty,
    "values": _values,
    "elsewhere": _elsewhere,
    "bomb": _bomb,
    "noise": _noise,
    "swap": _swap,
    "attribute": _attribute,
    "attribute more": _attribute,
    "move": _move,
    "many": _many,
}
_GROUPS = frozenset({"gone", "link", "cycle", "swap", "attribute", "attribute more", "move"})
