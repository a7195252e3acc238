"""Words of The Well's layout, which its reader and its writer share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = [
    "BOUNDARIES",
    "COMPONENTS",
    "COORDINATES",
    "FIELDS",
    "FLAGS",
    "MARK",
    "MASK",
    "POINT",
    "REPEATED",
    "ROOT",
    "VALUES",
    "component_names",
]

#: Groups of fields by the order of the tensor.
FIELDS = ("t0_fields", "t1_fields", "t2_fields")
#: Attributes of the root that the layout defines.
ROOT = ("dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters")
#: Attributes of a dataset that say along what it varies.
FLAGS = ("sample_varying", "time_varying", "dim_varying")
#: Kinds of boundary conditions -> words of the data model.
BOUNDARIES = {"PERIODIC": "periodic", "WALL": "wall", "OPEN": "open"}

# A boundary condition that is more than the two ends of an axis is a pair of coordinates:
# boundary_<name> with its mask and boundary_<name>_values along boundary_<name>_point.
MASK = "boundary_"
VALUES = "_values"
POINT = "_point"

# What xphys adds for the way back; programs that do not know it pass over it.
#: Attribute of the root: every attribute of the Dataset is in the file, none is to be added.
MARK = "xphys_layout"
#: Attribute of a vector or tensor: JSON, component -> name and attributes of its own.
COMPONENTS = "xphys_components"
#: Attribute of a field: axes along which its values are the same. The flag of the layout for that,
#: dim_varying, leads WellDataset (1.2) to tile along other axes.
REPEATED = "xphys_repeated"
#: Group of coordinates that the layout has no place for.
COORDINATES = "xphys_coordinates"


def component_names(axes: Sequence[str], order: int) -> tuple[str, ...]:
    """Names of the components of a tensor, in the order in which they are stored.

    Parameters
    ----------
    axes : sequence of str
        Names of the axes in the order of the file.
    order : int
        0 for a scalar, 1 for a vector, 2 for a tensor.

    Returns
    -------
    tuple of str
        Last index fastest; letters are put together, longer names joined with ``_``.

    Examples
    --------
    >>> component_names(("x", "y"), 2)
    ('xx', 'xy', 'yx', 'yy')
    >>> component_names(("log_r", "theta"), 1)
    ('log_r', 'theta')
    """
    between = "" if all(len(axis) == 1 for axis in axes) else "_"
    return tuple(between.join(parts) for parts in itertools.product(axes, repeat=order))
