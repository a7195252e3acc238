"""The summary of a Dataset as tables of text, for notebooks and terminals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Section", "bytes_text", "facts", "number_text", "sections"]


@dataclass(frozen=True)
class Section:
    """One table: its title, header (may be empty) and rows of text."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    open: bool = True


def bytes_text(size: int | None) -> str:
    """Write a number of bytes with a decimal unit.

    Parameters
    ----------
    size : int or None
        Bytes; None where not known.

    Returns
    -------
    str
        Three digits and a unit of powers of 1000, or ``"-"``.

    Examples
    --------
    >>> bytes_text(5_242_880)
    '5.24 MB'
    """
    if size is None:
        return "-"
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if unit != "B" else f"{size} B"


def number_text(value: Any) -> str:
    """A value of a table: six digits of a float, a range as ``a … b``, ``-`` for nothing."""
    if value is None:
        return "-"
    if isinstance(value, list):
        low, high = (number_text(v) for v in value)
        return low if low == high else f"{low} … {high}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def facts(found: Mapping[str, Any]) -> str:
    """Sum up in one line: number of variables, sizes, findings.

    Parameters
    ----------
    found : mapping
        What `summarize` returned.

    Returns
    -------
    str
        One line.
    """
    parts = [f"{len(found['variables'])} variables", f"{bytes_text(found['bytes'])} in memory"]
    if (stored := found["stored_bytes"]) is not None:
        parts.append(f"{bytes_text(stored)} stored")
    counts = [f"{count} {severity}" for severity, count in found["findings"].items()]
    parts.append(f"findings: {', '.join(counts)}" if counts else "no findings")
    return ", ".join(parts)


def sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """Lay out a summary as tables: dimensions, variables, vectors, parameters.

    Parameters
    ----------
    found : mapping
        What `summarize` returned.

    Yields
    ------
    Section
        Some may have no rows.
    """
    columns = ("size", "spacing", "boundary", "period", "step", "units")
    yield Section(
        "Dimensions",
        ("name", *columns),
        [(n, *(number_text(d.get(c)) for c in columns)) for n, d in found["dims"].items()],
    )
    yield Section(
        "Variables",
        ("name", "dims", "dtype", "chunks", "bytes", "stored", "units"),
        [_variable_row(name, row) for name, row in found["variables"].items()],
    )
    vectors = [(n, ", ".join(parts.values())) for n, parts in found["vectors"].items()]
    yield Section("Vectors", ("name", "components"), vectors)
    parameters = [
        (name, _value_text(row["value"]), ", ".join(row["dims"]) or "-", row.get("units", "-"))
        for name, row in found["parameters"].items()
    ]
    yield Section("Parameters", ("name", "value", "along", "units"), parameters)


def _value_text(value: Any) -> str:
    return "not loaded" if value is None else number_text(value)


def _variable_row(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    chunks = "-" if row["chunks"] is None else " × ".join(map(str, row["chunks"]))
    sizes = bytes_text(row["bytes"]), bytes_text(row["stored_bytes"])
    return (name, ", ".join(row["dims"]), row["dtype"], chunks, *sizes, row.get("units", "-"))
