"""What stands behind a chunk whose values are corrected together with those of others.

::

    the chunk as it would be stored alone, with its recipe if it has one
    v length, deflated JSON: ``m`` names of the components, ``d`` name of the density or null,
        ``i`` place of this one | f4 root mean square and largest error of what comes out
    for the first component: the correction (see `preserve`)
    8s digest of all that and of the chunks of all components and of the density | u32 length of
        what stands between the chunk and this digest

Predictions of other variables take the values before this correction.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from xphys._streams import Reader, varint
from xphys.coding.header import parse
from xphys.coding.predict.recipe import mark, within
from xphys.errors import CorruptDataError

__all__ = ["Joint", "check_joint", "errors_of", "joined_to", "joint_of", "write_joint"]

_DIGEST = 8
_LENGTH, _ERRORS = struct.Struct("<I"), struct.Struct("<ff")
_LARGEST = 2**16
_COMMON = (
    b'{"m":["magnetic_field_z","magnetic_field_y","magnetic_field_x","velocity_z","velocity_y",'
    b'"velocity_x"],"d":"density","i":1}'
)


@dataclass(frozen=True)
class Joint:
    """Components that are corrected together.

    Attributes
    ----------
    members : tuple of str
        Their names; the correction stands behind the first.
    density : str or None
        Variable whose decoded values the correction needs.
    place : int
        Which of the members this one is.
    rms, peak : float
        Errors of what comes out.
    data : bytes
        The correction; empty behind all but the first.
    """

    members: tuple[str, ...]
    density: str | None
    place: int
    rms: float
    peak: float
    data: bytes = b""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all variables whose chunks are needed."""
        return self.members if self.density is None else (*self.members, self.density)

    def pack(self) -> bytes:
        """As bytes, without digest."""
        found = {"m": list(self.members), "d": self.density, "i": self.place}
        text = json.dumps(found, separators=(",", ":")).encode()
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _COMMON)
        packed = coder.compress(text) + coder.flush()
        errors = _ERRORS.pack(*map(_round_up, (self.rms, self.peak)))
        return varint(len(packed)) + packed + errors + self.data


def _round_up(value: float) -> np.float32:
    rounded = np.float32(value)
    return rounded if float(rounded) >= value else np.nextafter(rounded, np.float32(np.inf))


def joint_of(data: bytes) -> Joint | None:
    """What a stored chunk is joined to; None if it stands for itself."""
    if not parse(data).joined:
        return None
    reader = Reader(data[len(within(data)) : -_LENGTH.size - _DIGEST])
    decoder = zlib.decompressobj(-15, _COMMON)
    try:
        text = decoder.decompress(reader.take(reader.varint()), _LARGEST)
        if not decoder.eof or decoder.unused_data:
            raise CorruptDataError("expected the names of components, and no more")
        found = json.loads(text)
        members, density, place = tuple(found["m"]), found["d"], found["i"]
    except (zlib.error, ValueError, TypeError, LookupError, RecursionError) as error:
        raise CorruptDataError(f"what joins a chunk to others cannot be read: {error}") from error
    right = (
        0 < len(members) <= 3
        and all(isinstance(name, str) for name in members)
        and len(set(members)) == len(members)
        and (density is None or (isinstance(density, str) and density not in members))
        and isinstance(place, int)
        and 0 <= place < len(members)
    )
    if not right:
        raise CorruptDataError("what joins a chunk to others has a form that is never written")
    rms, peak = _ERRORS.unpack(reader.take(_ERRORS.size))
    return Joint(members, density, place, rms, peak, reader.rest())


def _mark(body: bytes, joint: Joint, payloads: Mapping[str, bytes]) -> bytes:
    return mark(body, (within(payloads[name]) for name in joint.names))


def write_joint(joint: Joint, payloads: Mapping[str, bytes]) -> bytes:
    """The chunk of one component as it is stored.

    Parameters
    ----------
    joint : Joint
        What it is joined to.
    payloads : mapping of str to bytes
        Chunks of the components as they are without, and that of the density.

    Returns
    -------
    bytes
        Its chunk with what joins it to the others behind it.
    """
    body = joint.pack()
    chunk = payloads[joint.members[joint.place]]
    header = parse(chunk)
    front = replace(header, joined=True).pack() + chunk[header.size :]
    return front + body + _mark(body, joint, payloads) + _LENGTH.pack(len(body))


def check_joint(data: bytes, joint: Joint, payloads: Mapping[str, bytes]) -> None:
    """Refuse chunks that are not the ones that were corrected together."""
    body = data[len(within(data)) : -_LENGTH.size - _DIGEST]
    if _mark(body, joint, payloads) != data[-_LENGTH.size - _DIGEST : -_LENGTH.size]:
        raise CorruptDataError(
            f"the chunk is corrected together with {', '.join(joint.names)}: one of these, or the "
            "correction, was changed after it was written"
        )


def joined_to(data: bytes) -> tuple[str, ...]:
    """Names of all variables whose chunks a joined chunk needs, itself included."""
    joint = joint_of(data)
    return () if joint is None else joint.names


def errors_of(data: bytes) -> tuple[float, float]:
    """Root mean square and largest error of what comes out of a stored chunk."""
    joint, header = joint_of(data), parse(data)
    rms, peak = (header.rms, header.peak) if joint is None else (joint.rms, joint.peak)
    unit = 2.0**header.exponent if math.isfinite(rms) else 1.0
    return rms * unit, peak * unit
