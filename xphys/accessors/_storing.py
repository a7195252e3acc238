"""The part of ``ds.phys`` that checks, compresses, compares and writes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from xphys import codecs, io, metrics, schema
from xphys.accessors import _view
from xphys.accessors._convert import curve_of, stored_of
from xphys.accessors._documented import documented
from xphys.accessors._types import (
    Bound,
    Dims,
    DType,
    FilePath,
    Mode,
    Preserve,
    Region,
    Store,
)

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["StoringAccessor"]


class StoringAccessor:
    """Holds the Dataset; methods that check, compress, compare and write it."""

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
        seed: int = 0,
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
            seed=seed,
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
        seed: int = 0,
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
            seed=seed,
            options=options,
        )

    @documented("xphys.codecs:rate_distortion")
    def rate_distortion(
        self,
        *,
        targets: Sequence[float] = (1e-1, 3e-2, 1e-2, 1e-3, 1e-4),
        variables: Dims | None = None,
        method: str = "auto",
        effort: str = "normal",
        options: codecs.AutoOptions | None = None,
        sample: int = 2**21,
    ) -> xr.Dataset:
        """Bits per value at several error bounds, from a sample."""
        return codecs.rate_distortion(
            self._obj,
            targets=targets,
            variables=variables,
            method=method,
            effort=effort,
            options=options,
            sample=sample,
        )

    @documented("xphys.metrics:compare")
    def compare(
        self,
        reference: xr.Dataset,
        *,
        dims: Dims | None = None,
        report: bool | Hashable = False,
        rate_distortion: bool | xr.Dataset | None = None,
    ) -> xr.Dataset:
        """Measure the errors of these data against a reference."""
        return metrics.compare(
            self._obj,
            reference,
            dims=dims,
            stored=stored_of(self._obj),
            report=report,
            rate_distortion=curve_of(rate_distortion, self._obj, reference),
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
