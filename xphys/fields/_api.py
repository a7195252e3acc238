"""Derived fields of labelled Datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from xphys.errors import UnknownNameError
from xphys.fields._axes import check_method
from xphys.fields._catalog import Output
from xphys.fields._kernels import result_dtype
from xphys.fields._source import Settings, Source
from xphys.fields._table import FIELDS, evaluate
from xphys.schema import SPATIAL_DIMS, record

__all__ = ["FIELDS", "derive"]


def derive(
    ds: xr.Dataset,
    *names: str,
    method: str | Mapping[str, str] | None = None,
    order: int = 2,
    gamma: float | None = None,
    sound_speed: float | None = None,
) -> xr.Dataset:
    r"""Compute fields that follow from the fields of a Dataset.

    Known names, with u the vector ``velocity``, B ``magnetic_field`` (in units in which magnetic
    pressure is :math:`B^2/2`) and :math:`\rho` the variable ``density`` (1 where there is none):

    - ``divergence`` (of each complete vector), ``divergence_<vector>``, ``gradient_<variable>``,
      ``gradient_<vector>`` (components ``ab`` = :math:`\partial_a v_b`), ``curl_<vector>``
    - ``vorticity`` :math:`\omega = \nabla\times u`, ``strain_rate``
      :math:`S_{ab} = (\partial_a u_b + \partial_b u_a)/2`, ``q_criterion``
      :math:`-\partial_a u_b\,\partial_b u_a/2`, ``enstrophy`` :math:`\omega^2/2`,
      ``kinetic_helicity`` :math:`u\cdot\omega`
    - ``kinetic_energy`` :math:`\rho u^2/2`, ``magnetic_energy`` :math:`B^2/2`,
      ``internal_energy`` :math:`p/(\gamma-1)`, all per volume
    - ``current_density`` :math:`\nabla\times B`, ``cross_helicity`` :math:`u\cdot B`,
      ``elsasser_plus``, ``elsasser_minus`` :math:`u \pm B/\sqrt\rho`, both as ``elsasser``
    - on fully periodic boxes ``vector_potential`` :math:`\nabla\times A = B` (Coulomb gauge, zero
      mean), ``magnetic_helicity`` :math:`A\cdot B`, in two dims ``streamfunction``
      :math:`-\nabla^2\psi = \omega`, and ``velocity`` from a stored ``vorticity``
    - ``pressure``, ``temperature`` :math:`p/\rho`, ``sound_speed`` c, ``mach``
      :math:`|u|/c`, ``alfven_speed`` :math:`v_A = |B|/\sqrt\rho`, ``mach_alfven``,
      ``plasma_beta`` :math:`2p/B^2`

    Components are right-handed in (x, y, z) whichever dims exist; nothing depends on a dim that
    does not. ``name_x`` asks for one component. The flow of a 2-D box that has no component
    across it has one scalar ``vorticity``, :math:`\partial_a u_b - \partial_b u_a` for axes a
    before b in (x, y, z): in (x, z) that is minus the y component.

    Parameters
    ----------
    ds : Dataset
        Variables with attrs ``vector`` and ``component``; any chunks.
    *names : str
        What to compute.
    method : {"spectral", "finite", "compact", "chebyshev"} or mapping of dim to one, optional
        How to differentiate. None: spectral on periodic axes (the Nyquist mode of an even number
        of points has no derivative), the polynomial through all points on Chebyshev axes, else
        finite differences. "finite" on a periodic axis wraps around. "compact" (Pade) differences,
        on open uniform axes, resolve short waves better than finite ones of the same order.
    order : {2, 4, 6}
        Order of finite differences, also at the ends and on non-uniform axes; of compact ones 4
        or 6.
    gamma : float, optional
        Ratio of specific heats; by default the coordinate or attribute of that name.
    sound_speed : float, optional
        Isothermal sound speed, alike; given here it goes before stored pressures and energies.

    Returns
    -------
    Dataset
        Lazy where the inputs are, with their dims and coordinates; computed in float64 and
        rounded once, to float32 if all inputs are. Units are products of those given; where
        some are missing, "1" if the data state no others, else left out. Attribute ``method``
        says how each axis was differentiated, ``comment`` what was assumed. NaN and infinity
        spread: over lines along spectral and Chebyshev axes, over the whole box in potentials,
        else to the points of a stencil.

    Raises
    ------
    UnknownNameError
        If no name is given, or a name, vector or variable is not known.
    SchemaError
        If a component, variable or constant is missing, values are not real numbers, units do
        not fit, the data are a slice across an axis that is needed, or an axis does not allow
        the method (positions, period, number of points).

    Notes
    -----
    Spectral, Chebyshev and compact derivatives need an axis in one chunk and rechunk it, one axis
    at a time, cutting the others to keep the size of chunks; a task holds about 4 times its chunk
    in float64. Finite differences exchange halos of order/2 points. All give the same bits for
    any chunks.

    Examples
    --------
    >>> import numpy as np
    >>> x = xr.Variable("x", np.arange(8) / 8, {"period": 1.0, "units": "m"})
    >>> tag = {"vector": "velocity", "component": "x", "units": "m/s"}
    >>> ds = xr.Dataset({"u": ("x", np.sin(2 * np.pi * x.data), tag)}, coords={"x": x})
    >>> derive(ds, "divergence").divergence_velocity.attrs["units"]
    's-1'
    """
    if not names:
        raise UnknownNameError(f"expected the name of a derived field out of {sorted(FIELDS)}")
    check_method(method, order)
    source = Source(ds, Settings(method, order, gamma, sound_speed))
    fields: dict[str, xr.DataArray] = {}
    for name in names:
        own = source.fresh()
        for key, output in evaluate(own, name).items():
            fields[key] = _labelled(own, key, output)
    result = xr.Dataset(fields, attrs=ds.attrs)
    settings: dict[str, Any] = {
        "method": dict(method) if isinstance(method, Mapping) else method,
        "order": None if order == 2 else order,
        "gamma": gamma,
        "sound_speed": sound_speed,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    return record(result, "derive", {"names": list(names), **given})


def _labelled(source: Source, name: str, output: Output) -> xr.DataArray:
    values = output.values.astype(result_dtype(*source.dtypes), copy=False)
    result = values.transpose(*(d for d in source.dims if d in values.dims)).rename(name)
    if name in result.coords:  # a parameter that the field takes the place of
        result = result.drop_vars(name)
    attrs: dict[str, Any] = {"long_name": output.long_name, **output.attrs}
    if source.methods:
        dims = [d for d in SPATIAL_DIMS if d in source.methods]
        attrs["method"] = ", ".join(f"{d}: {source.methods[d]}" for d in dims)
    if source.notes:
        attrs["comment"] = "; ".join(source.notes)
    units = source.written(output.unit)
    if units is not None:
        attrs["units"] = units
    result.attrs = attrs
    return result
