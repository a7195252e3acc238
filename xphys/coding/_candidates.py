"""Which bases are worth a trial for one chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xphys.coding.bases import MOST_STEPS, Kind
from xphys.coding.request import Request

__all__ = ["Axes"]

_SHORT = 8  # an axis below this is not split by wavelets
# Mean square difference of the two ends over that of neighbours, below which an axis wraps round.
_WRAPS = 4.0


def _wraps(x: np.ndarray, axis: int) -> bool:
    """True if the last points of an axis look like neighbours of the first."""
    n = x.shape[axis]
    if n < _SHORT:
        return False
    moved = np.moveaxis(x, axis, 0)
    parts = moved[:: max(n // 64, 1)]
    parts = parts[: min(len(parts), n - 1)]
    index = np.arange(0, n, max(n // 64, 1))[: len(parts)]
    index = index[index < n - 1]
    inner = float(np.mean((moved[index + 1] - moved[index]).astype(np.float64) ** 2))
    seam = float(np.mean((moved[0] - moved[-1]).astype(np.float64) ** 2))
    return seam <= _WRAPS * inner


class Axes:
    """Roles of the axes of one chunk, and the bases that suit them.

    Parameters
    ----------
    x : ndarray
        The chunk, or a part of it with whole spatial axes.
    axis : int
        Along which blocks divide it: time, if any axis is.
    request : Request
        Roles and periodicity.
    """

    def __init__(self, x: np.ndarray, axis: int, request: Request) -> None:
        self.shape = x.shape
        roles = request.roles
        self.space = [i for i, r in enumerate(roles) if r == "space" and x.shape[i] > 1]
        steps = x.shape[axis] > 1 and roles[axis] != "space"
        self.time = axis if steps else None
        self.periodic = {
            i: _wraps(x, i) if request.periodic[i] is None else bool(request.periodic[i])
            for i in self.space
        }

    def _kinds(self, space: dict[int, Kind], time: Kind) -> tuple[Kind, ...]:
        out = [space.get(i, Kind.NONE) for i in range(len(self.shape))]
        if self.time is not None:
            out[self.time] = time
        return tuple(out)

    def _series(self, axis: int) -> Kind:
        return Kind.FOURIER if self.periodic[axis] else Kind.COSINE

    def _split(self, axis: int, pyramid: bool) -> Kind:
        if self.shape[axis] < _SHORT:
            return Kind.COSINE
        wraps = self.periodic[axis] and self.shape[axis] % 8 == 0
        if pyramid:
            return Kind.PYRAMID_PERIODIC if wraps else Kind.PYRAMID
        return Kind.WAVELET_PERIODIC if wraps else Kind.WAVELET

    def spaces(self) -> dict[str, dict[int, Kind]]:
        """Transforms of the spatial axes by name; equal ones only once."""
        found = {
            "series": {i: self._series(i) for i in self.space},
            "pyramid": {i: self._split(i, True) for i in self.space},
            "wavelet": {i: self._split(i, False) for i in self.space},
            "cosine": {i: Kind.COSINE for i in self.space},
            "fourier": {i: Kind.FOURIER for i in self.space},
        }
        if len(self.space) < 2:
            del found["pyramid"]
        out: dict[str, dict[int, Kind]] = {}
        for name, kinds in found.items():
            if kinds not in out.values():
                out[name] = kinds
        return out

    def first(self) -> list[tuple[Kind, ...]]:
        """Series in space, with and without one in time: tells how steady the chunk is."""
        space = self.spaces()["series"]
        times = (Kind.NONE,) if self.time is None else (Kind.NONE, Kind.COSINE)
        return [self._kinds(space, time) for time in times]

    def others(self, steady: bool, restless: bool, effort: str) -> Iterator[tuple[Kind, ...]]:
        """Further candidates.

        Parameters
        ----------
        steady : bool
            A series in time pays clearly.
        restless : bool
            It costs clearly.
        effort : str
            "normal" or "max".
        """
        spaces = self.spaces()
        done = set(self.first())
        every = effort == "max"
        for name, time in (
            ("series", Kind.MODES),
            ("pyramid", Kind.NONE),
            ("pyramid", Kind.WAVELET),
            ("wavelet", Kind.NONE),
            ("fourier", Kind.COSINE),
            ("cosine", Kind.NONE),
            ("fourier", Kind.NONE),
            ("cosine", Kind.COSINE),
            ("wavelet", Kind.WAVELET),
            ("pyramid", Kind.MODES),
            ("series", Kind.WAVELET),
        ):
            if name not in spaces or (self.time is None and time is not Kind.NONE):
                continue
            if time is Kind.MODES and not self._fitted():
                continue
            if not every and (
                (steady and time is Kind.NONE)
                or (restless and time is not Kind.NONE)
                or (name, time) in _RARE
            ):
                continue
            kinds = self._kinds(spaces[name], time)
            if kinds not in done:
                done.add(kinds)
                yield kinds

    def _fitted(self) -> bool:
        return self.time is not None and 2 < self.shape[self.time] <= MOST_STEPS

    def quick(self) -> list[tuple[Kind, ...]]:
        """Two candidates for effort "fast"."""
        spaces = self.spaces()
        split = spaces.get("pyramid", spaces.get("wavelet", spaces["series"]))
        return list(dict.fromkeys([self.first()[-1], self._kinds(split, Kind.NONE)]))


_RARE = {
    ("wavelet", Kind.WAVELET),
    ("pyramid", Kind.MODES),
    ("series", Kind.WAVELET),
}
