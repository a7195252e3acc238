"""The settings of a spectrum, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dask.utils import parse_bytes

from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import Axis
from xphys.spectra._pencils import Room
from xphys.spectra._treatment import WINDOWS, Treatment

__all__ = ["CONVENTIONS", "KINDS", "Options", "WindowLike", "options"]

KINDS = ("isotropic", "modal_mean", "1d", "2d")
CONVENTIONS = ("density", "sum", "mean")
_PARAMETERS = {"tukey": 0.5}

WindowLike = str | tuple[str, float]


@dataclass(frozen=True)
class Options:
    """How spectra are computed, whatever of.

    Attributes
    ----------
    kind, convention, detrend : str
        As users give them.
    window : WindowLike, mapping or None
        As users give it.
    strict : bool
        Values that are not finite are an error.
    room : Room
        Memory of a task.
    """

    kind: str
    convention: str
    window: WindowLike | Mapping[str, WindowLike] | None
    detrend: str | None
    strict: bool
    room: Room

    @property
    def tapered(self) -> bool:
        """Whether a window is given."""
        return self.window is not None

    def window_of(self, name: str) -> tuple[str, float] | None:
        """Window along one axis, with its parameter."""
        window = self.window
        if isinstance(window, Mapping):
            window = window.get(name)
        if window is None:
            return None
        return _parsed(window)

    def treatment(self, axes: list[Axis]) -> Treatment:
        """Preparation of fields on these axes."""
        windows = tuple(self.window_of(a.name) for a in axes)
        linear = tuple(self.detrend == "linear" and not a.periodic for a in axes)
        plain = all(w is None for w in windows) and self.detrend is None
        return Treatment(windows, linear, keep_mean=self.kind == "modal_mean" and plain)

    def parameters(self) -> dict[str, object]:
        """What the record of operations keeps: settings that are not the default."""
        window: object = self.window
        if isinstance(self.window, Mapping):
            window = {str(k): _plain(v) for k, v in self.window.items()}
        elif self.window is not None:
            window = _plain(self.window)
        return {
            "kind": None if self.kind == "isotropic" else self.kind,
            "convention": None if self.convention == "density" else self.convention,
            "window": window,
            "detrend": self.detrend,
        }


def options(
    kind: str,
    convention: str,
    window: WindowLike | Mapping[str, WindowLike] | None,
    detrend: str | None,
    nan: str,
    memory: int | str,
    scratch: str | None,
) -> Options:
    """Check settings.

    Raises
    ------
    UnknownNameError
        If a kind, convention, window, trend or policy is not known.
    SchemaError
        If a number is out of range, or two settings exclude each other.
    """
    _one_of("kind", kind, KINDS)
    _one_of("convention", convention, CONVENTIONS)
    _one_of("detrend", detrend, (None, "constant", "linear"))
    _one_of("nan", nan, ("propagate", "raise"))
    if kind in ("modal_mean", "2d") and convention == "mean":
        raise SchemaError(f'convention="mean" is for kind="isotropic" or "1d", got {kind!r}')
    if kind == "modal_mean" and convention != "density":
        raise SchemaError('kind="modal_mean" has its own normalisation: leave convention= out')
    for each in window.values() if isinstance(window, Mapping) else [window]:
        if each is not None:
            _parsed(each)
    try:
        size = int(parse_bytes(memory))
    except (ValueError, TypeError) as error:
        raise SchemaError(f'expected memory as bytes or e.g. "1GB", got {memory!r}') from error
    if size <= 0:
        raise SchemaError(f"expected memory > 0 bytes, got {memory!r}")
    return Options(kind, convention, window, detrend, nan == "raise", Room(size, scratch))


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise UnknownNameError(f"expected {name} out of {allowed}, got {value!r}")


def _plain(window: WindowLike) -> object:
    return window if isinstance(window, str) else list(window)


def _parsed(window: WindowLike) -> tuple[str, float]:
    name, parameter = window if isinstance(window, tuple) and len(window) == 2 else (window, None)
    if not isinstance(name, str) or name not in WINDOWS:
        raise UnknownNameError(f"expected window None or one of {sorted(WINDOWS)}, got {window!r}")
    if parameter is None:
        return name, _PARAMETERS.get(name, 0.0)
    if name not in _PARAMETERS:
        raise SchemaError(f"window {name!r} has no parameter, got {parameter!r}")
    if isinstance(parameter, bool) or not isinstance(parameter, int | float):
        raise SchemaError(f"expected a number as parameter of window {name!r}, got {parameter!r}")
    if not 0 < parameter <= 1:
        raise SchemaError(f"expected 0 < tapered share <= 1 for {name!r}, got {parameter!r}")
    return name, float(parameter)
