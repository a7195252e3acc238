"""The recipe of a prediction: what stands behind a chunk that was coded as a distance.

::

    deflated with a dictionary: JSON; where there are banded weights a zero byte, the number of
        bands, the weights; for a carried scalar gaps between times and its first field, a chunk
    8s digest of all that and of the chunks that it is made from

The JSON: ``o`` operator with version, ``b`` names of the bases, ``a`` axes, ``l`` lengths, ``t``
terms ``[places of bases, linear operator, weight]``; a weight in a list of its own is the unit of
the banded weights, 16-bit integers that follow in the order of the terms.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xphys._streams import Reader, join_planes, split_planes
from xphys.coding.header import digest, parse
from xphys.errors import CorruptDataError

__all__ = [
    "Carried",
    "Recipe",
    "RecipeTerm",
    "check_recipe",
    "join",
    "mark",
    "recipe_bases",
    "split",
    "within",
]

_DIGEST = 8
_LENGTH = struct.Struct("<I")
_LARGEST = 2**24
_MOST_TERMS = 64
_MOST_BASES = 32
_MOST_STEPS = 64
# What most recipes say; part of the format.
_COMMON = (
    b'magnetic_fieldcurrent_densitytemperaturedensitypressurestreamfunction"jz"'
    b'"buoyancy""vorticity""velocity_z""velocity_y""velocity_x"'
    b'"magnetic_field_z","magnetic_field_y","magnetic_field_x"],"l":[1.0,1.0],"o":"modes/1"'
    b'[[0],"c012",[[0],"c102",[[0,1],"01",[[0,0],"00",[[1,1],"",[[0],"j1cf",[[0],"j0cf",2.0]]}'
    b'{"a":[1,2],"b":["velocity_x","velocity_z"],"l":[4.0],"o":"walls/1","t":[[[0,1],"q",1.0],'
    b'[[2],"b",1.0],[[1],"v",{"a":[1,2],"b":["vorticity"],"l":[4.0],"o":"walls/1","t":'
    b'[[[0],"w",1.0]]}[[[0],"u",1.0]]}'
)


@dataclass(frozen=True)
class RecipeTerm:
    """Places of its bases, its linear operator, its weight or the weights of all bands."""

    of: tuple[int, ...]
    by: str
    weight: float
    bands: np.ndarray | None = field(default=None, compare=False)  # int16, in units of weight


@dataclass(frozen=True)
class Carried:
    """A scalar that a flow carries: how, and its first field as a chunk of its own."""

    diffusivity: float
    low: float
    high: float
    steps: int
    scale: float  # of velocities
    unit: float  # of the gaps between fields
    gaps: tuple[int, ...]
    first: bytes

    @property
    def times(self) -> np.ndarray:
        """Times of the fields, from 0."""
        return np.concatenate([[0.0], np.cumsum(self.gaps) * self.unit])


@dataclass(frozen=True)
class Recipe:
    """A named operator with its parameters.

    Attributes
    ----------
    operator : str
        Name and version.
    bases : tuple of str
        Variables whose decoded values it takes.
    axes : tuple of int
        Axes of the array that the operators act along.
    lengths : tuple of float
        Of the box, as the operator wants them.
    terms : tuple of RecipeTerm
        Summands.
    carried : Carried, optional
        What ``carried`` among the terms needs.
    """

    operator: str
    bases: tuple[str, ...]
    axes: tuple[int, ...]
    lengths: tuple[float, ...]
    terms: tuple[RecipeTerm, ...]
    carried: Carried | None = None

    def pack(self) -> bytes:
        """As bytes, without the digest."""
        terms = [
            [list(t.of), t.by, t.weight if t.bands is None else [t.weight]] for t in self.terms
        ]
        found: dict[str, Any] = {
            "a": list(self.axes),
            "b": list(self.bases),
            "l": list(self.lengths),
            "o": self.operator,
            "t": terms,
        }
        c, behind = self.carried, b""
        if c is not None:
            found["c"] = [c.diffusivity, c.low, c.high, c.steps, c.scale, c.unit, len(c.gaps)]
            behind = split_planes(np.array(c.gaps, "<u2")) + c.first
        text = json.dumps(found, separators=(",", ":")).encode()
        bands = [t.bands.astype("<i2") for t in self.terms if t.bands is not None]
        if bands:
            text += b"\0" + bytes([bands[0].size]) + split_planes(np.concatenate(bands)) + behind
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _COMMON)
        return coder.compress(text) + coder.flush()


def _unpack(data: bytes) -> Recipe:
    decoder = zlib.decompressobj(-15, _COMMON)
    try:
        text = decoder.decompress(data, _LARGEST)
        if decoder.unconsumed_tail or not decoder.eof or decoder.unused_data:
            raise CorruptDataError(f"expected a recipe of at most {_LARGEST} bytes, and no more")
        front, _, rest = text.partition(b"\0")
        found = _checked(json.loads(front))
        banded = sum(isinstance(w, list) for _, _, w in found["t"])
        reader = Reader(rest)
        weights = reader.take(reader.take(1)[0] * 2 * banded) if banded else b""
        return Recipe(
            found["o"],
            tuple(found["b"]),
            tuple(found["a"]),
            tuple(map(float, found["l"])),
            _terms(found["t"], weights),
            _carried(found.get("c"), reader),
        )
    except (zlib.error, ValueError, TypeError, LookupError, RecursionError) as error:
        raise CorruptDataError(f"the recipe of a prediction cannot be read: {error}") from error


def _terms(found: list[Any], weights: bytes) -> tuple[RecipeTerm, ...]:
    rows = iter(_bands(weights, sum(isinstance(w, list) for _, _, w in found)))
    return tuple(
        RecipeTerm(tuple(of), by, float(w[0]), next(rows))
        if isinstance(w, list)
        else RecipeTerm(tuple(of), by, float(w))
        for of, by, w in found
    )


def _carried(found: Any, reader: Reader) -> Carried | None:
    if found is None:
        reader.end()
        return None
    *numbers, count = found
    diffusivity, low, high, steps, scale, unit = map(float, numbers)
    gaps = join_planes(reader.take(2 * int(count)), np.dtype("<u2"))
    if not (1 <= steps <= _MOST_STEPS and 0 < diffusivity < 1e6 and 0 < unit < 1e300):
        raise CorruptDataError("the recipe of a carried scalar has numbers that are never written")
    if not gaps.all():
        raise CorruptDataError("the recipe of a carried scalar has fields at one time")
    kept = tuple(int(gap) for gap in gaps)
    return Carried(diffusivity, low, high, int(steps), scale, unit, kept, reader.rest())


def _checked(found: Any) -> dict[str, Any]:
    """The JSON if every part of it has the form that is ever written."""
    places = range(len(found["b"]))
    right = (
        isinstance(found["o"], str)
        and len(found["b"]) <= _MOST_BASES
        and 0 < len(found["t"]) <= _MOST_TERMS
        and all(isinstance(name, str) for name in found["b"])
        and all(isinstance(a, int) and 0 <= a < 16 for a in found["a"])
        and len(set(found["a"])) == len(found["a"])
        and all(isinstance(n, int | float) and 0 < n < 1e300 for n in found["l"])
        and all(isinstance(by, str) and len(by) < 16 for _, by, _ in found["t"])
        and all(1 <= len(of) <= 2 and all(i in places for i in of) for of, _, _ in found["t"])
    )
    if not right:
        raise CorruptDataError("the recipe of a prediction has another form than is ever written")
    return dict(found)


def _bands(data: bytes, count: int) -> np.ndarray:
    if len(data) % (2 * max(count, 1)) or bool(data) != bool(count):
        raise CorruptDataError(f"expected weights of {count} terms, found {len(data)} bytes")
    return join_planes(data, np.dtype("<i2")).reshape(count, -1) if count else np.zeros((0, 0))


def within(data: bytes) -> bytes:
    """A stored chunk as it was before it was joined to others (see `joint`)."""
    header = parse(data)
    if not header.joined:
        return data
    length = _LENGTH.unpack(data[-_LENGTH.size :])[0] if len(data) > _LENGTH.size else 0
    end = len(data) - _LENGTH.size - _DIGEST - length
    if end < header.end:
        raise CorruptDataError("a chunk ends before what joins it to others")
    return replace(header, joined=False).pack() + data[header.size : end]


def mark(body: bytes, parts: Iterable[bytes]) -> bytes:
    """Digest of what stands behind a chunk and of the chunks that it needs."""
    return digest(body + b"".join(map(digest, parts)))


def join(chunk: bytes, recipe: Recipe, payloads: Mapping[str, bytes]) -> bytes:
    """A chunk with the recipe behind it.

    Parameters
    ----------
    chunk : bytes
        As `frame.encode_chunk` makes it from a prediction.
    recipe : Recipe
        Of that prediction.
    payloads : mapping of str to bytes
        Chunks of the bases, with their own recipes.

    Returns
    -------
    bytes
        What is stored.
    """
    body = recipe.pack()
    return chunk + body + mark(body, (payloads[name] for name in recipe.bases))


def split(data: bytes) -> tuple[bytes, Recipe | None]:
    """A stored chunk without what stands behind it, and the recipe if it has one."""
    header, data = parse(data), within(data)
    if not header.predicted:
        return data, None
    end = header.end
    if len(data) < end + _DIGEST:
        raise CorruptDataError("a chunk ends before the recipe of its prediction")
    return data[:end], _unpack(data[end:-_DIGEST])


def recipe_bases(data: bytes) -> tuple[str, ...]:
    """Names of the variables that a stored chunk is predicted from.

    Parameters
    ----------
    data : bytes
        The whole chunk.

    Returns
    -------
    tuple of str
        Empty if it stands for itself.

    Raises
    ------
    CorruptDataError
        If the recipe cannot be read.
    """
    recipe = split(data)[1]
    return () if recipe is None else recipe.bases


def check_recipe(data: bytes, payloads: Mapping[str, bytes]) -> None:
    """Refuse chunks of bases that are not the ones that a chunk was predicted from.

    Parameters
    ----------
    data : bytes
        The whole chunk.
    payloads : mapping of str to bytes
        Chunks of at least the variables that `recipe_bases` names.

    Raises
    ------
    CorruptDataError
        If any of them, or the recipe, was changed.
    """
    chunk, recipe = split(data)
    if recipe is not None:
        rest = within(data)[len(chunk) :]
        parts = (within(payloads[name]) for name in recipe.bases)
        if mark(rest[:-_DIGEST], parts) != rest[-_DIGEST:]:
            raise CorruptDataError(
                f"the chunk is predicted from {', '.join(recipe.bases)}: one of these, or how it "
                "is predicted, was changed after it was written"
            )
