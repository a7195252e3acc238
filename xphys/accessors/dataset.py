"""``ds.phys``: everything done to a Dataset, each method one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from xphys import features, fields, metrics, spectra, stats
from xphys.accessors._documented import documented
from xphys.accessors._storing import StoringAccessor
from xphys.accessors._types import (
    Bins,
    Cross,
    Dims,
    Names,
    Operator,
    Window,
)

if TYPE_CHECKING:
    pass

__all__ = ["DatasetAccessor"]


@xr.register_dataset_accessor("phys")  # type: ignore[no-untyped-call]
class DatasetAccessor(StoringAccessor):
    """Everything that xphys does to a Dataset; shown alone, a summary of the data."""

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
