"""The table of features in docs/features.md; run this file to write it again."""

from __future__ import annotations

from pathlib import Path

from xphys.features import registry

PAGE = Path(__file__).parents[2] / "docs" / "features.md"
START, END = "<!-- table: made by tests/features/table.py -->", "<!-- end of table -->"


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or "-"


def lines() -> str:
    """One heading for each family and one row for each feature."""
    found = []
    for family in registry().families:
        members = registry().select(family=family)
        kind = "standard" if members[0].standard else "optional"
        levels = list(dict.fromkeys(one.level for one in members))
        found += [f"### {family}", "", f"{len(members)} features, {kind}, of a {levels[0]}.", ""]
        found += [
            "| number | name | definition | instead of | NaN where |",
            "|---|---|---|---|---|",
        ]
        for one in members:
            level = "" if one.level == levels[0] else f" (of a {one.level})"
            cells = (one.definition + level, one.change, one.undefined)
            text = " | ".join(map(_cell, cells))
            found.append(f"| {one.number} | `{one.name}` | {text} |")
        found.append("")
    return "\n".join(found)


def page() -> str:
    """The whole page with a fresh table."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{lines()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
