"""Energies of shells of wavenumbers brought to given ones, up to a tolerance."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LOST", "Shells"]

# Shells with a smaller share of the energy of their field are left alone.
_LEAST = 1e-10
_LOST = 2.0**-16  # of a shell's energy: with less left it is filled with noise
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
#: A gain that stands for noise.
LOST = -(2**15)
# Of the tolerance for the gains: the energy of all shells together may shift them as much again.
_SHARE = 0.5


class Shells:
    """Shells of unit width in wavenumber of a field's axes.

    Parameters
    ----------
    shape : tuple of int
        Of a field.
    lengths : tuple of float
        Of the domain along each axis; the unit is the lowest wavenumber of the longest one.
    tolerance : float
        Relative, of the energy of a shell.
    """

    def __init__(
        self, shape: tuple[int, ...], lengths: tuple[float, ...], tolerance: float
    ) -> None:
        self.shape = shape
        longest = max(lengths)
        squares = np.zeros(())
        for i, (n, length) in enumerate(zip(shape, lengths, strict=True)):
            last = i == len(shape) - 1
            numbers = np.arange(n // 2 + 1.0) if last else np.abs(np.fft.fftfreq(n, 1 / n))
            square = (numbers * (longest / length)) ** 2
            squares = squares[..., None] + square
        index = np.rint(np.sqrt(squares)).astype(np.int64)
        # half of a real series is stored: what has a partner in the other half counts twice
        twice = np.full(shape[-1] // 2 + 1, 2.0)
        twice[0] = 1.0
        if shape[-1] % 2 == 0:
            twice[-1] = 1.0
        self._weight = np.broadcast_to(twice, index.shape).reshape(-1)
        known, index = np.unique(index, return_inverse=True)
        self._index, self.count = index.reshape(-1), known.size
        self.step = 2 * _SHARE * math.log2(1 + tolerance)

    def energies(self, field: np.ndarray) -> np.ndarray:
        """Energy of each shell."""
        return self._energies(np.fft.rfftn(field))

    def _energies(self, series: np.ndarray) -> np.ndarray:
        flat = series.reshape(-1)
        power = (flat.real**2 + flat.imag**2) * self._weight
        return np.bincount(self._index, power, self.count)

    def gains(self, wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Steps of gain, as int16, that bring found energies to the wanted ones.

        The mean is the business of sums, not of shells: its shell has none.
        """
        counted = wanted > _LEAST * wanted[1:].sum()
        counted[0] = False
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(counted, np.log2(wanted / found), 0.0)
        lost = counted & ~(found > _LOST * wanted)
        steps = np.rint(np.where(lost, 0.0, ratio) / self.step)
        return np.where(lost, LOST, steps.clip(LOST + 1, -LOST - 1)).astype(np.int16)

    def wrong(self, wanted: np.ndarray, found: np.ndarray, tolerance: float) -> bool:
        """Whether the energy of a shell that counts is off by more than the tolerance."""
        counted = wanted > _LEAST * wanted[1:].sum()
        counted[0] = False
        return bool((np.abs(found - wanted)[counted] > tolerance * wanted[counted]).any())

    def apply(self, field: np.ndarray, gains: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Stretch each shell by its gain.

        Parameters
        ----------
        field : ndarray of float64
            A field.
        gains : ndarray of int16
            As `gains` returns them.
        levels : ndarray of float
            Energy of each shell that is filled with noise.

        Returns
        -------
        ndarray of float64
            A new field.
        """
        series = np.fft.rfftn(field).reshape(-1)
        lost = gains == LOST
        factors = np.where(lost, 0.0, np.exp2(gains.astype(np.float64) * (self.step / 2)))
        series *= factors[self._index]
        if lost.any():
            noise = np.fft.rfftn(_noise(self.shape)).reshape(-1)
            power = self._energies(noise)
            with np.errstate(divide="ignore", invalid="ignore"):
                factors = np.where(lost & (power > 0), np.sqrt(levels / power), 0.0)
            series += noise * factors[self._index]
        shape = (*self.shape[:-1], self.shape[-1] // 2 + 1)
        return np.asarray(np.fft.irfftn(series.reshape(shape), self.shape, axes=range(len(shape))))


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    """White noise, the same for ever: splitmix64 of the place."""
    with np.errstate(over="ignore"):
        z = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z.astype(np.float64) * 2.0**-64 - 0.5).reshape(shape)
