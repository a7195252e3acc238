"""The manifest of a sealed group: digests of its documents and a record for every unit.

It lies under ``_xphys/manifest`` in the group: one Zarr array of records for each variable,
``(unit, record)`` bytes, and the attributes of the group, which hold the rest and a digest of
themselves. The group document is written last: with it the store is sealed.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from zarr.abc.store import Store

from xphys._streams import deflate, inflate
from xphys.errors import CorruptDataError, FormatError
from xphys.io import _objects as objects
from xphys.io._layout import Index, Layout
from xphys.io._records import RECORD, UNKNOWN, digest

__all__ = [
    "MARK",
    "PLACE",
    "Manifest",
    "blank_records",
    "document_bytes",
    "listing",
    "load",
    "load_records",
    "nodes_inside",
    "nodes_of_groups_below",
    "own_part",
    "pack_records",
    "parse",
    "parse_document",
    "records_document",
    "records_key",
]

PLACE = "_xphys/manifest"
#: Attribute of a group that must have a manifest.
MARK = "xphys_manifest"
VERSION = 1
# A document larger than this is no document of a manifest.
_LARGEST_DOCUMENT = 2**28
# Records of an array above this size: over 14 million units.
_LARGEST_TABLE = 2**30


def document_bytes(document: dict[str, Any]) -> bytes:
    """The one way in which documents are written: equal content gives equal bytes."""
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def parse_document(data: bytes, key: str) -> dict[str, Any]:
    """A JSON document, or an error that names its key."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{key}: expected JSON, found damage: {error}") from None
    if not isinstance(document, dict):
        raise CorruptDataError(f"{key}: expected a JSON object, found {type(document).__name__}")
    return document


def own_part(document: dict[str, Any], own: Collection[str]) -> dict[str, Any]:
    """A group document whose consolidated metadata names arrays of this group only.

    Groups above others also list what is below them, for readers that cannot list a store; that
    part changes when a group below is written, and is no part of what is sealed here.
    """
    consolidated = document.get("consolidated_metadata")
    if not isinstance(consolidated, dict):
        return document
    inside = consolidated.get("metadata")
    if not isinstance(inside, dict):
        raise CorruptDataError("zarr.json: expected consolidated metadata of nodes")
    kept = {path: node for path, node in inside.items() if f"{path}/zarr.json" in own}
    return {**document, "consolidated_metadata": {**consolidated, "metadata": kept}}


def nodes_inside(document: dict[str, Any]) -> dict[str, Any]:
    """Nodes in the consolidated metadata of a group document."""
    found = (document.get("consolidated_metadata") or {}).get("metadata")
    return found if isinstance(found, dict) else {}


def nodes_of_groups_below(document: dict[str, Any]) -> dict[str, Any]:
    """Of these the groups, and what lies in them."""
    nodes = nodes_inside(document)
    groups = {path for path, node in nodes.items() if node.get("node_type") == "group"}
    return {
        path: node
        for path, node in nodes.items()
        if path in groups or any(path.startswith(f"{group}/") for group in groups)
    }


def listing(document: dict[str, Any], nodes: dict[str, Any]) -> dict[str, Any]:
    """A group document with these nodes in its consolidated metadata."""
    consolidated = {"kind": "inline", "must_understand": False, "metadata": nodes}
    return {**document, "consolidated_metadata": consolidated}


@dataclass
class Manifest:
    """What the group document of a manifest holds.

    Attributes
    ----------
    fingerprints : list of str
        One for each run that wrote into the group, hexadecimal; records name them by number.
    documents : dict
        Key of each metadata document in the group -> digest of its bytes.
    layouts : dict
        Path of each array -> its grid.
    tables : dict
        Path of each array -> digest of the stored records.
    inline : dict
        Key in the group -> bytes of small objects that are needed to open it: readers of a server
        need no request for them.
    """

    fingerprints: list[str]
    documents: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    inline: dict[str, bytes] = field(default_factory=dict)

    def fingerprint(self, generation: int) -> bytes:
        """Fingerprint of a generation."""
        if generation >= len(self.fingerprints):
            raise CorruptDataError(f"a record names run {generation} of {len(self.fingerprints)}")
        return bytes.fromhex(self.fingerprints[generation])

    def attributes(self) -> dict[str, Any]:
        """JSON values, with the digest of them all."""
        body: dict[str, Any] = {
            "version": VERSION,
            "fingerprints": self.fingerprints,
            "documents": self.documents,
            "arrays": {
                path: {
                    "shape": list(layout.shape),
                    "chunk": list(layout.chunk),
                    "stored": list(layout.stored),
                    "separator": layout.separator,
                    "prefix": layout.prefix,
                    "codec": layout.codec,
                    "records": self.tables[path],
                }
                for path, layout in self.layouts.items()
            },
        }
        if self.inline:
            body["inline"] = {k: b64encode(v).decode() for k, v in self.inline.items()}
        return {**body, "digest": digest(document_bytes(body))}

    def document(self) -> bytes:
        """The group document."""
        return document_bytes(
            {"zarr_format": 3, "node_type": "group", "attributes": self.attributes()}
        )

    def matches(self, key: str, data: bytes) -> bool:
        """Whether a document is the one that was sealed; raises for one that is not JSON."""
        if key == "zarr.json":
            data = document_bytes(own_part(parse_document(data, key), self.documents))
        return digest(data) == self.documents[key]

    @property
    def root(self) -> str:
        """Digest of everything."""
        return str(self.attributes()["digest"])

    def locate(self, key: str) -> tuple[str, Index] | None:
        """Array and index of the object that a key in the group names."""
        parts = key.split("/")
        for n in range(len(parts) - 1, 0, -1):
            path = "/".join(parts[:n])
            layout = self.layouts.get(path)
            if layout is not None:
                index = layout.parse("/".join(parts[n:]))
                return None if index is None else (path, index)
        return None


def records_key(path: str) -> str:
    """Key of the records of an array, relative to the group."""
    return objects.join(PLACE, path, "c/0/0")


def records_document(units: int) -> bytes:
    """Metadata document of an array of records."""
    shape = [units, RECORD.itemsize]
    zstd = {"name": "zstd", "configuration": {"level": 9, "checksum": False}}
    return document_bytes(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "uint8",
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [max(n, 1) for n in shape]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [{"name": "bytes"}, zstd],
            "attributes": {},
            "dimension_names": ["unit", "record"],
            "storage_transformers": [],
        }
    )


def pack_records(records: np.ndarray) -> bytes:
    """Records as the one chunk of their array."""
    return deflate(records.tobytes() or bytes(RECORD.itemsize))


def unpack_records(data: bytes, units: int, path: str) -> np.ndarray:
    """Inverse of `pack_records`."""
    try:
        raw = inflate(data, max(units, 1) * RECORD.itemsize)
    except CorruptDataError as error:
        raise CorruptDataError(f"the records of {path!r} are damaged: {error}") from error
    return np.frombuffer(raw, RECORD)[:units].copy()


def blank_records(layout: Layout) -> np.ndarray:
    """Records of an array of which nothing is known."""
    records = np.zeros(layout.units, RECORD)
    records["state"] = UNKNOWN
    return records


def parse(data: bytes, place: str) -> Manifest:
    """Read the group document of a manifest.

    Parameters
    ----------
    data : bytes
        The document.
    place : str
        What to call it in errors.

    Returns
    -------
    Manifest
        Checked against its own digest.

    Raises
    ------
    CorruptDataError
        If it is damaged.
    FormatError
        If its version is newer than this xphys.
    """
    if len(data) > _LARGEST_DOCUMENT:
        raise CorruptDataError(f"{place}: a document of {len(data)} bytes is no manifest")
    attributes = parse_document(data, place).get("attributes")
    if not isinstance(attributes, dict) or "digest" not in attributes:
        raise CorruptDataError(f"{place}: expected the attributes of a manifest")
    body = {k: v for k, v in attributes.items() if k != "digest"}
    if digest(document_bytes(body)) != attributes["digest"]:
        raise CorruptDataError(f"{place}: the manifest does not match its digest")
    if body.get("version") != VERSION:
        raise FormatError(
            f"{place}: this xphys reads manifests of version {VERSION}, found "
            f"{body.get('version')!r}: update xphys"
        )
    layouts = {
        path: Layout(
            tuple(a["shape"]),
            tuple(a["chunk"]),
            tuple(a["stored"]),
            a["separator"],
            a["prefix"],
            a["codec"],
        )
        for path, a in body["arrays"].items()
    }
    tables = {path: a["records"] for path, a in body["arrays"].items()}
    inline = {key: b64decode(text) for key, text in body.get("inline", {}).items()}
    return Manifest(list(body["fingerprints"]), dict(body["documents"]), layouts, tables, inline)


def load(store: Store, group: str) -> Manifest | None:
    """The manifest of a group, None if there is none.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the group in it.

    Returns
    -------
    Manifest or None
        Checked against its own digest.
    """
    key = objects.join(group, PLACE, "zarr.json")
    data = objects.read(store, key)
    return None if data is None else parse(data, key)


async def load_records(store: Store, group: str, manifest: Manifest, path: str) -> np.ndarray:
    """Records of one array, checked against the manifest.

    Parameters
    ----------
    store : zarr store
        The store.
    group : str
        Path of the group in it.
    manifest : Manifest
        Of the group.
    path : str
        Of the array in the group.

    Returns
    -------
    ndarray of records, shape (units,)
        In C order of the grid of units.

    Raises
    ------
    CorruptDataError
        If they are missing or damaged.
    """
    key = objects.join(group, records_key(path))
    if manifest.layouts[path].units * RECORD.itemsize > _LARGEST_TABLE:
        raise CorruptDataError(f"{key}: the manifest tells of {manifest.layouts[path].units} units")
    data = await objects.get(store, key)
    if data is None:
        raise CorruptDataError(f"{key}: the records of {path!r} are missing")
    if digest(data) != manifest.tables[path]:
        raise CorruptDataError(f"{key}: the records of {path!r} do not match the manifest")
    return unpack_records(data, manifest.layouts[path].units, path)
