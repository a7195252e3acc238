"""Shell-wise regression of a variable on others, on products of them, and on parts of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations

import numpy as np

from xphys.coding.predict.fit import solve_bands, space_of
from xphys.coding.predict.grid import Grid
from xphys.coding.predict.modes import Modes
from xphys.coding.predict.plan import MODES, Step, Term

__all__ = ["Found", "Regression"]

_MODES = 2**14  # of each field that are looked at
_MOST_BASES = 8  # of which all products are looked at; of more only squares
_SHORT_LIST, _MOST_TERMS = 48, 14
_DAMPINGS = (0, 1, 2)
_WORTH = 0.01  # share of the bits that one more term must save
_BITS_OF_WEIGHT = 12


@dataclass(frozen=True)
class Found:
    """A step, and the bits that it saves on the sample."""

    step: Step
    bits: float


class Regression:
    """All candidates, made once.

    Parameters
    ----------
    fields : mapping of str to ndarray
        A sample of each variable.
    squares : mapping of str to float
        Mean squared errors that they will be decoded with.
    grid : Grid
        Of the arrays, periodic.
    """

    def __init__(
        self, fields: Mapping[str, np.ndarray], squares: Mapping[str, float], grid: Grid
    ) -> None:
        self.fields, self.squares = fields, squares
        axes, lengths = space_of(grid)
        shape = next(iter(fields.values())).shape
        self.modes = Modes(shape, axes, lengths)
        self._choose_modes()
        self.noisy = {n: self._decoded(x, squares[n]) for n, x in fields.items()}
        self.terms = self._terms(list(fields))
        self.columns = np.stack([self._column(term) for term in self.terms])

    def _choose_modes(self) -> None:
        """All long waves, every n-th of the others; sorted by band."""
        modes = self.modes
        rows = len(modes.rows(next(iter(self.fields.values()))))
        bands = np.broadcast_to(modes.bands, (rows, *modes.squared.shape)).reshape(-1)
        twice = np.broadcast_to(modes.twice, (rows, *modes.squared.shape)).reshape(-1)
        order = np.argsort(bands, kind="stable")
        order = order[
            np.broadcast_to(modes.squared > 0, (rows, *modes.squared.shape)).reshape(-1)[order]
        ]
        half = _MODES // 2
        stride = max(-(-(order.size - half) // half), 1)
        self.chosen = np.concatenate([order[:half], order[half::stride]])
        share = np.ones(self.chosen.size)
        share[half:] = stride
        self.weights = (twice[self.chosen] * share).astype(np.float32)
        found = bands[self.chosen]
        self.starts = np.flatnonzero(np.diff(found, prepend=-1))
        self.band = np.cumsum(np.diff(found, prepend=-1) != 0) - 1
        self.count = np.add.reduceat(self.weights, self.starts).astype(np.float64)

    def _decoded(self, x: np.ndarray, square: float) -> np.ndarray:
        """A field as it will be: modes rounded so that they have that error."""
        modes = self.modes.forward(self.modes.rows(x))
        unit = np.sqrt(6 * square)
        for part in (modes.real, modes.imag):
            part[...] = np.sign(part) * np.floor(np.abs(part) / unit + 0.4) * unit
        return self.modes.whole(self.modes.backward(modes))

    def _terms(self, names: list[str]) -> list[Term]:
        axes = [str(i) for i in range(len(self.modes.axes))]
        linear = ["", *axes]
        linear += [f"c{p}{q}{n}" for p, q in permutations(axes, 2) for n in _DAMPINGS]
        # the last diagonal part is what the others leave of the whole
        stress = ["", *(p + q for p, q in combinations_with_replacement(axes, 2))][:-1]
        terms = [Term((name,), by, True) for name in names for by in linear]
        pairs = list(combinations_with_replacement(names, 2))
        if len(names) > _MOST_BASES:
            pairs = [(name, name) for name in names]
        return terms + [Term(pair, by, True) for pair in pairs for by in stress]

    def _column(self, term: Term) -> np.ndarray:
        # neighbouring terms take the same product
        if getattr(self, "_last", (None,))[0] != term.of:
            whole = slice(None)
            self._last = (term.of, self.modes.products(self.noisy, [term.of], whole)[0])
        values = self._last[1] * self.modes.multiplier(term.by)
        return np.asarray(values.reshape(-1)[self.chosen].astype(np.complex64))

    def _sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the modes of each band, along the last axis."""
        return np.add.reduceat(values * self.weights, self.starts, axis=-1).astype(np.float64)

    def _bits(self, rest: np.ndarray, square: float) -> float:
        power = rest.real.astype(np.float64) ** 2 + rest.imag.astype(np.float64) ** 2
        return float((np.log2(1 + power / square) * self.weights).sum() / 2)

    def _gains(self, columns: np.ndarray, rest: np.ndarray, square: float) -> np.ndarray:
        """Bits that each term alone would save."""
        dot = self._sums((columns.conj() * rest).real)
        size = self._sums(columns.real**2 + columns.imag**2)
        energy = self._sums(rest.real**2 + rest.imag**2)
        left = np.maximum(energy - dot**2 / np.maximum(size, 1e-300), 0)
        ratio = (energy / self.count + square) / (left / self.count + square)
        return np.asarray((self.count * np.log2(ratio)).sum(axis=-1) / 2)

    def explain(self, name: str, bases: Sequence[str]) -> Found:
        """The few terms of these bases that together save most bits of a variable."""
        square = self.squares[name]
        whole = self.modes.forward(self.modes.rows(self.fields[name]))
        target = whole.reshape(-1)[self.chosen]
        places = [
            i
            for i, term in enumerate(self.terms)
            if name not in term.of and all(base in bases for base in term.of)
        ]
        bits = start = self._bits(target, square)
        nothing = Found(Step(name), 0.0)
        if not places or not bits:
            return nothing
        columns = self.columns[places]
        best = np.argsort(-self._gains(columns, target, square), kind="stable")[:_SHORT_LIST]
        places, columns = [places[i] for i in best], columns[best]
        chosen: list[int] = []
        rest = target
        while len(chosen) < _MOST_TERMS:
            gains = self._gains(columns, rest, square)
            gains[chosen] = -np.inf
            trial = [*chosen, int(np.argmax(gains))]
            if len(trial) > len(places):
                break
            left = self._rest(target, columns[trial])
            now = self._bits(left, square)
            if bits - now < max(_WORTH * bits, _BITS_OF_WEIGHT * self.count.size):
                break
            chosen, rest, bits = trial, left, now
        if not chosen:
            return nothing
        return Found(Step(name, MODES, tuple(self.terms[places[i]] for i in chosen)), start - bits)

    def _rest(self, target: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """What weights in every band leave."""
        number = len(columns)
        products = np.empty((self.count.size, number, number))
        for i in range(number):
            for j in range(i + 1):
                products[:, i, j] = self._sums((columns[i].conj() * columns[j]).real)
                products[:, j, i] = products[:, i, j]
        dots = np.stack([self._sums((c.conj() * target).real) for c in columns], -1)
        weights = solve_bands(products, dots)
        return np.asarray(target - (weights[self.band].T * columns).sum(axis=0))
