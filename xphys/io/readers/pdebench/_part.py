"""What one file of PDEBench holds, whatever its layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import FormatError

__all__ = ["Part", "Times", "check_fits"]


@dataclass(frozen=True)
class Times:
    """Times of the steps.

    Attributes
    ----------
    values : ndarray or None
        None where the file has none that hold for all samples.
    steps : int
        Number of steps that are there.
    said : str
        What a reader of the times should know.
    """

    values: np.ndarray | None
    steps: int
    said: str = ""

    @classmethod
    def of(cls, stored: np.ndarray | None, steps: int, where: str) -> Times:
        """From a stored row, which in PDEBench may have one entry more than there are steps."""
        if stored is None:
            return cls(None, steps, "the file stores no times")
        if stored.dtype.kind not in "fiu":
            raise FormatError(f"{where}: expected times in numbers, found {stored.dtype}")
        if stored.shape == (steps + 1,):
            said = f"entry {steps} of the stored times, {stored[-1]:g}, has no step: left out"
            return cls(stored[:-1], steps, said)
        if stored.shape != (steps,):
            raise FormatError(
                f"{where}: expected {steps} or {steps + 1} times, found an array of {stored.shape}"
            )
        return cls(stored, steps)


@dataclass
class Part:
    """One file.

    Attributes
    ----------
    path : str
        Where it lies.
    count : int
        Number of samples; -1 before the first array is known.
    arrays : dict
        Name -> backend array, dims, attributes.
    positions : dict
        Spatial dim -> positions, attributes.
    times : Times or None
        None without a time axis.
    more : dict
        Further coordinates along ``trajectory``.
    parameters : dict
        Name -> one number for each sample.
    attrs : dict
        Attributes of the Dataset.
    """

    path: str
    count: int = -1
    arrays: dict[str, tuple[Any, tuple[str, ...], dict[str, Any]]] = field(default_factory=dict)
    positions: dict[str, tuple[np.ndarray, dict[str, Any]]] = field(default_factory=dict)
    times: Times | None = None
    more: dict[str, xr.Variable] = field(default_factory=dict)
    parameters: dict[str, list[float]] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> tuple[Any, ...]:
        """Equal for files that can be joined along the samples."""
        arrays = {
            name: (array.shape[1:], array.dtype, dims)
            for name, (array, dims, _) in self.arrays.items()
        }
        places = {dim: values.tolist() for dim, (values, _) in self.positions.items()}
        times = None
        if self.times is not None:
            values = self.times.values
            times = (self.times.steps, None if values is None else values.tolist())
        return arrays, places, times, sorted(self.more), self.attrs.get("axes")

    def agree(self, count: int, name: str) -> None:
        """Take the number of samples, or raise FormatError if it is another than before."""
        if self.count not in (-1, count):
            raise FormatError(
                f"{self.path}: expected {self.count} samples in {name!r} as before, found {count}"
            )
        self.count = count


def check_fits(first: Part, other: Part) -> None:
    """Raise FormatError unless two files hold samples of one kind."""
    if other.layout != first.layout:
        raise FormatError(
            f"{other.path}: expected arrays, positions and times as in {first.path}, found others: "
            "open the files one by one"
        )
