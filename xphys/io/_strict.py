"""What ``xphys.open`` does with a Zarr group before it trusts it."""

from __future__ import annotations

from typing import Any, Literal

from zarr.abc.store import Store

from xphys.errors import CorruptDataError, UnfinishedStoreError
from xphys.io import _objects as objects
from xphys.io._checking import CheckingStore
from xphys.io._journal import read_run
from xphys.io._manifest import MARK, load, parse_document
from xphys.io._manifest import PLACE as MANIFEST
from xphys.io._verify import require_sound

__all__ = ["checked"]


def checked(store: Store, group: str, strict: bool | Literal["full"]) -> CheckingStore | None:
    """A store that checks what it hands out, None for a group without manifest.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the group in it.
    strict : bool or "full"
        False: None always; "full": every unit is read and checked now.

    Returns
    -------
    CheckingStore or None
        The root document and the manifest have been checked.

    Raises
    ------
    UnfinishedStoreError
        If a write has not sealed the group.
    CorruptDataError
        If the manifest or the root document was changed or has gone.
    """
    if strict is False:
        return None
    key = objects.join(group, "zarr.json")
    root = objects.read(store, key)
    manifest = load(store, group)
    if manifest is None or root is None or not manifest.matches("zarr.json", root):
        _explain(store, group, root, manifest is not None)
        return None
    if strict == "full":
        require_sound(store, group)
    return CheckingStore(store, group, manifest)


def _explain(store: Store, group: str, root: bytes | None, manifest: bool) -> None:
    """Raise what the trouble is; return where there is no manifest and need be none."""
    key = objects.join(group, "zarr.json")
    if read_run(store, group) is not None:
        raise UnfinishedStoreError(
            f"{store}: a write has not been finished: run the code that began it again, undo it "
            "with xphys.repair(url), or look at what is there with strict=False"
        )
    if manifest:
        what = "is missing from" if root is None else "was changed after the sealing of"
        raise CorruptDataError(f"{key} {what} {store}: repair it with xphys.repair(url, source)")
    marked: Any = parse_document(root, key) if root is not None else {}
    attributes = marked.get("attributes")
    if isinstance(attributes, dict) and MARK in attributes:
        place = objects.join(group, MANIFEST, "zarr.json")
        raise CorruptDataError(f"{place} is missing from {store}, which was sealed")
