"""The data model: dims, coordinates, vectors, boundaries, provenance; checks and mending."""

from xphys.schema._axes import (
    BOUNDARIES,
    DIM_ORDER,
    ENSEMBLE_DIMS,
    SPACINGS,
    SPATIAL_DIMS,
    Axis,
    axis,
    spatial_dims,
)
from xphys.schema._labels import with_units
from xphys.schema._normalize import normalize
from xphys.schema._provenance import PROVENANCE, provenance, record
from xphys.schema._validate import VERIFIED, Finding, validate
from xphys.schema._vectors import vectors

__all__ = [
    "BOUNDARIES",
    "DIM_ORDER",
    "ENSEMBLE_DIMS",
    "PROVENANCE",
    "SPACINGS",
    "SPATIAL_DIMS",
    "VERIFIED",
    "Axis",
    "Finding",
    "axis",
    "normalize",
    "provenance",
    "record",
    "spatial_dims",
    "validate",
    "vectors",
    "with_units",
]
