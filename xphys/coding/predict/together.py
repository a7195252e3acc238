"""Chunks of several variables at one place, coded one after the other, and decoded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
from blake3 import blake3

from xphys.coding.frame import decode_chunk, encode_chunk
from xphys.coding.header import parse
from xphys.coding.predict.fit import fit_recipe
from xphys.coding.predict.grid import Grid
from xphys.coding.predict.operators import predict
from xphys.coding.predict.plan import Plan, Step
from xphys.coding.predict.recipe import Recipe, check_bases, join, split
from xphys.coding.predict.saving import Target, saved_bits
from xphys.coding.request import Request
from xphys.errors import CorruptDataError

__all__ = ["decode_predicted", "encode_together"]

_KEPT_BYTES = 128 * 2**20
_MOST_LEVELS = 32


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


def decode_predicted(data: bytes, payloads: Mapping[str, bytes], level: int = 0) -> np.ndarray:
    """Decode a chunk that may be predicted from others.

    Parameters
    ----------
    data : bytes
        The whole chunk, as stored.
    payloads : mapping of str to bytes
        Chunks at the same place of all variables that it, or one of those, is predicted from.
    level : int, default 0
        How many chunks wait for this one.

    Returns
    -------
    ndarray
        As `frame.decode_chunk`; not to be written to where the chunk is not predicted itself.

    Raises
    ------
    CorruptDataError
        If a base is missing or not the one that was there when the chunk was coded.
    """
    chunk, recipe = split(data)
    if recipe is None:
        return decode_chunk(data)
    if level > _MOST_LEVELS:
        raise CorruptDataError(f"a chunk is predicted over more than {_MOST_LEVELS} others")
    missing = [name for name in recipe.bases if name not in payloads]
    if missing:
        raise CorruptDataError(
            f"the chunk is predicted from {', '.join(recipe.bases)}, of which the store lacks "
            f"{', '.join(missing)}: write these variables together"
        )
    check_bases(data, payloads)
    values = {name: _decode_base(payloads[name], payloads, level + 1) for name in recipe.bases}
    shape = parse(chunk).shape
    return decode_chunk(chunk, predict(recipe, values, shape))


def _decode_base(data: bytes, payloads: Mapping[str, bytes], level: int) -> np.ndarray:
    # the digest at the end of a predicted chunk covers its bases: its bytes tell its values
    key = blake3(data).digest(16)
    found = _KEPT.get(key)
    if found is None:
        found = decode_predicted(data, payloads, level)
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
        payloads[step.name] = _encode_one(step, grid, target, bases, payloads, times)
        if step.name in plan.decoded:
            values[step.name] = _decode_base(payloads[step.name], payloads, 0)
    return payloads


def _encode_one(
    step: Step,
    grid: Grid,
    target: Target,
    bases: Mapping[str, np.ndarray],
    payloads: Mapping[str, bytes],
    times: np.ndarray | None,
) -> bytes:
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
            return join(chunk, best[1], payloads)
    return encode_chunk(x, request, state)
