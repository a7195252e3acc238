"""What xphys raises: one family, so that a caller can catch all of it or one kind."""

from __future__ import annotations

__all__ = [
    "BoundError",
    "CorruptDataError",
    "FormatError",
    "MissingDependencyError",
    "RemoteError",
    "SchemaError",
    "StoreConflictError",
    "UnfinishedStoreError",
    "UnknownNameError",
    "XphysError",
    "XphysWarning",
]

_LONGEST = 2000  # characters of a message


class XphysError(Exception):
    """Base of every error that xphys raises on purpose."""


class SchemaError(XphysError, ValueError):
    """A Dataset lacks something that the called function needs."""


class FormatError(XphysError, ValueError):
    """A file or store is not what its format says it should be."""

    def __init__(self, message: str = "") -> None:
        # names and values in it come from files: one line, of a length that can be read
        line = "".join(c if c.isprintable() else " " for c in str(message)[: _LONGEST + 1])
        super().__init__(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...")


class CorruptDataError(FormatError):
    """Stored bytes do not match their own checksum."""


class UnfinishedStoreError(FormatError):
    """A store whose writer was killed or is still at work: not all of it is there."""


class StoreConflictError(XphysError):
    """Two runs want to write one store."""


class RemoteError(XphysError, OSError):
    """A server refuses a request, or goes on failing when it is asked again.

    ``status`` is that of the last HTTP answer, None where the connection broke.
    """

    status: int | None = None


class BoundError(XphysError, ValueError):
    """An error bound was requested that cannot be understood or cannot be kept."""


class UnknownNameError(XphysError, KeyError):
    """A name (method, reader, derived field, variable) that xphys does not know."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class MissingDependencyError(XphysError, ImportError):
    """An optional package is needed and not installed."""


class XphysWarning(UserWarning):
    """Base of every warning that xphys gives."""
