"""NumPy files of the MRI project as an xarray engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from xphys.errors import FormatError
from xphys.io.readers._engine import Engine, opener, paths_of, without
from xphys.io.readers.mri_npy._find import find, is_mri_npy
from xphys.io.readers.mri_npy._sets import Request, open_found

__all__ = ["MRINumpyBackend", "is_mri_npy", "open_paths"]


class MRINumpyBackend(Engine):
    """``xr.open_dataset(path, engine="mri_npy")`` for arrays and statistics of the MRI project."""

    description = "NumPy files of the MRI project (all_fields, neurops, diffusion, statistics)"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "axes",
        "box",
        "channels",
        "storage_options",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        axes: str | None = None,
        box: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
        channels: Sequence[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one set of arrays.

        Parameters
        ----------
        filename_or_obj : str or path
            ``all_fields_NxN.npy`` with ``metadata.npz`` beside it, ``neurops_*.npy``,
            ``diffusion_*.npy`` (both with ``dataset_info.npz`` beside, if there), ``*_stats.npz``,
            or the folder of one set (of windows: ``neurops_all.npy``).
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        axes : {"zx", "yx"}, optional
            What the two stored axes of a plane, (x2, x1), are; by default a radial-vertical
            plane "zx". Recorded in ``attrs["axes"]``.
        box : (float, float) or mapping of dim to that, optional
            Ends of the box of windows and pairs, whose files hold no positions; by default
            positions are in cells.
        channels : sequence of str, optional
            Stored names of the channels, where no ``dataset_info.npz`` has them.
        storage_options : mapping, optional
            For the file system of a URL.

        Returns
        -------
        Dataset
            Fields: dims ``(time, z, x)``. Windows and pairs: ``(trajectory, time, z, x)``, where
            ``time`` counts the snapshots of a window and ``sample_time`` has their times.
            Statistics: ``(channel,)``. Only headers and the small archives have been read.

        Raises
        ------
        FormatError
            If a file is damaged or its parts do not fit, or a pickle holds anything but a dict
            of plain arrays; nothing of a pickle is ever executed.
        SchemaError
            If ``axes`` or ``box`` is invalid.
        """
        paths = paths_of(filename_or_obj)
        if len(paths) != 1:
            raise FormatError(
                f"expected one set, got {len(paths)} paths: open them one by one and join them "
                "with xr.concat"
            )
        names = [channels] if isinstance(channels, str) else channels
        request = Request(axes, box, names, dict(storage_options or {}))
        return without(open_found(find(paths[0]), request), drop_variables)


open_paths = opener(MRINumpyBackend)
