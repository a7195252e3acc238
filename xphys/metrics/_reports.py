"""What was measured, as text and plain numbers to be read or kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys.errors import SchemaError

__all__ = ["analysis_metrics", "gap_report", "sweep_report"]

# Below this correlation fields of two runs are said not to agree point by point.
_ALIKE = 0.9
_NEAR = 0.1  # of a ratio from 1


def analysis_metrics(analysis: xr.Dataset) -> dict[str, Any]:
    """Numbers of an analysis as they are kept in ``metrics.json``.

    Parameters
    ----------
    analysis : Dataset
        Computed result of `analyze`.

    Returns
    -------
    dict
        ``{"n_samples", "mse": {"mean", "std"}, "pixel": {"js_divergence", "tv_distance"}}``.

    Raises
    ------
    SchemaError
        If it is lazy, or another Dataset.

    Examples
    --------
    >>> numbers = dict.fromkeys(("mse_mean", "mse_std", "js_divergence", "tv_distance"), 0.5)
    >>> analysis_metrics(xr.Dataset({"n_samples": 2, **numbers}))["mse"]
    {'mean': 0.5, 'std': 0.5}
    """
    wanted = ("n_samples", "mse_mean", "mse_std", "js_divergence", "tv_distance")
    _check(analysis, wanted, "analyze")
    count, mean, std, js, tv = (analysis[name].item() for name in wanted)
    return {
        "n_samples": int(count),
        "mse": {"mean": float(mean), "std": float(std)},
        "pixel": {"js_divergence": float(js), "tv_distance": float(tv)},
    }


def gap_report(gap: xr.Dataset) -> str:
    """Report on the gap between two resolutions, in Markdown.

    Parameters
    ----------
    gap : Dataset
        Computed result of `domain_gap`.

    Returns
    -------
    str
        For each variable a table over time and a sentence.

    Raises
    ------
    SchemaError
        If it is lazy, or another Dataset.
    """
    _check(gap, ("std", "l2_gap", "correlation", "std_ratio", "js_divergence"), "domain_gap")
    lines = ["# Domain gap", ""]
    for name in gap["variable"].values:
        one = gap.sel(variable=name)
        units = str(one["units"].values)
        lines += [f"## {name}" + (f" ({units})" if units not in ("", "1") else ""), ""]
        rows = _flat(one[["std", "min", "max", "l2_gap", "correlation", "std_ratio"]])
        header = [*rows[0][0], "std coarse", "std fine", "std degraded", "range coarse",
                  "range fine", "L2 gap", "correlation"]  # fmt: skip
        table = []
        for place, row in rows:
            ends = [f"{_text(row['min'][i])} to {_text(row['max'][i])}" for i in (0, 1)]
            table.append(
                [*(_text(v) for v in place.values()), *(_text(v) for v in row["std"]), *ends,
                 _text(row["l2_gap"]), _text(row["correlation"])]
            )  # fmt: skip
        lines += [*_table(header, table), "", _judged(one), ""]
    return "\n".join(lines)


def _judged(one: xr.Dataset) -> str:
    ratio = float(np.exp(np.nanmean(np.log(np.abs(one["std_ratio"].values) + 1e-300))))
    correlation = float(np.nanmean(one["correlation"].values))
    alike = "agree" if abs(ratio - 1) <= _NEAR else f"differ by a factor of {ratio:.3g}"
    apart = "do not agree, so scores point by point say little"
    pixels = "agree" if correlation >= _ALIKE else apart
    distances = one.sel(origin="degraded")
    return (
        f"Deviations of coarse and degraded fields {alike} (mean ratio {ratio:.3g}); point by "
        f"point they {pixels} (mean correlation {correlation:.3g}). Distance of the distributions: "
        f"Jensen-Shannon {_text(distances['js_divergence'].item())}, Wasserstein "
        f"{_text(distances['wasserstein'].item())}."
    )


def sweep_report(verdicts: xr.Dataset) -> str:
    """Report on which runs of a sweep last, in Markdown.

    Parameters
    ----------
    verdicts : Dataset
        Computed result of `sustained`, of one run or many; coordinates on the dims of the runs
        (viscosity, say) become columns.

    Returns
    -------
    str
        A table, one row for each run.

    Raises
    ------
    SchemaError
        If it is lazy, or another Dataset.
    """
    wanted = ("mid_energy", "late_energy", "ratio", "peak_time", "verdict")
    _check(verdicts, wanted, "sustained")
    rows = _flat(verdicts[list(wanted)])
    header = [*rows[0][0], "middle energy", "late energy", "ratio", "peak at time", "verdict"]
    table = [
        [*(_text(v) for v in place.values()), *(_text(row[name]) for name in wanted)]
        for place, row in rows
    ]
    return "\n".join(["# Sustained turbulence", "", *_table(header, table), ""])


def _check(ds: xr.Dataset, names: Iterable[str], function: str) -> None:
    missing = [name for name in names if name not in ds]
    if missing:
        raise SchemaError(f"expected the result of {function}(), it has no {missing}")
    if any(ds[name].chunks is not None for name in names):
        raise SchemaError(f"the result of {function}() is lazy: call .compute() first")


def _flat(ds: xr.Dataset) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """One entry for each place along the dims of runs and times, with its coordinates."""
    dims = [str(d) for d in ds.dims if d not in ("origin",)]
    sizes = [ds.sizes[d] for d in dims]
    found = []
    for index in np.ndindex(*sizes):
        one = ds.isel(dict(zip(dims, index, strict=True)))
        place: dict[str, Any] = {d: i for d, i in zip(dims, index, strict=True)}
        for name, coord in ds.coords.items():
            if coord.dims and set(coord.dims) <= set(dims) and coord.size:
                place[str(name)] = one[name].item()
        found.append((place, {str(n): v.values for n, v in one.data_vars.items()}))
    return found


def _text(value: Any) -> str:
    plain = np.asarray(value)
    return f"{float(plain):.4g}" if plain.dtype.kind in "fiu" else str(plain)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
