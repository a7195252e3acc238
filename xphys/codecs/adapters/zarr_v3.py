"""The frame as a Zarr v3 array-to-bytes codec with partial reading."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import ByteGetter, RangeByteRequest
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from xphys.codecs.wrapped import extra_of
from xphys.coding.frame import decode_blocks, decode_chunk, encode_chunk
from xphys.coding.header import FRONT, SUPPORTED, Header, parse
from xphys.coding.predict import bases_of, check_bases, decode_predicted
from xphys.coding.request import Request
from xphys.errors import CorruptDataError, FormatError, XphysWarning

__all__ = ["FrameCodec", "Notice"]

NAME = "xphys.frame"
_MOST_SIBLINGS = 64


class Notice:
    """A warning that is given once, however many arrays share it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def give(self) -> None:
        """Warn, the first time."""
        if self.text:
            warnings.warn(self.text, XphysWarning, stacklevel=3)
        self.text = ""


@dataclass(frozen=True)
class FrameCodec(ArrayBytesCodecPartialDecodeMixin, ArrayBytesCodec):
    """Stored chunks in the container of xphys.

    Parameters
    ----------
    request : Request
        What was asked for; part of the metadata of the array.
    lossy : bool, default False
        Whether values that Zarr hands over are coded within ``request.bounds``. A codec read
        from a store always writes losslessly: a copy or a change of a region loses nothing for
        a second time. Not part of the metadata.
    notice : Notice, optional
        A warning to give when an array is created with this codec. Not part of the metadata.
    """

    is_fixed_size = False

    request: Request = field(default_factory=Request)
    lossy: bool = field(default=False, compare=False)
    notice: Notice | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FrameCodec:
        """Read the metadata of an array."""
        return cls(Request.from_dict(data.get("configuration") or {}))

    def to_dict(self) -> dict[str, Any]:
        """The metadata: name and configuration."""
        return {"name": NAME, "configuration": self.request.to_dict() | extra_of(self.request)}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse dtypes that the container cannot hold."""
        native = dtype.to_native_dtype()
        if native.newbyteorder("<").str not in SUPPORTED:
            raise FormatError(f"{NAME} stores floating point and integers, got dtype {native}")

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> FrameCodec:
        """Bind to an array; gives the notice, if there is one."""
        if self.notice is None:
            return self
        self.notice.give()
        return replace(self, notice=None)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before coding; Zarr's interface asks for this error."""
        raise NotImplementedError("the size of a coded chunk depends on its values")

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        request = self.request if self.lossy else Request()
        values = _crop(chunk_array.as_numpy_array(), chunk_spec.fill_value)
        data = await asyncio.to_thread(encode_chunk, values, request)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(_decode, chunk_bytes.to_bytes(), chunk_spec, {})

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        try:
            return await self._decode_part(byte_getter, selection, chunk_spec)
        except CorruptDataError as error:
            place = getattr(byte_getter, "path", "")
            if not place or place in str(error):
                raise
            raise CorruptDataError(f"chunk {place}: {error}") from error

    async def _decode_part(
        self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        prototype, shape = chunk_spec.prototype, chunk_spec.shape
        if _is_everything(selection, shape):  # one request, and every byte is looked at
            whole = await byte_getter.get(prototype)
            if whole is None:
                return None
            data = whole.to_bytes()
            payloads = await _siblings(byte_getter, data, chunk_spec)
            return await asyncio.to_thread(_decode, data, chunk_spec, payloads)
        front = await byte_getter.get(prototype, RangeByteRequest(0, FRONT))
        if front is None:
            return None
        header = parse(front.to_bytes())
        _check_fits(header, chunk_spec)
        if not header.alone:  # what it needs is decoded as a whole, too
            everything = tuple(slice(0, n) for n in shape)
            values = await self._decode_part(byte_getter, everything, chunk_spec)
            if values is None:
                raise CorruptDataError("a chunk vanished while it was read")
            chosen = values.as_numpy_array()[selection]
            return prototype.nd_buffer.from_numpy_array(np.asarray(chosen, order="C"))
        wanted = _blocks_touched(selection, shape, header)
        runs = _runs(wanted)
        requests = [_byte_range(header, run) for run in runs]
        answers = await asyncio.gather(*(byte_getter.get(prototype, r) for r in requests))
        parts = []
        for run, answer in zip(runs, answers, strict=True):
            if answer is None:
                raise CorruptDataError("a chunk vanished while it was read")
            base, data = header.blocks[run[0]].offset, answer.to_bytes()
            for index in run:
                block = header.blocks[index]
                start = block.offset - base
                parts.append((index, data[start : start + block.length]))
        return await asyncio.to_thread(_select, header, parts, selection, chunk_spec)


def _crop(values: np.ndarray, fill: Any) -> np.ndarray:
    """Cut trailing planes that hold nothing but the fill value.

    Zarr pads the last chunk of an axis with it: such points are no data, and counting them
    would loosen a bound relative to the spread.
    """
    if values.dtype.kind != "f" and values.dtype.kind not in "iu":
        return values
    padded = np.isnan(values) if np.isnan(fill) else values == fill
    if not padded.any() or padded.all():
        return values
    for axis in range(values.ndim):
        others = tuple(i for i in range(values.ndim) if i != axis)
        full = padded.all(axis=others)
        keep = values.shape[axis] - int(np.argmin(full[::-1]))
        cut = (slice(None),) * axis + (slice(0, keep),)
        values, padded = values[cut], padded[cut]
    return values


def _check_fits(header: Header, spec: ArraySpec) -> None:
    shape = spec.shape or (1,)
    native = spec.dtype.to_native_dtype()
    fits = len(shape) == len(header.shape) and all(
        a <= b for a, b in zip(header.shape, shape, strict=True)
    )
    if not fits or header.dtype.newbyteorder("=") != native.newbyteorder("="):
        raise CorruptDataError(
            f"expected a chunk of {native} within {shape}, found {header.dtype} {header.shape}"
        )


def _padded(header: Header, spec: ArraySpec, make: Any) -> np.ndarray:
    shape = spec.shape or (1,)
    native = spec.dtype.to_native_dtype().newbyteorder("=")
    if header.shape == shape:
        return np.asarray(make(shape, native))
    return np.full(shape, spec.fill_value, native)


async def _siblings(byte_getter: ByteGetter, data: bytes, spec: ArraySpec) -> dict[str, bytes]:
    """Chunks at the same place of all variables that a chunk needs to be decoded."""
    found: dict[str, bytes] = {}
    todo = [data]
    while todo:
        waiting = todo.pop()
        here = await asyncio.to_thread(bases_of, waiting)
        for name in here:
            if name not in found:
                if len(found) == _MOST_SIBLINGS:
                    raise CorruptDataError(f"a chunk needs more than {_MOST_SIBLINGS} others")
                found[name] = await _sibling(byte_getter, name, spec)
                todo.append(found[name])
        if here:  # before anything is read that a changed one names
            check_bases(waiting, found)
    return found


async def _sibling(byte_getter: ByteGetter, name: str, spec: ArraySpec) -> bytes:
    store, path = getattr(byte_getter, "store", None), getattr(byte_getter, "path", "")
    # .../variable/c/0/0/0: one part for each axis, and "c"
    parts = path.split("/")
    cut = len(parts) - max(len(spec.shape), 1) - 1
    if store is None or cut < 1 or parts[cut] != "c" or "/" in name or name in ("", ".", ".."):
        raise CorruptDataError(
            f"the chunk is coded with {name!r}, which cannot be found from {path!r}: expected "
            "a Zarr v3 array with keys such as variable/c/0/0, without shards"
        )
    key = "/".join((*parts[: cut - 1], name, *parts[cut:]))
    data = await store.get(key, spec.prototype)
    if data is None:
        raise CorruptDataError(
            f"the chunk is coded with {name!r}, of which {key} is missing: these variables "
            "have to be stored together"
        )
    return bytes(data.to_bytes())


def _decode(data: bytes, spec: ArraySpec, payloads: Mapping[str, bytes]) -> NDBuffer:
    header = parse(data)
    _check_fits(header, spec)
    values = decode_chunk(data) if header.alone else decode_predicted(data, payloads)
    if header.shape != (spec.shape or (1,)):
        whole = _padded(header, spec, np.empty)
        whole[tuple(slice(0, n) for n in header.shape)] = values
        values = whole
    return spec.prototype.nd_buffer.from_numpy_array(values.reshape(spec.shape))


def _select(
    header: Header, parts: Sequence[tuple[int, bytes]], selection: Any, spec: ArraySpec
) -> NDBuffer:
    # zeros: pages of blocks that nobody asked for are never touched
    out = decode_blocks(header, parts, _padded(header, spec, np.zeros))
    chosen = out.reshape(spec.shape)[selection]
    return spec.prototype.nd_buffer.from_numpy_array(np.asarray(chosen, order="C"))


def _is_everything(selection: Any, shape: tuple[int, ...]) -> bool:
    index = selection if isinstance(selection, tuple) else (selection,)
    return len(index) == len(shape) and all(
        isinstance(part, slice) and part.indices(n) == (0, n, 1)
        for part, n in zip(index, shape, strict=True)
    )


def _blocks_touched(selection: Any, shape: tuple[int, ...], header: Header) -> list[int]:
    """Blocks that hold any of the selected points."""
    if not shape:
        return list(range(len(header.blocks)))
    index = selection if isinstance(selection, tuple) else (selection,)
    axis = header.axis
    if all(isinstance(s, slice | int | np.integer) for s in index):
        part = index[axis] if axis < len(index) else slice(None)
        steps = np.atleast_1d(np.arange(shape[axis])[part])
    else:
        column = np.arange(shape[axis]).reshape((-1,) + (1,) * (len(shape) - axis - 1))
        steps = np.broadcast_to(column, shape)[selection]
    numbers = np.unique(steps) // header.extent
    return [int(n) for n in np.unique(numbers) if n < len(header.blocks)]


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Neighbouring numbers put together: one request for each run."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _byte_range(header: Header, run: Sequence[int]) -> RangeByteRequest:
    first, last = header.blocks[run[0]], header.blocks[run[-1]]
    return RangeByteRequest(first.offset, last.offset + last.length)
