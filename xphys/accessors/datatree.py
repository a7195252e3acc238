"""``tree.phys``: the same for every node of a DataTree that has variables."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Literal

import xarray as xr

from xphys import codecs, fields, io, metrics, schema, spectra
from xphys.accessors import _view
from xphys.accessors._convert import (
    datasets,
    map_nodes,
    map_pairs,
    over_nodes,
    stored_of,
)
from xphys.accessors._documented import documented
from xphys.accessors._types import Bound, Cross, Dims, Preserve, Store, Window

__all__ = ["DataTreeAccessor"]


@xr.register_datatree_accessor("phys")  # type: ignore[no-untyped-call]
class DataTreeAccessor:
    """Everything that xphys does to the Datasets of a tree; shown alone, their summaries."""

    def __init__(self, obj: xr.DataTree) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return _view.text(type(self), datasets(self._obj))

    def _repr_html_(self) -> str:
        return _view.html(type(self), datasets(self._obj))

    @property
    def provenance(self) -> dict[str, list[dict[str, Any]]]:
        """Operations that led to these data, oldest first; by path of the node."""
        return over_nodes(self._obj, schema.provenance)

    @documented("xphys.schema:validate")
    def validate(self) -> dict[str, list[schema.Finding]]:
        """Check the data model and list what departs from it, by path of the node."""
        return over_nodes(self._obj, schema.validate)

    @documented("xphys.schema:normalize")
    def normalize(self, *, rename: Mapping[str, str] | None = None) -> xr.DataTree:
        """Bring names, order of dimensions and attributes to the data model."""
        return map_nodes(self._obj, lambda ds: schema.normalize(ds, rename=rename))

    @documented("xphys.codecs:compress")
    def compress(
        self,
        *,
        vrmse: Bound | None = None,
        rel_l2: Bound | None = None,
        max_abs: Bound | None = None,
        max_rel: Bound | None = None,
        psnr: Bound | None = None,
        pointwise_rel: Bound | None = None,
        scope: str | Iterable[str] = "variable",
        method: str = "auto",
        effort: str = "normal",
        preserve: Preserve = (),
        variables: Iterable[Hashable] | None = None,
        chunks: Mapping[str, int] | None = None,
        seed: int = 0,
        options: codecs.AutoOptions | None = None,
    ) -> xr.DataTree:
        """Compress every node within error bounds, lazily."""
        return map_nodes(
            self._obj,
            lambda ds: codecs.compress(
                ds,
                vrmse=vrmse,
                rel_l2=rel_l2,
                max_abs=max_abs,
                max_rel=max_rel,
                psnr=psnr,
                pointwise_rel=pointwise_rel,
                scope=scope,
                method=method,
                effort=effort,
                preserve=preserve,
                variables=variables,
                chunks=chunks,
                seed=seed,
                options=options,
            ),
        )

    @documented("xphys.metrics:compare")
    def compare(
        self,
        reference: xr.DataTree,
        *,
        dims: Dims | None = None,
        report: bool | Hashable = False,
    ) -> xr.DataTree:
        """Measure the errors of every node against that of a reference."""
        return map_pairs(
            self._obj,
            reference,
            lambda test, other: metrics.compare(
                test, other, dims=dims, stored=stored_of(test), report=report
            ),
        )

    @documented("xphys.io:tree_to_zarr")
    def to_zarr(
        self,
        store: Store,
        *,
        group: str | None = None,
        mode: Literal["w-", "w"] = "w-",
        chunks: Mapping[str, int] | None = None,
        shards: Mapping[str, int] | None = None,
        resume: bool = True,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Write every node as a group of a Zarr store, with a manifest of its own."""
        io.tree_to_zarr(
            self._obj,
            store,
            group=group,
            mode=mode,
            chunks=chunks,
            shards=shards,
            resume=resume,
            storage_options=storage_options,
        )

    @documented("xphys.spectra:spectra")
    def spectra(
        self,
        variables: Dims | None = None,
        *,
        dims: Dims | None = None,
        kind: str = "isotropic",
        quantity: str = "variance",
        cross: Cross | None = None,
        convention: str = "density",
        window: Window | None = None,
        detrend: str | None = None,
        dealias: bool = True,
        nan: str = "propagate",
        memory: int | str = "1GB",
        scratch: str | None = None,
    ) -> xr.DataTree:
        """Spectra of every node over shells of wavenumber."""
        return map_nodes(
            self._obj,
            lambda ds: spectra.spectra(
                ds,
                variables,
                dims=dims,
                kind=kind,
                quantity=quantity,
                cross=cross,
                convention=convention,
                window=window,
                detrend=detrend,
                dealias=dealias,
                nan=nan,
                memory=memory,
                scratch=scratch,
            ),
        )

    @documented("xphys.fields:derive")
    def derive(
        self,
        *names: str,
        method: str | Mapping[str, str] | None = None,
        order: int = 2,
        gamma: float | None = None,
        sound_speed: float | None = None,
    ) -> xr.DataTree:
        """Derived fields of every node."""
        return map_nodes(
            self._obj,
            lambda ds: fields.derive(
                ds, *names, method=method, order=order, gamma=gamma, sound_speed=sound_speed
            ),
        )

    @documented("xphys.fields:invariants")
    def invariants(
        self,
        *,
        scalars: bool | Iterable[str] = False,
        method: str | Mapping[str, str] | None = None,
        order: int = 2,
        gamma: float | None = None,
        sound_speed: float | None = None,
    ) -> xr.DataTree:
        """Integrals over space of every node, for each time."""
        return map_nodes(
            self._obj,
            lambda ds: fields.invariants(
                ds,
                scalars=scalars,
                method=method,
                order=order,
                gamma=gamma,
                sound_speed=sound_speed,
            ),
        )
