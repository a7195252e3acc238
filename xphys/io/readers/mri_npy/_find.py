"""Which file of the MRI project a path stands for.

The content of such a file has no mark of its own: an array counts if its name is one that the
scripts write and its header has the kind of shape that goes with it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from xphys._storage import is_url, open_binary
from xphys.errors import FormatError
from xphys.io.readers._probe import Probe
from xphys.io.readers.mri_npy._npy import LARGEST_HEADER, MAGIC, Header, parse_header
from xphys.io.readers.mri_npy._npz import members

__all__ = ["INFO", "METADATA", "Found", "beside", "find", "is_mri_npy"]

METADATA = "metadata.npz"
INFO = "dataset_info.npz"
_NAMES = {
    "fields": re.compile(r"all_fields_\d+x\d+\.npy"),
    "windows": re.compile(r"neurops_(all|train|val|test)\.npy"),
    "pairs": re.compile(r"diffusion_(all|train|val|test)\.npy"),
    "statistics": re.compile(r"(\w+)_stats\.npz"),
}
_MEMBERS = {
    METADATA: {"field_names", "times", "x_coords", "y_coords"},
    INFO: {"channel_names", "window", "n_samples", "sample_times"},
}
_STATISTICS = {"mean", "std", "min_val", "max_val"}
_ARCHIVE = b"PK\x03\x04"


@dataclass(frozen=True)
class Found:
    """A file to open.

    Attributes
    ----------
    kind : {"fields", "windows", "pairs", "statistics"}
        What it holds.
    path : str
        Where it lies.
    part : str
        "all", "train", "val" or "test"; for statistics what they are of.
    """

    kind: str
    path: str
    part: str = ""


def beside(path: str, name: str) -> str:
    """Path or URL of another file in the same folder."""
    if is_url(path):
        return f"{path.rpartition('/')[0]}/{name}"
    return os.path.join(os.path.dirname(path), name)


def is_mri_npy(probe: Probe) -> bool:
    """True for a folder of such files, an array named and shaped like one, and the archives."""
    if not probe.start:
        return not is_url(probe.path) and bool(_in_folder(probe.path))
    name = _name(probe.path)
    try:
        if probe.start.startswith(MAGIC):
            found = _by_name(probe.path)
            return found is not None and _fits(found, _header(probe))
        if probe.start.startswith(_ARCHIVE):
            statistics = _NAMES["statistics"].fullmatch(name)
            wanted = _STATISTICS if statistics else _MEMBERS.get(name)
            return wanted is not None and wanted <= members(probe.path, probe.storage_options)
    except (FormatError, OSError):
        return False
    return False


def find(path: str) -> Found:
    """The file to open for a path.

    Parameters
    ----------
    path : str
        A file, a local folder, or the URL of a file. ``metadata.npz`` and ``dataset_info.npz``
        stand for the set that they describe.

    Returns
    -------
    Found
        What to open.

    Raises
    ------
    FormatError
        If there is none, or several.
    """
    if (found := _by_name(path)) is not None:
        return found
    folder = path
    if _name(path) in _MEMBERS:
        folder = os.path.dirname(path) or "."
    if is_url(path):
        raise FormatError(
            f"{path}: a folder behind a URL cannot be listed: name an all_fields, neurops or "
            "diffusion .npy file"
        )
    names = _in_folder(folder)
    if _name(path) in _MEMBERS:
        fields = _name(path) == METADATA
        names = [name for name in names if (_kind(name) == "fields") is fields]
    sets = [found for name in names if (found := _by_name(os.path.join(folder, name)))]
    sets = [found for found in sets if (found.kind, found.part) == ("windows", "all")] or sets
    if len(sets) == 1:
        return sets[0]
    if names:
        raise FormatError(f"{path}: expected one set, found {names[:8]}: name one of these files")
    raise FormatError(
        f"{path}: expected all_fields_*.npy with {METADATA}, neurops_*.npy, diffusion_*.npy or "
        "*_stats.npz, found none"
    )


def _header(probe: Probe) -> Header:
    with open_binary(probe.path, probe.storage_options) as file:
        return parse_header(file.read(LARGEST_HEADER), probe.path)


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] if is_url(path) else os.path.basename(path)


def _kind(name: str) -> str:
    return found.kind if (found := _by_name(name)) else ""


def _by_name(path: str) -> Found | None:
    for kind, pattern in _NAMES.items():
        if match := pattern.fullmatch(_name(path)):
            return Found(kind, path, "".join(match.groups()))
    return None


def _in_folder(folder: str) -> list[str]:
    """Arrays right in a local folder that has the archive which describes them."""
    if not os.path.isdir(folder):
        return []
    held = set(os.listdir(folder))
    kinds = ({"fields"} if METADATA in held else set()) | (
        {"windows", "pairs"} if INFO in held else set()
    )
    return sorted(name for name in held if _kind(name) in kinds)


def _fits(found: Found, header: Header) -> bool:
    if found.kind == "pairs":
        return header.dtype.kind == "O" and header.shape == ()
    rank = {"fields": 4, "windows": 5}.get(found.kind)
    return header.dtype.kind == "f" and len(header.shape) == rank
