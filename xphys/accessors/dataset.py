"""``ds.phys``: everything done to a Dataset, each method one call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from xphys import codecs, features, fields, io, metrics, schema, spectra, stats
from xphys.accessors import _view
from xphys.accessors._convert import stored_of
from xphys.accessors._documented import documented
from xphys.accessors._types import (
    Bins,
    Bound,
    Cross,
    Dims,
    DType,
    FilePath,
    Mode,
    Names,
    Operator,
    Preserve,
    Region,
    Store,
    Window,
)

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["DatasetAccessor"]


@xr.register_dataset_accessor("phys")  # type: ignore[no-untyped-call]
class DatasetAccessor:
    """Everything that xphys does to a Dataset; shown alone, a summary of the data."""

    def __init__(self, obj: xr.Dataset) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return _view.text(type(self), {"": self._obj})

    def _repr_html_(self) -> str:
        return _view.html(type(self), {"": self._obj})

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """Operations that led to these data, oldest first."""
        return schema.provenance(self._obj)

    @documented("xphys.schema:validate")
    def validate(self) -> list[schema.Finding]:
        """Check the data model and list what departs from it."""
        return schema.validate(self._obj)

    @documented("xphys.schema:normalize")
    def normalize(self, *, rename: Mapping[str, str] | None = None) -> xr.Dataset:
        """Bring names, order of dimensions and attributes to the data model."""
        return schema.normalize(self._obj, rename=rename)

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
        options: codecs.AutoOptions | None = None,
    ) -> xr.Dataset:
        """Compress within error bounds, lazily."""
        return codecs.compress(
            self._obj,
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
            options=options,
        )

    @documented("xphys.codecs:estimate_compression")
    def estimate_compression(
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
        options: codecs.AutoOptions | None = None,
    ) -> xr.Dataset:
        """Ratio, seconds and method of each variable, from a sample."""
        return codecs.estimate_compression(
            self._obj,
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
            options=options,
        )

    @documented("xphys.metrics:compare")
    def compare(self, reference: xr.Dataset, *, dims: Dims | None = None) -> xr.Dataset:
        """Measure the errors of these data against a reference."""
        return metrics.compare(self._obj, reference, dims=dims, stored=stored_of(self._obj))

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
        """Write to a Zarr store; a compressed Dataset as its compressed bytes."""
        return io.to_zarr(
            self._obj,
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

    @documented("xphys.io:to_gust")
    def to_gust(
        self,
        path: FilePath,
        *,
        names: Mapping[str, str] | None = None,
        mode: Literal["w-", "w"] = "w-",
        resume: bool = True,
    ) -> None:
        """Write 2-D fields over time as the HDF5 file that Gust reads."""
        io.to_gust(self._obj, path, names=names, mode=mode, resume=resume)

    @documented("xphys.io:to_the_well")
    def to_the_well(
        self,
        path: FilePath,
        *,
        split: str = "train",
        dataset_name: str | None = None,
        dtype: DType | None = None,
        mode: Literal["w-", "w"] = "w-",
        resume: bool = True,
    ) -> None:
        """Write a file of The Well."""
        io.to_the_well(
            self._obj,
            path,
            split=split,
            dataset_name=dataset_name,
            dtype=dtype,
            mode=mode,
            resume=resume,
        )

    @documented("xphys.io:to_netcdf")
    def to_netcdf(
        self,
        path: FilePath,
        *,
        level: int = 4,
        chunks: Mapping[str, int] | None = None,
        mode: Literal["w-", "w"] = "w-",
        resume: bool = True,
    ) -> None:
        """Write a netCDF-4 file with CF attributes."""
        io.to_netcdf(self._obj, path, level=level, chunks=chunks, mode=mode, resume=resume)

    @documented("xphys.stats:statistics")
    def stats(self, variables: Dims | None = None, *, skipna: bool = False) -> xr.Dataset:
        """Mean, standard deviation, extremes and root mean square of whole variables."""
        return stats.statistics(self._obj, variables, skipna=skipna)

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
    ) -> xr.Dataset:
        """Spectra over shells of wavenumber: power, cross, helicity, transfer."""
        return spectra.spectra(
            self._obj,
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
        )

    @documented("xphys.features:features")
    def features(
        self,
        families: Names | None = None,
        names: Names | None = None,
        *,
        level: str = "trajectory",
        over_realizations: Names = ("mean", "std", "cv"),
        over_time: Names | None = None,
        operator: Operator | None = None,
    ) -> xr.DataArray:
        """Describe steps and trajectories by named numbers."""
        return features.features(
            self._obj,
            families,
            names,
            level=level,
            over_realizations=over_realizations,
            over_time=over_time,
            operator=operator,
        )

    @documented("xphys.fields:degrade")
    def degrade(self, factor: int | Mapping[str, int], *, method: str = "block") -> xr.Dataset:
        """Bring fields to a coarser grid, by means over cells or cut Fourier series."""
        return fields.degrade(self._obj, factor, method=method)

    @documented("xphys.fields:derive")
    def derive(
        self,
        *names: str,
        method: str | Mapping[str, str] | None = None,
        order: int = 2,
        gamma: float | None = None,
        sound_speed: float | None = None,
    ) -> xr.Dataset:
        """Derived fields such as vorticity or current density."""
        return fields.derive(
            self._obj, *names, method=method, order=order, gamma=gamma, sound_speed=sound_speed
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
    ) -> xr.Dataset:
        """Integrals over space such as mass and energy, for each time."""
        return fields.invariants(
            self._obj,
            scalars=scalars,
            method=method,
            order=order,
            gamma=gamma,
            sound_speed=sound_speed,
        )

    @documented("xphys.stats:moments")
    def moments(
        self,
        variables: Dims | None = None,
        *,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Mean, variance, skewness and kurtosis of variables."""
        return stats.moments(
            self._obj,
            variables,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.stats:pdf")
    def pdf(
        self,
        variables: Dims | None = None,
        *,
        bins: Bins = 100,
        range: tuple[float, float] | None = None,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Probability density of the values of variables."""
        return stats.pdf(
            self._obj,
            variables,
            bins=bins,
            range=range,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.spectra:structure_functions")
    def structure_functions(
        self,
        variables: Dims | None = None,
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
            variables,
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
        variables: Dims | None = None,
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
            variables,
            dims=dims,
            lags=lags,
            skipna=skipna,
            memory=memory,
            scratch=scratch,
        )

    @documented("xphys.spectra:correlation_lengths")
    def correlation_lengths(
        self,
        variables: Dims | None = None,
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
            variables,
            dims=dims,
            lags=lags,
            skipna=skipna,
            memory=memory,
            scratch=scratch,
        )

    @documented("xphys.metrics:scores")
    def scores(
        self,
        reference: xr.Dataset,
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
        reference: xr.Dataset,
        variables: Dims | None = None,
        *,
        bins: int = 128,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Distances between the distributions of these values and of a reference."""
        return metrics.distances(
            self._obj,
            reference,
            variables,
            bins=bins,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.metrics:ensemble_scores")
    def ensemble_scores(
        self,
        reference: xr.Dataset,
        variables: Dims | None = None,
        *,
        member: str | None = None,
        dims: Dims | None = None,
        skipna: bool = False,
    ) -> xr.Dataset:
        """Score this ensemble against what came true."""
        return metrics.ensemble_scores(
            self._obj,
            reference,
            variables,
            member=member,
            dims=dims,
            skipna=skipna,
        )

    @documented("xphys.metrics:analyze")
    def analyze(
        self,
        reference: xr.Dataset,
        variable: str | None = None,
        *,
        bins: int = 100,
        range: tuple[float, float] | None = None,
        samples: tuple[int | None, int | None] | None = None,
    ) -> xr.Dataset:
        """Analyse this reconstruction of a flow: spectra, values, errors."""
        return metrics.analyze(
            self._obj,
            reference,
            variable,
            bins=bins,
            range=range,
            samples=samples,
        )

    @documented("xphys.metrics:domain_gap")
    def domain_gap(
        self,
        other: xr.Dataset,
        variables: Dims | None = None,
        *,
        method: str = "block",
        bins: int = 100,
    ) -> xr.Dataset:
        """Compare with the same run at another resolution."""
        return metrics.domain_gap(
            self._obj,
            other,
            variables,
            method=method,
            bins=bins,
        )

    @documented("xphys.metrics:sustained")
    def sustained(
        self,
        *,
        variable: str | None = None,
        mid: tuple[float, float] | None = None,
        late: tuple[float, float] | None = None,
        period: float | None = None,
        thresholds: tuple[float, float] = (0.3, 0.01),
    ) -> xr.Dataset:
        """Tell whether turbulence lasts."""
        return metrics.sustained(
            self._obj,
            variable=variable,
            mid=mid,
            late=late,
            period=period,
            thresholds=thresholds,
        )
