"""All features that there are, and which numbers of a frame they are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from xphys.features._definitions import STANDARD, numbered
from xphys.features._kernels import cross_channel, harmonics, series, spatial, spectral
from xphys.features._kernels.conditional import conditional_information
from xphys.features._kernels.distributional import distributional
from xphys.features._kernels.extra import extensions
from xphys.features._kernels.frames import Frames
from xphys.features._kernels.further import sequences, spatial_extensions
from xphys.features._kernels.grid import Grid
from xphys.features._kernels.initial import initial
from xphys.features._kernels.morphological import morphological
from xphys.features._kernels.multiscale import multiscale
from xphys.features._kernels.physics import physics
from xphys.features._kernels.structural import structural
from xphys.features._optional_definitions import OPTIONAL
from xphys.features._registry import Feature, Registry

__all__ = ["GROUPS", "Group", "Plan", "registry"]


@cache
def registry() -> Registry:
    """Register of all features: the 153, then the optional families.

    Returns
    -------
    Registry
        A mapping of names to `Feature`, which can be asked by number, index and family.

    Examples
    --------
    >>> registry()["spectral_rolloff"].number
    45
    >>> len(registry().select(standard=True))
    153
    """
    return Registry([*STANDARD, *numbered(OPTIONAL, len(STANDARD) + 1, {}, standard=False)])


@dataclass(frozen=True)
class Group:
    """Numbers of a frame that one kernel makes.

    Attributes
    ----------
    kernel : callable
        Frames -> array (frame, channel, column), or (frame, column) if joint.
    columns : tuple of str
        What they are.
    joint : bool
        Whether a column is of all channels together.
    first : bool
        Whether they are wanted of the first step only.
    """

    kernel: Callable[[Frames], Any]
    columns: tuple[str, ...]
    joint: bool = False
    first: bool = False


def _own(family: str, level: str | None = None) -> tuple[str, ...]:
    return tuple(feature.name for feature in registry().select(family=family, level=level))


@cache
def _groups() -> dict[str, Group]:
    norms = tuple(f"{norm}_{scale}" for norm in series.NORMS for scale in series.SCALES)
    return {
        "spatial": Group(spatial.spatial, _own("spatial")),
        "spectral": Group(spectral.spectral, _own("spectral")),
        "cross_channel": Group(cross_channel.cross_channel, _own("cross_channel"), joint=True),
        "mutual_information": Group(
            cross_channel.mutual_information, _own("mutual_information"), joint=True
        ),
        "series": Group(series.series, series.SERIES),
        "norms": Group(series.norms, norms),
        "flow": Group(series.flow, series.FLOW),
        "bands": Group(harmonics.bands, harmonics.BANDS),
        "extensions": Group(extensions, _own("extensions", "step")),
        "distributional": Group(distributional, _own("distributional")),
        "structural": Group(structural, _own("structural")),
        "morphological": Group(morphological, _own("morphological")),
        "multiscale": Group(multiscale, _own("multiscale")),
        "initial": Group(initial, _own("initial"), first=True),
        "physics": Group(physics, _own("physics")),
        "spatial_extensions": Group(spatial_extensions, _own("spatial_extensions")),
        "harmonics": Group(harmonics.harmonics, _own("harmonics")),
        "conditional_information": Group(
            conditional_information, _own("conditional_information"), joint=True
        ),
        "sequences": Group(sequences, _own("sequences")),
    }


GROUPS = _groups()
#: Series that the families of trajectories are made from.
NEEDS = {
    "temporal": ("series", "flow"),
    "causality": ("series", "flow"),
    "invariant_drift": ("norms",),
    "extensions": ("series",),
    "nonlinear": ("series",),
    "temporal_extensions": ("series",),
    "dissipation": ("bands",),
}


@dataclass(frozen=True)
class Plan:
    """Which numbers are made of each frame, and where they lie in its row.

    Attributes
    ----------
    grid : Grid
        Axes of the fields.
    channels : int
        Number of channels.
    groups : tuple of str
        Names in `GROUPS`, in the order of the row.
    """

    grid: Grid
    channels: int
    groups: tuple[str, ...]

    def width(self, group: str) -> int:
        """Numbers in the row that belong to a group."""
        one = GROUPS[group]
        return len(one.columns) * (1 if one.joint else self.channels)

    @property
    def size(self) -> int:
        """Length of the row."""
        return sum(self.width(group) for group in self.groups)

    def part(self, rows: Any, group: str) -> Any:
        """Columns of one group: (..., channel, column), with one channel if joint."""
        start = sum(self.width(g) for g in self.groups[: self.groups.index(group)])
        cut = rows[..., start : start + self.width(group)]
        return cut.reshape(*cut.shape[:-1], -1, len(GROUPS[group].columns))


def groups_of(features: Sequence[Feature]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Groups that features need of every step, and of the first step only."""
    every: dict[str, None] = {}
    first: dict[str, None] = {}
    for feature in features:
        if feature.level == "step" or feature.family == "initial":
            needed: tuple[str, ...] = (feature.family,)
        else:
            needed = NEEDS.get(feature.family, ())
        for group in needed:
            (first if GROUPS[group].first else every)[group] = None
    return tuple(every), tuple(first)


@cache
def column(group: str, name: str) -> int:
    """Place of a feature in its group."""
    return GROUPS[group].columns.index(name)
