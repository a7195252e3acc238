"""How far a child process that reads a file of a stranger may go."""

from __future__ import annotations

from dataclasses import dataclass

from xphys.errors import SchemaError

__all__ = ["Isolation"]


@dataclass(frozen=True)
class Isolation:
    """Limits of ``xphys.open(..., untrusted=Isolation(...))``.

    Parameters
    ----------
    memory : int
        Bytes that a child may take for one request, on top of what it had before and of three
        times the size of the values that are asked for.
    seconds : float
        Time for one request, on the clock.
    rate : float
        Bytes per second that reading is sure to reach: a request for n bytes of values may take
        ``seconds + n / rate``.
    processes : int
        Children at work at a time in this process, for all files that are opened with these
        limits. A child reads one source only.

    Raises
    ------
    SchemaError
        If a limit is not positive.

    Examples
    --------
    >>> from xphys.io import Isolation
    >>> Isolation(seconds=60).time_for(2**23)
    61.0
    """

    memory: int = 2**30
    seconds: float = 10.0
    rate: float = 2.0**23
    processes: int = 2

    def __post_init__(self) -> None:
        for name in ("memory", "seconds", "rate", "processes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise SchemaError(f"{name} must be a positive number, got {value!r}")

    def time_for(self, size: int) -> float:
        """Seconds for a request of ``size`` bytes of values."""
        return self.seconds + size / self.rate

    def memory_for(self, size: int) -> int:
        """Bytes for a request of ``size`` bytes of values."""
        return int(self.memory) + 3 * size
