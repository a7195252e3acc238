"""Words on the axes of figures."""

from xphys.schema import with_units

__all__ = ["with_units"]
