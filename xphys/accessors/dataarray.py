"""``array.phys``: everything done to a DataArray, each method one call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from xphys import codecs, io, metrics, schema, spectra, stats
from xphys.accessors import _view
from xphys.accessors._convert import as_array, as_dataset, curve_of, stored_of
from xphys.accessors._documented import documented
from xphys.accessors._types import (
    Bins,
    Cross,
    Dims,
    Mode,
    Names,
    Preserve,
    Region,
    Store,
    Window,
)

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["DataArrayAccessor"]


@xr.register_dataarray_accessor("phys")  # type: ignore[no-untyped-call]
class DataArrayAccessor:
    """Everything that xphys does to a DataArray; shown alone, a summary of the data."""

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return _view.text(type(self), {"": as_dataset(self._obj)})

    def _repr_html_(self) -> str:
        return _view.html(type(self), {"": as_dataset(self._obj)})

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """Operations that led to these data, oldest first."""
        return schema.provenance(self._obj)

    @documented("xphys.schema:validate")
    def validate(self) -> list[schema.Finding]:
        """Check the data model and list what departs from it."""
        return schema.validate(as_dataset(self._obj))

    @documented("xphys.schema:normalize")
    def normalize(self, *, rename: Mapping[str, str] | None = None) -> xr.DataArray:
        """Bring names, order of dimensions and attributes to the data model."""
        return as_array(schema.normalize(as_dataset(self._obj), rename=rename), self._obj)

    @documented("xphys.codecs:compress")
    def compress(
        self,
        *,
        vrmse: float | None = None,
        rel_l2: float | None = None,
        max_abs: float | None = None,
        max_rel: float | None = None,
        psnr: float | None = None,
        pointwise_rel: float | None = None,
        scope: str | Iterable[str] = "variable",
        method: str = "auto",
        effort: str = "normal",
        preserve: Preserve = (),
        chunks: Mapping[str, int] | None = None,
        seed: int = 0,
        options: codecs.AutoOptions | None = None,
    ) -> xr.DataArray:
        """Compress within error bounds, lazily."""
        ds = codecs.compress(
            as_dataset(self._obj),
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
            chunks=chunks,
            seed=seed,
            options=options,
        )
        return as_array(ds, self._obj)

    @documented("xphys.metrics:compare")
    def compare(
        self,
        reference: xr.DataArray,
        *,
        dims: Dims | None = None,
        report: bool | Hashable = False,
        rate_distortion: bool | xr.Dataset | None = None,
    ) -> xr.Dataset:
        """Measure the errors of these data against a reference."""
        name = str(reference.name or "data")
        test, truth = (a.to_dataset(name=name) for a in (self._obj, reference))
        return metrics.compare(
            self._obj,
            reference,
            dims=dims,
            stored=stored_of(as_dataset(self._obj), name),
            report=report,
            rate_distortion=curve_of(rate_distortion, test, truth),
        )

    @documented("xphys.io:to_zarr")
    def to_zarr(
        self,
        store: Store,
        *,
        group: str | None = None,
        mode: Mode = "w-",
        append_dim: Hashable | None = None,
        region: Region | None = None,
        chunks: Mapping[str, int] | None = None,
        shards: Mapping[str, int] | None = None,
        encoding: Mapping[Hashable, Mapping[str, Any]] | None = None,
        resume: bool = True,
        compute: bool = True,
        storage_options: dict[str, Any] | None = None,
    ) -> Delayed | None:
        """Write to a Zarr store; a compressed array as its compressed bytes."""
        return io.to_zarr(
            as_dataset(self._obj),
            store,
            group=group,
            mode=mode,
            append_dim=append_dim,
            region=region,
            chunks=chunks,
            shards=shards,
            encoding=encoding,
            resume=resume,
            compute=compute,
            storage_options=storage_options,
        )

    @documented("xphys.spectra:spectra")
    def spectra(
        self,
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
    ) -> xr.DataArray:
        """Spectrum over shells of wavenumber."""
        return spectra.spectra(
            self._obj,
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
        )

    @documented("xphys.stats:moments")
    def moments(
        self,
        *,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Mean, variance, skewness and kurtosis of variables."""
        return stats.moments(
            self._obj,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.stats:pdf")
    def pdf(
        self,
        *,
        bins: Bins = 100,
        range: tuple[float, float] | None = None,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Probability density of the values of variables."""
        return stats.pdf(
            self._obj,
            bins=bins,
            range=range,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.spectra:structure_functions")
    def structure_functions(
        self,
        *,
        orders: Sequence[float] = (2, 3, 4),
        dims: Dims | None = None,
        lags: int | Sequence[int] | None = None,
        absolute: bool = False,
        skipna: bool = False,
        memory: int | str = "1GB",
        scratch: str | None = None,
    ) -> xr.Dataset:
        """Structure functions by direction and separation."""
        return spectra.structure_functions(
            self._obj,
            orders=orders,
            dims=dims,
            lags=lags,
            absolute=absolute,
            skipna=skipna,
            memory=memory,
            scratch=scratch,
        )

    @documented("xphys.spectra:autocorrelation")
    def autocorrelation(
        self,
        *,
        dims: Dims | None = None,
        lags: int | None = None,
        skipna: bool = False,
        memory: int | str = "1GB",
        scratch: str | None = None,
    ) -> xr.Dataset:
        """Autocorrelation by direction and separation."""
        return spectra.autocorrelation(
            self._obj,
            dims=dims,
            lags=lags,
            skipna=skipna,
            memory=memory,
            scratch=scratch,
        )

    @documented("xphys.spectra:correlation_lengths")
    def correlation_lengths(
        self,
        *,
        dims: Dims | None = None,
        lags: int | None = None,
        skipna: bool = False,
        memory: int | str = "1GB",
        scratch: str | None = None,
    ) -> xr.Dataset:
        """Lengths over which fields are correlated."""
        return spectra.correlation_lengths(
            self._obj,
            dims=dims,
            lags=lags,
            skipna=skipna,
            memory=memory,
            scratch=scratch,
        )

    @documented("xphys.metrics:scores")
    def scores(
        self,
        reference: xr.DataArray,
        names: Names | None = None,
        *,
        dims: Dims | None = None,
        data_range: float | None = None,
    ) -> xr.Dataset:
        """Score these fields against a reference."""
        return metrics.scores(
            self._obj,
            reference,
            names,
            dims=dims,
            data_range=data_range,
        )

    @documented("xphys.metrics:distances")
    def distances(
        self,
        reference: xr.DataArray,
        *,
        bins: int = 128,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Distances between the distributions of these values and of a reference."""
        return metrics.distances(
            self._obj,
            reference,
            bins=bins,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.metrics:ensemble_scores")
    def ensemble_scores(
        self,
        reference: xr.DataArray,
        *,
        member: str | None = None,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Score this ensemble against what came true."""
        return metrics.ensemble_scores(
            self._obj,
            reference,
            member=member,
            dims=dims,
            skipna=skipna,
        )
