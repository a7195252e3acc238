"""What a notebook or terminal shows for ``.phys``; built from metadata, nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import xarray as xr

from xphys.accessors._documented import steps
from xphys.accessors._summary import summarize
from xphys.accessors._tables import Section, facts, sections

__all__ = ["html", "text"]

_CSS = """
.xphys{font-family:inherit;font-size:.9em;line-height:1.4;max-width:60em;
 border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.6em .9em;color:inherit}
.xphys h4{margin:.1em 0 .3em;font-size:1em}
.xphys details{margin:.2em 0}
.xphys summary{cursor:pointer;font-weight:600}
.xphys table{border-collapse:collapse;margin:.2em 0 .4em 1em;background:none}
.xphys th,.xphys td{text-align:left;padding:.1em .9em .1em 0;border:0;background:none;color:inherit}
.xphys th{font-weight:400;opacity:.65}
.xphys p{margin:.2em 0;opacity:.8}
""".replace("\n", "")


def html(owner: type, datasets: Mapping[str, xr.Dataset]) -> str:
    """Self-contained HTML for the nodes of one object, names and values escaped."""
    body = "".join(_node_html(path, ds) for path, ds in datasets.items())
    return f'<div class="xphys"><style>{_CSS}</style>{body}{_section_html(_steps(owner))}</div>'


def text(owner: type, datasets: Mapping[str, xr.Dataset]) -> str:
    """The same as plain text."""
    lines: list[str] = []
    for path, ds in datasets.items():
        found = summarize(ds)
        lines.append(f"xphys {path}".rstrip() + ": " + facts(found))
        for section in sections(found):
            lines.extend(_section_text(section))
    return "\n".join([*lines, *_section_text(_steps(owner))])


def _steps(owner: type) -> Section:
    return Section("Steps", (), [(f".{n}()", line) for n, line in steps(owner).items()], False)


def _node_html(path: str, ds: xr.Dataset) -> str:
    found = summarize(ds)
    title = escape(f"xphys {path}".rstrip())
    tables = "".join(_section_html(section) for section in sections(found))
    return f"<h4>{title}</h4><p>{escape(facts(found))}</p>{tables}"


def _section_html(section: Section) -> str:
    if not section.rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in section.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in section.rows
    )
    state = " open" if section.open else ""
    table = f"<table>{f'<tr>{head}</tr>' if head else ''}{rows}</table>"
    return f"<details{state}><summary>{escape(section.title)}</summary>{table}</details>"


def _section_text(section: Section) -> list[str]:
    if not section.rows:
        return []
    rows = [section.header, *section.rows] if section.header else list(section.rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return [section.title, *(f"  {line}" for line in lines)]
