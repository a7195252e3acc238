"""Icechunk repositories: how they are named, opened and locked, and what their errors mean."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from xphys._optional import require
from xphys.errors import CorruptDataError, FormatError, SchemaError, StoreConflictError

__all__ = [
    "SOURCES",
    "MissingObjectError",
    "Place",
    "etag",
    "folder_url",
    "is_icechunk",
    "of_hdf5",
    "translated",
]

_URL = re.compile(r"icechunk(?:\+([a-z0-9]+))?://(.*)", re.DOTALL)
_REFS = ("branch", "tag", "snapshot")
#: Attribute of a group of references: the local files and what tells their version, as JSON.
SOURCES = "xphys_sources"
# Names that fsspec's file systems give to what Icechunk calls otherwise.
_S3_NAMES = {
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "anon": "anonymous",
}
# What Icechunk says when a server or a disk, not the repository, is the trouble.
_OUTSIDE = (
    "dispatch failure",
    "service error",
    "timeout",
    "connect",
    "denied",
    "forbidden",
    "credential",
    "no space",
)


class MissingObjectError(CorruptDataError):
    """An object that the repository's own index names is not there."""


def is_icechunk(path: str) -> bool:
    """Whether a path or URL names an Icechunk repository.

    Parameters
    ----------
    path : str
        A URL of the scheme ``icechunk`` or ``icechunk+...``, or a local folder, which is looked
        into.

    Returns
    -------
    bool
        True also for a URL where nothing is.
    """
    if path.startswith(("icechunk:", "icechunk+")):
        return True
    inside = (os.path.join(path, name) for name in ("refs", "snapshots"))
    return "://" not in path and all(map(os.path.isdir, inside))


@dataclass(frozen=True)
class Place:
    """A repository and which of its states is meant.

    Attributes
    ----------
    url : str
        As the user gave it.
    kind : str
        "file", "s3", "gs" or "az".
    path : str
        Folder, or bucket and prefix.
    options : dict
        For the storage.
    ref : (str, str)
        "branch", "tag" or "snapshot", and its name.
    sources : tuple of str
        Folders and URL prefixes that virtual chunks may be read from.
    """

    url: str
    kind: str
    path: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    ref: tuple[str, str] = ("branch", "main")
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str, storage_options: Mapping[str, Any] | None = None) -> Place:
        """Understand what a user names.

        Parameters
        ----------
        path : str
            For which `is_icechunk` holds.
        storage_options : mapping, optional
            For the storage, and at most one of ``branch``, ``tag`` and ``snapshot``; ``sources``.

        Raises
        ------
        FormatError
            If the URL names no place.
        SchemaError
            If several states are named.
        """
        options = dict(storage_options or {})
        options.pop("retry", None)  # Icechunk asks again by its own rules
        named = [(name, str(options[name])) for name in _REFS if options.get(name) is not None]
        if len(named) > 1:
            raise SchemaError(f"expected one of branch, tag and snapshot, got {dict(named)}")
        sources = options.pop("sources", None) or ()
        sources = (sources,) if isinstance(sources, str | os.PathLike) else sources
        options = {k: v for k, v in options.items() if k not in _REFS}
        kind, where = _parse(path)
        ref = named[0] if named else ("branch", "main")
        return cls(path, kind, where, options, ref, tuple(map(os.fspath, sources)))

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Without the folders of a user."""
        return os.path.basename(self.path.rstrip("/")) if self.kind == "file" else self.url

    def storage(self) -> Any:
        """Icechunk's storage; nothing is asked yet."""
        icechunk = require("icechunk", "icechunk")
        bucket, _, prefix = self.path.partition("/")
        if self.kind == "file":
            if "ICECHUNK_LOG" not in os.environ:
                # It warns of writers of local repositories that are not locked: these are.
                icechunk.set_logs_filter("warn,icechunk::storage::object_store=error")
            return icechunk.local_filesystem_storage(self.path)
        if self.kind == "s3":
            return icechunk.s3_storage(bucket=bucket, prefix=prefix, **_s3(self.options))
        if self.kind == "gs":
            return icechunk.gcs_storage(bucket=bucket, prefix=prefix, **_gcs(self.options))
        return icechunk.azure_storage(container=bucket, prefix=prefix, **_azure(self.options))

    def find(self) -> Any:
        """The repository, None if there is none."""
        icechunk = require("icechunk", "icechunk")
        if self.kind == "file" and not os.path.isdir(self.path):
            return None
        storage = self.storage()
        with translated(str(self)):
            if not icechunk.Repository.exists(storage):
                return None
            return icechunk.Repository.open(
                storage, authorize_virtual_chunk_access=self._allowed(storage)
            )

    def _allowed(self, storage: Any) -> dict[str, None]:
        """Where references may lead: the folders that were named, and the one it lies in."""
        config = require("icechunk", "icechunk").Repository.fetch_config(storage)
        containers = (config and config.virtual_chunk_containers) or {}
        named = [s if "://" in s else folder_url(os.path.realpath(s)) for s in self.sources]
        if self.kind == "file":
            named.append(folder_url(os.path.realpath(os.path.dirname(self.path))))
        named = [prefix if prefix.endswith("/") else f"{prefix}/" for prefix in named]
        return {c: None for c in containers if c.startswith(tuple(named)) and "/../" not in c}

    def create(self) -> Any:
        """The repository, made if there is none."""
        icechunk = require("icechunk", "icechunk")
        if self.kind == "file":
            os.makedirs(self.path, exist_ok=True)
        with self.locked(), translated(str(self)):
            found = self.find()
            return icechunk.Repository.create(self.storage()) if found is None else found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers away for a moment: a file system cannot compare and swap."""
        if self.kind != "file" or os.name == "nt":
            yield
            return
        import fcntl

        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # given back by the system if we are killed
            yield
        finally:
            os.close(folder)


def folder_url(folder: str) -> str:
    """A local folder as references name it."""
    return f"file://{quote(folder.rstrip('/'))}/"


def etag(path: str) -> str | None:
    """What Icechunk compares of a local file (time to the microsecond, size, inode); None for none.

    Made as its library of object stores makes it.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"{status.st_ino:x}-{status.st_mtime_ns // 1000:x}-{status.st_size:x}"


def _parse(path: str) -> tuple[str, str]:
    found = _URL.match(path)
    if found is None and not path.startswith(("icechunk:", "icechunk+")):
        return "file", os.path.abspath(path)
    kind, where = found.groups() if found is not None else (None, "")
    kinds = {None: "file", "file": "file", "s3": "s3", "gs": "gs", "gcs": "gs", "az": "az"}
    local = kinds.get(kind) == "file"
    # a relative path could be meant for a bucket
    if kind not in kinds or not where or (local and not where.startswith(("/", ".", "~"))):
        raise FormatError(
            f"{path}: expected icechunk:///folder, icechunk://./folder, "
            "icechunk+s3://bucket/prefix, icechunk+gs://bucket/prefix or "
            "icechunk+az://container/prefix"
        )
    if not local:
        return str(kinds[kind]), where.rstrip("/")
    return "file", os.path.abspath(os.path.expanduser(re.sub(r"^/(?=[A-Za-z]:)", "", where)))


def _s3(options: Mapping[str, Any]) -> dict[str, Any]:
    out = {_S3_NAMES.get(k, k): v for k, v in options.items()}
    client = dict(out.pop("client_kwargs", None) or {})
    endpoint = out.pop("endpoint_url", None) or client.get("endpoint_url")
    region = out.pop("region", None) or client.get("region_name")
    if endpoint:
        out |= {"endpoint_url": endpoint, "force_path_style": out.get("force_path_style", True)}
        out["allow_http"] = endpoint.startswith("http://")
        region = region or "us-east-1"
    if region:
        out["region"] = region
    if not out.get("anonymous") and "access_key_id" not in out:
        out.setdefault("from_env", True)
    return out


def _gcs(options: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(options)
    if out.pop("anon", False):
        out["anonymous"] = True
    return out or {"from_env": True}


def _azure(options: Mapping[str, Any]) -> dict[str, Any]:
    names = {"account_name": "account", "account_key": "access_key"}
    out = {names.get(k, k): v for k, v in options.items()}
    if "account" not in out:
        raise SchemaError("icechunk+az://container/prefix needs storage_options={'account': ...}")
    return out if len(out) > 1 else {**out, "from_env": True}


def _brief(error: BaseException) -> str:
    """The first and the innermost line of Icechunk's report, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0].removeprefix("x ").strip() if lines else type(error).__name__
    causes = [line for line in lines if line.startswith("`->")]
    last = causes[-1].removeprefix("`->").strip() if causes else ""
    return first if not last or last in first else f"{first}: {last}"


@contextmanager
def of_hdf5() -> Iterator[None]:
    """Without Zarr's warning that the codecs of HDF5 files are in no specification of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr")
        yield


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Icechunk's errors as those of xphys, in one line that begins with what was asked for."""
    icechunk = require("icechunk", "icechunk")
    try:
        yield
    except icechunk.ConflictError as error:
        raise StoreConflictError(
            f"{what}: another writer has committed meanwhile: run the code again"
        ) from error
    except icechunk.IcechunkError as error:
        said = _brief(error)
        report = " ".join(re.sub(r"\n\s*\|", " ", str(error)).split())  # it breaks long lines
        text = report.lower()
        if "branch update conflict" in text:
            raise StoreConflictError(
                f"{what}: another writer has moved the branch meanwhile: run the code again"
            ) from error
        if any(word in text for word in ("ref not found", "invalid snapshot id", "nosuchbucket")):
            raise FileNotFoundError(f"{what}: {said}") from error
        if "checksum of the object owning" in text:
            raise CorruptDataError(
                f"{what}: its file has changed since the references were written: write them "
                "again with xphys.virtual"
            ) from error
        if "authorize the virtual chunk container" in text:
            prefix = re.search(r"url prefix (\S+?),", report)
            where = prefix[1] if prefix else "another folder"
            raise FormatError(
                f"{what}: its values lie in {where}: allow that with xphys.open(..., "
                f"sources={where!r}) if you trust the store"
            ) from error
        if "no virtual chunk container" in text:
            raise FormatError(f"{what}: refers to a place outside the store's own list") from error
        if "not found" in text or "nosuchkey" in text or "no such file" in text:
            raise MissingObjectError(f"{what}: missing from the repository: {said}") from error
        if any(word in text for word in _OUTSIDE):
            raise OSError(f"{what}: {said}") from error
        raise CorruptDataError(f"{what}: {said}") from error
