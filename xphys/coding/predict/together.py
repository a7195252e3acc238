"""Chunks of several variables at one place, coded one after the other, and decoded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
from blake3 import blake3

from xphys.coding import preserve
from xphys.coding.frame import decode_chunk, encode_chunk
from xphys.coding.header import parse
from xphys.coding.predict.fit import fit_recipe
from xphys.coding.predict.grid import Grid
from xphys.coding.predict.joint import check_joint, joined_to, joint_of
from xphys.coding.predict.operators import predict
from xphys.coding.predict.plan import Plan, Step
from xphys.coding.predict.recipe import Recipe, check_recipe, join, recipe_bases, split, within
from xphys.coding.predict.saving import Target, saved_bits
from xphys.coding.request import Request
from xphys.errors import CorruptDataError

__all__ = ["bases_of", "check_bases", "decode_predicted", "decode_raw", "encode_together"]

_KEPT_BYTES = 128 * 2**20
_MOST_LEVELS = 32
_TAIL = 12  # bytes of a joined chunk that cover all that it is corrected together with


class _Kept:
    """Decoded chunks by the digest of their bytes, those used last, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._held: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> np.ndarray | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: bytes, values: np.ndarray) -> None:
        with self._lock:
            if key in self._held or values.nbytes > self._limit:
                return
            self._held[key] = values
            self._size += values.nbytes
            while self._size > self._limit:
                self._size -= self._held.popitem(last=False)[1].nbytes


_KEPT = _Kept(_KEPT_BYTES)


def decode_predicted(data: bytes, payloads: Mapping[str, bytes]) -> np.ndarray:
    """Decode a chunk that may be predicted from others, or corrected together with others.

    Parameters
    ----------
    data : bytes
        The whole chunk, as stored.
    payloads : mapping of str to bytes
        Chunks at the same place of all variables that it, or one of those, needs.

    Returns
    -------
    ndarray
        As `frame.decode_chunk`; not to be written to unless it stands for itself.

    Raises
    ------
    CorruptDataError
        If another chunk is missing or not the one that was there when the chunk was coded.
    """
    joint = joint_of(data)
    if joint is None:
        return decode_raw(data, payloads)
    _check_there(joint.names, payloads, "corrected together with")
    check_joint(data, joint, payloads)
    key = blake3(within(data) + data[-_TAIL:]).digest(16)
    found = _KEPT.get(key)
    if found is None:
        holder = joint_of(payloads[joint.members[0]])
        if holder is None or holder.members != joint.members or holder.density != joint.density:
            raise CorruptDataError(
                f"expected the correction behind {joint.members[0]!r}, found none"
            )
        check_joint(payloads[joint.members[0]], holder, payloads)
        raw = [_decode_base(payloads[name], payloads, 1) for name in joint.members]
        density = None
        if joint.density is not None:
            density = _decode_base(payloads[joint.density], payloads, 1)
        made = preserve.restore_together(holder.data, raw, density)
        for name, values in zip(joint.members, made, strict=True):
            values.flags.writeable = False
            other = payloads[name]
            _KEPT.put(blake3(within(other) + other[-_TAIL:]).digest(16), values)
        found = made[joint.place]
    return found


def _check_there(names: Iterable[str], payloads: Mapping[str, bytes], how: str) -> None:
    missing = [name for name in names if name not in payloads]
    if missing:
        raise CorruptDataError(
            f"the chunk is {how} {', '.join(names)}, of which the store lacks "
            f"{', '.join(missing)}: write these variables together"
        )


def decode_raw(data: bytes, payloads: Mapping[str, bytes], level: int = 0) -> np.ndarray:
    """Decode a chunk that may be predicted from others, before what is corrected together.

    Parameters
    ----------
    data, payloads
        As `decode_predicted`.
    level : int, default 0
        How many chunks wait for this one.

    Returns
    -------
    ndarray
        Values from which others are predicted.
    """
    chunk, recipe = split(data)
    if recipe is None:
        return decode_chunk(chunk)
    if level > _MOST_LEVELS:
        raise CorruptDataError(f"a chunk is predicted over more than {_MOST_LEVELS} others")
    _check_there(recipe.bases, payloads, "predicted from")
    check_recipe(data, payloads)
    values = {name: _decode_base(payloads[name], payloads, level + 1) for name in recipe.bases}
    shape = parse(chunk).shape
    return decode_chunk(chunk, predict(recipe, values, shape))


def bases_of(data: bytes) -> tuple[str, ...]:
    """Names of the variables whose chunks are needed to decode a stored chunk.

    Parameters
    ----------
    data : bytes
        The whole chunk.

    Returns
    -------
    tuple of str
        Those that it is predicted from, and those that it is corrected together with (itself is
        one of them); empty if it stands for itself.

    Raises
    ------
    CorruptDataError
        If what names them cannot be read.
    """
    return tuple(dict.fromkeys((*recipe_bases(data), *joined_to(data))))


def check_bases(data: bytes, payloads: Mapping[str, bytes]) -> None:
    """Refuse chunks of other variables that are not the ones that a chunk was coded with.

    Parameters
    ----------
    data : bytes
        The whole chunk.
    payloads : mapping of str to bytes
        Chunks of at least the variables that `bases_of` names.

    Raises
    ------
    CorruptDataError
        If any of them, or what names them, was changed.
    """
    check_recipe(data, payloads)
    joint = joint_of(data)
    if joint is not None:
        check_joint(data, joint, payloads)


def _decode_base(data: bytes, payloads: Mapping[str, bytes], level: int) -> np.ndarray:
    # the digest at the end of a predicted chunk covers its bases: its bytes tell its values
    data = within(data)
    key = blake3(data).digest(16)
    found = _KEPT.get(key)
    if found is None:
        found = decode_raw(data, payloads, level)
        found.flags.writeable = False
        _KEPT.put(key, found)
    return found


def encode_together(
    plan: Plan,
    grid: Grid,
    chunks: Mapping[str, np.ndarray],
    requests: Mapping[str, Request],
    states: Mapping[str, np.ndarray | None],
    times: np.ndarray | None = None,
) -> dict[str, bytes]:
    """Code the chunks of all variables at one place.

    Parameters
    ----------
    plan : Plan
        Order of coding, and what is predicted from what.
    grid : Grid
        Of the arrays.
    chunks : mapping of str to ndarray
        One chunk of each variable, all of one shape.
    requests : mapping of str to Request
        How each is to be coded.
    states : mapping of str to ndarray or None
        What relative bounds are relative to.
    times : ndarray, optional
        Of the fields of these chunks, where they are known.

    Returns
    -------
    dict of str to bytes
        What is stored. A chunk whose prediction saves nothing stands for itself.
    """
    payloads: dict[str, bytes] = {}
    values: dict[str, np.ndarray] = {}
    for step in plan.steps:
        target = Target(chunks[step.name], requests[step.name], states[step.name])
        bases = {name: values[name] for name in step.bases}
        chunk, recipe = _encode_one(step, grid, target, bases, times)
        payloads[step.name] = chunk if recipe is None else join(chunk, recipe, payloads)
        if step.name in plan.decoded:
            values[step.name] = _decode_base(payloads[step.name], payloads, 0)
    return payloads


def _encode_one(
    step: Step,
    grid: Grid,
    target: Target,
    bases: Mapping[str, np.ndarray],
    times: np.ndarray | None,
) -> tuple[bytes, Recipe | None]:
    x, request, state = target.x, target.request, target.state
    best: tuple[float, Recipe, np.ndarray] | None = None
    if all(np.isfinite(v).all() for v in (x, *bases.values())) and step.terms and target.square:
        for choice in step.choices:
            recipe = fit_recipe(choice, grid, target, bases, times)
            expected = None if recipe is None else predict(recipe, bases, x.shape)
            if recipe is None or expected is None or not np.isfinite(expected).all():
                continue
            saved = saved_bits(target, expected, recipe)
            if saved > (best[0] if best else 0.0):
                best = saved, recipe, expected
    if best is not None:
        chunk = encode_chunk(x, request, state, best[2])
        if parse(chunk).predicted:
            return chunk, best[1]
    return encode_chunk(x, request, state), None
