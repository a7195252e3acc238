"""The public data sets of The Well by their names: ``the_well://DATASET/SPLIT``."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from typing import Any

from xphys._storage import find, is_url
from xphys.errors import FormatError, RemoteError, UnknownNameError

__all__ = ["BASE", "SCHEME", "find_public", "is_public"]

SCHEME = "the_well://"
#: Where the project keeps them: BASE/DATASET/data/SPLIT/*.hdf5, one repository for each data set.
BASE = "hf://datasets/polymathic-ai"

_SPLITS = ("train", "valid", "test")
_SUFFIXES = (".hdf5", ".h5")
_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*")
# Of the package the_well; a mirror may hold others.
_DATASETS = (
    "MHD_256",
    "MHD_64",
    "acoustic_scattering_discontinuous",
    "acoustic_scattering_inclusions",
    "acoustic_scattering_maze",
    "active_matter",
    "convective_envelope_rsg",
    "euler_multi_quadrants_openBC",
    "euler_multi_quadrants_periodicBC",
    "gray_scott_reaction_diffusion",
    "helmholtz_staircase",
    "planetswe",
    "post_neutron_star_merger",
    "rayleigh_benard",
    "rayleigh_benard_uniform",
    "rayleigh_taylor_instability",
    "shear_flow",
    "supernova_explosion_128",
    "supernova_explosion_64",
    "turbulence_gravity_cooling",
    "turbulent_radiative_layer_2D",
    "turbulent_radiative_layer_3D",
    "viscoelastic_instability",
    "viscoelastic_instability_v2",
)


def is_public(path: str) -> bool:
    """Whether a source names a public data set."""
    return path.startswith(SCHEME)


def find_public(
    url: str,
    split: str | None = None,
    base: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """List the files of a split of a public data set, by one list of its server.

    Parameters
    ----------
    url : str
        ``the_well://DATASET/SPLIT``, or without the split.
    split : str, optional
        "train", "valid" or "test", where the URL names none.
    base : str, optional
        Folder or URL of the data sets, by default the project's on the Hugging Face hub.
    storage_options : mapping, optional
        For the file system of URLs; ``endpoint`` for another hub.

    Returns
    -------
    list of str
        At least one, sorted by name.

    Raises
    ------
    FormatError
        If the URL has another form, or names no split.
    UnknownNameError
        If there is no such data set or split.
    """
    name, _, inside = url.removeprefix(SCHEME).strip("/").partition("/")
    chosen = inside or split
    if not _NAME.fullmatch(name) or "/" in inside or (split and inside not in ("", split)):
        raise FormatError(f"{url}: expected the_well://DATASET/SPLIT, e.g. the_well://MHD_64/train")
    if chosen is None:
        raise FormatError(f"{url}: name the split too, such as {SCHEME}{name}/train")
    if chosen not in _SPLITS:
        raise UnknownNameError(f"{url}: expected a split out of {_SPLITS}, got {chosen!r}")
    folder = f"{(base or BASE).rstrip('/')}/{name}/data/{chosen}"
    found, said = _listed(folder, storage_options)
    if not found:
        raise UnknownNameError(f"{url}: {said}; {_advice(name, base)}")
    return found


def _listed(folder: str, storage_options: Mapping[str, Any] | None) -> tuple[list[str], str]:
    """Files, and what to say if there are none."""
    try:
        if is_url(folder):
            every = find(f"{folder}/*", storage_options)
        else:
            every = sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    except RemoteError as error:
        if error.status not in (401, 403):  # so the hub answers for what there is not
            raise
        return [], f"the server refuses to list {folder} ({error.status})"
    found = [path for path in every if path.endswith(_SUFFIXES)]
    return found, f"nothing was found in {folder}"


def _advice(name: str, base: str | None) -> str:
    if name in _DATASETS:
        place = "there" if base else "on the hub"
        return f"not every data set is {place}: name another place of them with base=..."
    close = [known for known in _DATASETS if known.lower().startswith(name[:4].lower())]
    return f"expected a data set such as {', '.join(close or _DATASETS)}"
