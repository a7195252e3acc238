"""``python -m benchmarks.torture``: measure and write ``benchmarks/results/torture.json`` and .md.

The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._machine import describe
from benchmarks.torture import bounds, cloud, decoders, flips, kill, malformed, races
from benchmarks.torture._stores import warm_up

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("kill", "flips", "races", "disk", "cloud", "malformed", "codecs", "bounds")
_SHOWN = 20  # failures of a part in the page


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    seed = options.seed
    parts = {
        "kill": lambda: kill.run(options.kills, seed, options.blocks),
        "flips": lambda: flips.run(
            options.flips,
            options.mutations,
            seed,
            blocks=options.damage,
            workers=options.workers,
        ),
        "races": lambda: races.run_races(options.races, seed),
        "disk": lambda: races.run_disks(options.disk, seed),
        "cloud": lambda: cloud.run(options.requests, seed, tuple(options.servers)),
        "malformed": lambda: malformed.run(
            options.malformed,
            seed,
            formats=tuple(options.formats),
            share=options.share,
            log=sys.stderr.write,
        ),
        "codecs": lambda: decoders.run(options.decoded, seed, methods=tuple(options.methods)),
        "bounds": lambda: bounds.run(options.values, seed, patterns=options.patterns),
    }
    out = {}
    for name in options.only or PARTS:
        start = time.perf_counter()
        out[name] = parts[name]()
        seconds = time.perf_counter() - start
        failed = len(list(_failures(out[name])))
        sys.stderr.write(f"{name}: {failed} failures, {seconds:.0f} s\n")
    return out


def _failures(result: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [r for r in result.values() if isinstance(r, dict) and "failures" in r]
    return [*result.get("failures", []), *(f for r in inner for f in r["failures"])]


def _tables(title: str, result: dict[str, Any]) -> list[str]:
    """A page's section of one part."""
    lines = [f"## {title}", ""]
    for name, value in result.items():
        if isinstance(value, dict) and "failures" in value:
            lines += _tables(f"{title}: {name}", value)
        elif isinstance(value, dict):
            lines += ["", f"| {name.replace('_', ' ')} | |", "|---|---|"]
            lines += [f"| {k} | {v} |" for k, v in value.items()] + [""]
        elif name != "failures":
            lines.append(f"- {name.replace('_', ' ')}: {value}")
    if "failures" in result:
        lines.append(f"- failures: {len(result['failures'])}")
        lines += [f"  - `{json.dumps(f)[:400]}`" for f in result["failures"][:_SHOWN]]
    return [*lines, ""]


def _page(report: dict[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    lines = [
        "# Torture",
        "",
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"Python {machine['python']}, {versions}. Seed {report['seed']}. "
        "Made by `python -m benchmarks.torture`.",
        "",
    ]
    for name, result in report["parts"].items():
        lines += _tables(name, result)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Read arguments, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=20, help="chunks per variable to kill over")
    parser.add_argument("--damage", type=int, default=4, help="chunks per variable to damage")
    parser.add_argument("--flips", type=int, default=100_000)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--disk", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2, help="processes that flip bits")
    parser.add_argument("--requests", type=int, default=20_000, help="to servers that fail")
    parser.add_argument("--servers", nargs="*", default=["radosgw", "nginx"])
    parser.add_argument("--malformed", type=int, default=5000, help="files of each format")
    parser.add_argument("--formats", nargs="*", default=[], help="of malformed files; all")
    parser.add_argument("--share", type=float, default=0.1, help="of these also read by a child")
    parser.add_argument("--decoded", type=int, default=100_000, help="byte strings per method")
    parser.add_argument("--methods", nargs="*", default=[], help="of codecs; all")
    parser.add_argument("--values", type=int, default=10**8, help="float32 under bounds")
    parser.add_argument("--patterns", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=PARTS, action="append", help="may be given repeatedly")
    parser.add_argument("--name", default="torture", help="of the files with the results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    warm_up()
    machine = describe(("xphys", "zarr", "xarray", "dask", "numcodecs"))
    report = {"machine": machine, "seed": options.seed, "parts": _measure(options)}
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1) + "\n"
    (options.results / f"{options.name}.json").write_text(text, encoding="utf-8")
    (options.results / f"{options.name}.md").write_text(_page(report), encoding="utf-8")
    return 1 if any(_failures(part) for part in report["parts"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
