"""The accessor ``.phys`` on Dataset, DataArray and DataTree; importing this registers it."""

from xphys.accessors._summary import summarize
from xphys.accessors._tables import bytes_text, facts, sections
from xphys.accessors.dataarray import DataArrayAccessor
from xphys.accessors.dataset import DatasetAccessor
from xphys.accessors.datatree import DataTreeAccessor

__all__ = [
    "DataArrayAccessor",
    "DataTreeAccessor",
    "DatasetAccessor",
    "bytes_text",
    "facts",
    "sections",
    "summarize",
]
