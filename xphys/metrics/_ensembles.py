"""Scores of ensembles against what came true."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial

import numpy as np
import xarray as xr

from xphys._dims import add_states, lift, real_variables, reduce_blocks, resolve_dims, stack, whole
from xphys.errors import SchemaError, UnknownNameError
from xphys.metrics import _ensemble_kernels as kernels
from xphys.metrics._pairs import check_grid, datasets
from xphys.schema import ENSEMBLE_DIMS, PROVENANCE, record

__all__ = ["ensemble_scores"]

_ABOUT = {
    "crps": ("continuous ranked probability score", None),
    "crps_fair": ("fair continuous ranked probability score", None),
    "rmse": ("root mean square error of the mean of the members", None),
    "spread": ("root of the mean variance of the members", None),
    "spread_skill": ("spread over error, corrected for the number of members", "1"),
    "rank_histogram": ("share of the points where the truth has the rank", "1"),
}


def ensemble_scores(
    test: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variables: str | Iterable[Hashable] | None = None,
    *,
    member: str | None = None,
    dims: str | Iterable[Hashable] | None = None,
    skipna: bool = False,
) -> xr.Dataset:
    r"""Score an ensemble against what came true, lazily.

    With the m members :math:`x_i` and the truth y of each point, and means over points:

    - ``crps`` = :math:`\langle\frac1m\sum_i|x_i-y|-\frac{1}{2m^2}\sum_{ij}|x_i-x_j|\rangle`;
      ``crps_fair`` with m(m-1) for m², which does not favour large ensembles
    - ``rmse`` of the mean of the members; ``spread`` = root of the mean variance of the members
      (divided by m - 1); ``spread_skill`` = :math:`\sqrt{(m+1)/m}` spread/rmse, 1 for an ensemble
      that the truth could be a member of [1]_
    - ``rank_histogram(rank)``: share of the points where ``rank`` members are below the truth,
      1/(m+1) each for such an ensemble; where members equal the truth, the ranks share it

    Parameters
    ----------
    test : Dataset or DataArray
        With the members along one dim.
    reference : Dataset or DataArray
        The truth, without that dim, on the same grid.
    variables : str or iterable of str, optional
        Variables, or vectors for their components; by default the real ones that both have.
    member : str, optional
        Dim of the members; by default the one ensemble dim ("sample", "realization", "trajectory",
        "operator") that the test has and the reference has not.
    dims : str or iterable of str, optional
        Dims to average over, by default all; the others stay.
    skipna : bool, default False
        True leaves points out where a member or the truth is not finite; False gives NaN.

    Returns
    -------
    Dataset
        On dim ``variable``, those that are left and, for the histogram, ``rank`` from 0 to m.

    Raises
    ------
    UnknownNameError
        If a variable is not in both.
    SchemaError
        If there is no dim of members, or several; if the reference has it too; if grids differ or
        a dim is unknown.

    Notes
    -----
    All members of a point come into one task: where they lie in several chunks, the other dims are
    cut up so that a task takes about one chunk. Each chunk is read once.

    References
    ----------
    .. [1] V. Fortin et al., J. Hydrometeorol. 15, 1708 (2014), doi:10.1175/JHM-D-14-0008.1, eq. 15

    Examples
    --------
    >>> members = xr.DataArray([[0.0], [2.0]], dims=("sample", "x"), name="u")
    >>> found = ensemble_scores(members, xr.DataArray([1.0], dims="x", name="u"))
    >>> float(found.crps[0]), found.rank_histogram.values
    (0.5, array([[0., 1., 0.]]))
    """
    new, old = datasets(test, reference)
    if isinstance(test, xr.DataArray):
        (only,) = old.data_vars
        new = new.rename({next(iter(new.data_vars)): only})
    names = _names(new, old, variables)
    dim = _member(new, old, names, member)
    over = None if dims is None else set(resolve_dims(old, dims))
    columns: dict[str, dict[str, xr.DataArray]] = {name: {} for name in _ABOUT}
    for name in names:
        values, truth = new[name], old[name]
        check_grid(values.isel({dim: 0}, drop=True), truth)
        core = [d for d in truth.dims if over is None or d in over]
        members = whole(values.transpose(*truth.dims, dim), [dim])
        wide = truth.assign_coords({d: values[d] for d in truth.dims if d in values.coords})
        wide = wide.expand_dims({dim: values.sizes[dim]}, axis=-1).drop_vars(dim, errors="ignore")
        if members.chunks is not None:
            wide = wide.chunk(members.chunksizes)
        state = reduce_blocks(
            kernels.states,
            add_states,
            members.drop_vars(dim, errors="ignore"),
            wide,
            over=[*core, dim],
            size=kernels.size(values.sizes[dim]),
        ).reset_coords(drop=True)
        found = lift(
            partial(kernels.results, skipna=skipna),
            state,
            core_dims=["state"],
            output_core_dims=[*[[]] * 5, ["rank"]],
            output_sizes={"rank": values.sizes[dim] + 1},
            output_dtypes=[np.float64] * 6,
        )
        for key, value in zip(_ABOUT, found, strict=True):
            columns[key][name] = value
    result = xr.Dataset({key: stack(parts, names) for key, parts in columns.items()})
    result = result.transpose("variable", ..., "rank")
    for key, (about, units) in _ABOUT.items():
        result[key].attrs = {"long_name": about} | ({} if units is None else {"units": units})
    units_of = [str(old[name].attrs.get("units", "")) for name in names]
    rank = np.arange(result.sizes["rank"])
    result = result.assign_coords(units=("variable", units_of), rank=rank)
    result.attrs = {k: test.attrs[k] for k in (PROVENANCE,) if k in test.attrs}
    over_names = None if over is None else sorted(map(str, over))
    used = {"variables": names, "member": dim, "dims": over_names, "skipna": skipna}
    return record(result, "ensemble_scores", used)


def _names(
    new: xr.Dataset, old: xr.Dataset, variables: str | Iterable[Hashable] | None
) -> list[str]:
    if variables is not None:
        names = list(real_variables(old, variables))
        return list(real_variables(new, names))
    names = [n for n in real_variables(old) if n in new.data_vars]
    if not names:
        raise UnknownNameError(
            f"no real variable is in both: test has {list(new.data_vars)}, reference has "
            f"{list(old.data_vars)}"
        )
    return list(real_variables(new, names))


def _member(new: xr.Dataset, old: xr.Dataset, names: list[str], member: str | None) -> str:
    fields = [new[name] for name in names]
    if member is None:
        found = [d for d in ENSEMBLE_DIMS if all(d in f.dims for f in fields) and d not in old.dims]
        if len(found) != 1:
            raise SchemaError(
                f"expected one dim of members out of {ENSEMBLE_DIMS} that the test has and the "
                f"reference has not, found {found}: name it with member=..."
            )
        return found[0]
    if not all(member in f.dims for f in fields):
        raise SchemaError(f"expected a dim {member!r} of members, found {tuple(new.dims)}")
    if any(member in old[name].dims for name in names):
        raise SchemaError(f"the reference has the dim {member!r} too: select what came true")
    if not new.sizes[member]:
        raise SchemaError(f"the dim {member!r} has no members: the selection is empty")
    return member
