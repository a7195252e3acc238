"""Features of labelled trajectories."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xphys._dims import lift
from xphys.errors import SchemaError
from xphys.features import _blocks as blocks
from xphys.features._catalog import Plan, groups_of
from xphys.features._graph import rows_of, sensitivity_rows
from xphys.features._optional_definitions import ARCHITECTURE
from xphys.features._registry import DEFINITION_VERSION, Feature
from xphys.features._select import OVER_REALIZATIONS, OVER_TIME, chosen, reason, statistics
from xphys.features._source import Source, read
from xphys.schema import PROVENANCE, record

__all__ = ["features"]

_OWN = ("feature", "name", "family", "number", "definition_version", "valid_fraction",
        "statistic", "time_statistic")  # fmt: skip
Operator = Callable[..., Any] | Sequence[Callable[..., Any]]


def features(
    ds: xr.Dataset,
    families: str | Iterable[str] | None = None,
    names: str | Iterable[str] | None = None,
    *,
    level: str = "trajectory",
    over_realizations: str | Iterable[str] = ("mean", "std", "cv"),
    over_time: str | Iterable[str] | None = None,
    operator: Operator | None = None,
) -> xr.DataArray:
    r"""Describe steps and trajectories of fields by named numbers, lazily.

    153 features, of which 56 are of each step (families spatial, spectral, cross_channel) and 97
    of each trajectory (temporal, causality, invariant_drift, operator_sensitivity); further
    families are made when they are named. `xphys.features.registry` and docs/features.md have
    all definitions.

    Every variable with all dims of space and time is a channel; a dim ``channel`` counts too.

    Parameters
    ----------
    ds : Dataset
        Real fields on one grid of 1 to 3 axes, any chunks. Axes without positions count in cells
        and are periodic; others are periodic where they have a ``period``.
    families : str or iterable of str, optional
        Families; by default those of the 153.
    names : str or iterable of str, optional
        Names of features, in the order of the result; with ``families``, out of these.
    level : {"trajectory", "step", "aggregated"}
        - "step": for each time the mean over channels and realizations
        - "trajectory": for each trajectory and realization the mean over channels
        - "aggregated": statistics of the latter over the dims ``realization`` and ``sample``
    over_realizations : str or iterable of str
        For "aggregated": "mean", "std" (n - 1), "cv" = std/\|mean\|, "min", "max"; one block of
        features for each, their names with ``_mean`` and so on.
    over_time : str or iterable of str, optional
        Adds the features of steps, taken over time by "mean", "std" (n - 1), "min", "max" or
        "final" (at level "step" it takes time away). One given as text leaves the names as they
        are; of several, names end with ``_mean`` and so on.
    operator : callable or sequence of callables, optional
        What made the trajectories: field (channel, \*space) -> next field; a second parameter
        gets a ``numpy.random.Generator``. Several are one for each entry of the dim ``operator``.
        Without it the 10 features of operator_sensitivity are absent.

    Returns
    -------
    DataArray
        ``features(..., feature)``, float64, with the coordinates ``name``, ``family``, ``number``
        and ``definition_version`` of each feature and ``valid_fraction``, the share of numbers
        that were not NaN and went into the value. Attribute ``undefined``: JSON of features that
        are NaN for all of these data with the reason; ``undefined_where``: JSON of where others
        are NaN.

    Raises
    ------
    SchemaError
        If there are no fields on one grid, or a dim is empty; if positions or times do not rise,
        are not finite or no numbers, or axes have different units; if a family or name does not
        exist at the level, or needs an operator.
    UnknownNameError
        If a family, name, level or statistic is not known.

    Notes
    -----
    A field with NaN or infinity has NaN features; means leave NaN out. A task holds one block of
    all channels with whole frames and about 15 float64 copies of one frame of all channels (of
    16,384 points at least), and gives 1.7 kB for each frame of 3 channels; rows of a whole
    trajectory are then together in one task. The table of Fourier modes, 36 bytes a point in 2-D
    and 60 in 3-D, is kept once in each process. Blocks along time need the first frame of the
    next block. Numbers do not depend on chunks (1e-12).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ds = xr.Dataset({"u": (("time", "y", "x"), rng.normal(size=(4, 8, 8)))})
    >>> features(ds).sizes["feature"], features(ds, level="step").sizes["feature"]
    (87, 56)
    >>> features(ds, "spatial", level="step").sel(feature="spatial_std").shape
    (4,)
    """
    realized = statistics(over_realizations, OVER_REALIZATIONS, "over_realizations")
    timed = () if over_time is None else statistics(over_time, OVER_TIME, "over_time")
    wanted = chosen(
        families, names, level=level, timed=bool(timed), has_operator=operator is not None
    )
    source = read(ds)
    _check_operator(operator, source)
    suffixed = not isinstance(over_time, str)
    if level == "step":
        found, columns = _of_steps(ds, source, wanted, timed)
    else:
        found, columns = _of_trajectories(ds, source, wanted, timed, operator)
    blocks_of: tuple[str, ...] = ("",)
    if level == "aggregated":
        found, blocks_of = _aggregated(found, source, realized), realized
    result = _labelled(found, columns, blocks_of, suffixed)
    result = _with_coordinates(result, ds)
    result.attrs = {
        "long_name": "features",
        **_undefined(ds, columns, source, blocks_of, suffixed),
        **({"left_out": ", ".join(source.left_out)} if source.left_out else {}),
        **{f"axis_{dim}": note for dim, note in source.notes.items()},
    }
    if PROVENANCE in ds.attrs:
        result.attrs[PROVENANCE] = ds.attrs[PROVENANCE]
    used = {
        "features": list(dict.fromkeys(f.name for f, _ in columns)),
        "level": level,
        "over_realizations": list(realized) if level == "aggregated" else None,
        "over_time": list(timed) or None,
        "definition_version": DEFINITION_VERSION,
    }
    return record(result, "features", used)


Columns = list[tuple[Feature, str]]  # with the statistic over time


def _check_operator(operator: Operator | None, source: Source) -> None:
    if operator is None or callable(operator):
        return
    count = source.arrays[0].sizes.get("operator")
    good = isinstance(operator, Sequence) and all(callable(one) for one in operator)
    if not good or len(operator) != count:
        said = f"{len(operator)} entries" if isinstance(operator, Sequence) else repr(operator)
        raise SchemaError(
            f"expected a callable as operator=, or one for each of the {count or 'no'} entries of "
            f"the dim 'operator', got {said[:60]}"
        )


def _plan(source: Source, groups: tuple[str, ...]) -> Plan:
    return Plan(source.grid, source.channels, groups)


def _lifted(kernel: Any, rows: xr.DataArray, core: Sequence[Hashable], count: int, **kwargs: Any
            ) -> xr.DataArray:  # fmt: skip
    found: xr.DataArray = lift(
        kernel,
        rows.chunk(dict.fromkeys(core, -1)) if rows.chunks is not None else rows,
        core_dims=[str(dim) for dim in core],
        output_core_dims=[["feature", "part"]],
        output_sizes={"feature": count, "part": 2},
        output_dtypes=[np.float64],
        kwargs=kwargs,
    )
    return found


def _of_steps(
    ds: xr.Dataset, source: Source, wanted: list[Feature], timed: tuple[str, ...]
) -> tuple[xr.DataArray, Columns]:
    plan = _plan(source, groups_of(wanted)[0])
    rows = rows_of(ds, source, plan)
    over = source.realizations
    found = _lifted(
        blocks.step_features,
        rows,
        (*over, "state"),
        len(wanted),
        plan=plan,
        features=tuple(wanted),
        over=len(over),
    )
    if not timed:
        found = found if source.has_time else found.isel(time=0, drop=True)
        return found, [(feature, "") for feature in wanted]
    columns = [(feature, name) for name in timed for feature in wanted]
    found = _lifted(
        blocks.aggregated, found, ("time", "feature", "part"), len(columns),
        statistics=timed, over=1,
    )  # fmt: skip
    return found, columns


def _of_trajectories(
    ds: xr.Dataset,
    source: Source,
    wanted: list[Feature],
    timed: tuple[str, ...],
    operator: Operator | None,
) -> tuple[xr.DataArray, Columns]:
    apart = ("operator_sensitivity", "architecture")
    main = [feature for feature in wanted if feature.family not in apart]
    steps = [feature for feature in main if feature.level == "step"]
    columns: Columns = [(feature, name) for name in timed for feature in steps]
    columns += [(feature, "") for feature in main if feature.level != "step"]
    parts = [_from_rows(ds, source, main, timed, len(columns))] if main else []
    sensitive = [feature for feature in wanted if feature.family == apart[0]]
    if sensitive and operator is not None:
        every = sensitivity_rows(source, operator)
        at = [feature.number - 144 for feature in sensitive]
        parts.append(_with_validity(every.isel(state=at).rename(state="feature")))
        columns += [(feature, "") for feature in sensitive]
    built = [feature for feature in wanted if feature.family == apart[1]]
    if built:
        parts.append(_architecture(ds, source, built))
        columns += [(feature, "") for feature in built]
    if len(parts) == 1:
        found = parts[0]
    else:
        dims = (*source.lead, "feature", "part")
        found = xr.concat(
            [part.transpose(*dims) for part in parts], "feature", coords="minimal",
            compat="override", join="override",
        )  # fmt: skip
    if found.chunks is not None:
        found = found.chunk(feature=-1)
    return _in_order(found, columns, wanted, timed)


def _in_order(
    found: xr.DataArray, columns: Columns, wanted: list[Feature], timed: tuple[str, ...]
) -> tuple[xr.DataArray, Columns]:
    """Columns in the order of the call; with statistics over time one block for each."""
    place = {feature: number for number, feature in enumerate(wanted)}
    if len(timed) > 1:
        return found, columns
    order = sorted(range(len(columns)), key=lambda i: place[columns[i][0]])
    if order == list(range(len(columns))):
        return found, columns
    return found.isel(feature=order), [columns[i] for i in order]


def _from_rows(
    ds: xr.Dataset, source: Source, main: list[Feature], timed: tuple[str, ...], count: int
) -> xr.DataArray:
    groups, first_groups = groups_of(main)
    plan = _plan(source, groups) if groups else None
    first_plan = _plan(source, first_groups) if first_groups else None
    inputs: list[xr.DataArray] = []
    if plan is not None:
        inputs.append(rows_of(ds, source, plan, together=True))
    if first_plan is not None:
        start = Source(
            [array.isel(time=[0]) for array in source.arrays], source.lead, source.grid,
            source.times[:1], None, source.has_time, [],
        )  # fmt: skip
        first = rows_of(ds.isel(time=[0], missing_dims="ignore"), start, first_plan)
        first = first.isel(time=0, drop=True)
        inputs.append(first.rename(state="first") if inputs else first.expand_dims("time", -2))
    kwargs = {
        "plan": plan,
        "first_plan": first_plan,
        "features": tuple(main),
        "times": source.times,
        "step": source.step,
        "over_time": timed,
    }
    if len(inputs) == 1:
        return _lifted(_one_input, inputs[0], ("time", "state"), count, **kwargs)
    # both in one row: the first state's numbers are repeated for each time, and taken once
    rows, first = inputs
    wide = first.rename(first="state").broadcast_like(rows.isel(state=0, drop=True))
    wide = wide.transpose(*rows.dims)
    if rows.chunks is not None:
        wide = wide.chunk({d: rows.chunksizes[d] for d in rows.dims if d != "state"})
    both = xr.concat([rows, wide], "state", join="override", coords="minimal", compat="override")
    return _lifted(_two_inputs, both, ("time", "state"), count, **kwargs)


def _one_input(rows: Any, **kwargs: Any) -> Any:
    if kwargs["plan"] is None:
        none = Plan(kwargs["first_plan"].grid, kwargs["first_plan"].channels, ())
        return blocks.trajectory_features(rows, rows, **{**kwargs, "plan": none})
    return blocks.trajectory_features(rows, None, **kwargs)


def _two_inputs(rows: Any, **kwargs: Any) -> Any:
    size = kwargs["plan"].size
    return blocks.trajectory_features(rows[..., :size], rows[..., :1, size:], **kwargs)


def _with_validity(values: xr.DataArray) -> xr.DataArray:
    return xr.concat([values, values.notnull().astype(np.float64)], "part").transpose(..., "part")


def _held(ds: xr.Dataset, coordinate: str, source: Source) -> bool:
    return coordinate in ds.coords and set(ds[coordinate].dims) <= set(source.lead)


def _architecture(ds: xr.Dataset, source: Source, built: list[Feature]) -> xr.DataArray:
    shape = source.arrays[0].isel(time=0, channel=0, drop=True)
    shape = shape.isel(dict.fromkeys(source.grid.names, 0), drop=True).drop_vars(
        [name for name in shape.coords if name not in shape.dims], errors="ignore"
    )
    columns = []
    for feature in built:
        coordinate, made, kind = ARCHITECTURE[feature.name]
        if _held(ds, coordinate, source):
            one = lift(
                _made, ds[coordinate].reset_coords(drop=True), core_dims=[],
                output_core_dims=[[]], output_dtypes=[np.float64],
                kwargs={"made": made, "kind": kind},
            )  # fmt: skip
            one = one.drop_vars([c for c in one.coords if c not in one.dims])
        else:
            one = xr.DataArray(np.nan)
        columns.append(one.broadcast_like(xr.DataArray(np.zeros(shape.shape), shape.coords,
                                                       shape.dims)))  # fmt: skip
    return _with_validity(xr.concat(columns, "feature").transpose(*source.lead, "feature"))


def _made(values: Any, *, made: str, kind: str | None) -> Any:
    if made == "kind":
        return (values.astype(str) == str(kind)).astype(np.float64)
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        return np.full(values.shape, np.nan)
    with np.errstate(all="ignore"):
        numbers = np.log10(numbers) if made == "log10" else numbers
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _aggregated(found: xr.DataArray, source: Source, realized: tuple[str, ...]) -> xr.DataArray:
    over = source.realizations
    if not over:
        found = found.expand_dims("realization", -3)
        over = ("realization",)
    return _lifted(
        blocks.aggregated,
        found,
        (*over, "feature", "part"),
        found.sizes["feature"] * len(realized),
        statistics=realized,
        over=len(over),
    )


def _column_name(feature: Feature, time_statistic: str, statistic: str, suffixed: bool) -> str:
    parts = [feature.name, time_statistic if suffixed else "", statistic]
    return "_".join(part for part in parts if part)


def _labelled(
    found: xr.DataArray, columns: Columns, blocks_of: tuple[str, ...], suffixed: bool
) -> xr.DataArray:
    every = [(feature, time, block) for block in blocks_of for feature, time in columns]
    names = np.array([_column_name(f, t, b, suffixed) for f, t, b in every], dtype=np.str_)
    result = found.isel(part=0).transpose(..., "feature")
    coords: dict[str, Any] = {
        "feature": ("feature", names, {"long_name": "name of the feature"}),
        "name": ("feature", names, {"long_name": "name of the feature"}),
        "family": ("feature", np.array([f.family for f, _, _ in every], dtype=np.str_)),
        "number": ("feature", np.array([f.number for f, _, _ in every], dtype=np.int64)),
        "definition_version": (
            "feature", np.array([DEFINITION_VERSION] * len(every), dtype=np.str_),
        ),
    }  # fmt: skip
    if blocks_of != ("",):
        coords["statistic"] = ("feature", np.array([b for _, _, b in every], dtype=np.str_))
    if any(time for _, time, _ in every):
        coords["time_statistic"] = ("feature", np.array([t for _, t, _ in every], dtype=np.str_))
    valid = found.isel(part=1).transpose(..., "feature")
    about = {"long_name": "share of the numbers in a value that are not NaN", "units": "1"}
    coords["valid_fraction"] = (valid.dims, valid.data, about)
    return result.assign_coords(coords).rename("features")


def _with_coordinates(result: xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    kept = {
        name: coordinate.variable
        for name, coordinate in ds.coords.items()
        if name not in _OWN and set(coordinate.dims) <= set(result.dims)
    }
    return result.drop_vars([n for n in result.coords if n in kept]).assign_coords(kept)


def _undefined(
    ds: xr.Dataset, columns: Columns, source: Source, blocks_of: tuple[str, ...], suffixed: bool
) -> dict[str, str]:
    never: dict[str, str] = {}
    where: dict[str, str] = {}
    entries = [source.arrays[0].sizes[dim] for dim in source.realizations]
    realizations = int(np.prod(entries)) if entries else 1
    for block in blocks_of:
        for feature, time in columns:
            name = _column_name(feature, time, block, suffixed)
            why = reason(feature, source)
            if feature.family == "architecture":
                held = ARCHITECTURE[feature.name][0]
                why = None if _held(ds, held, source) else f"there is no coordinate {held!r}"
            if why is None and time == "std" and source.times.size < 2:
                why = "the deviation over time needs 2 times, there is 1"
            if why is None and block in ("std", "cv") and realizations < 2:
                why = (
                    f"{block} over realizations needs 2 of them, there is 1: the dim is called "
                    "'realization' or 'sample'"
                )
            if why is not None:
                never[name] = why
                continue
            texts = (feature.undefined, "the mean over realizations is 0" if block == "cv" else "")
            if any(texts):
                where[name] = "; ".join(text for text in texts if text)
    return {"undefined": json.dumps(never), "undefined_where": json.dumps(where)}
