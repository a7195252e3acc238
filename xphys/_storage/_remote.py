"""File systems behind URLs: those of fsspec, each request asked again by one policy.

The retries of the libraries underneath are switched off; what they answer is told apart in
`_retry` alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.spec import AbstractBufferedFile

from xphys._storage._hub import hub_address, hub_url
from xphys._storage._retry import Policy, again
from xphys.errors import MissingDependencyError, RemoteError, XphysError

__all__ = ["CONNECTIONS", "RemoteFileSystem", "infos", "is_remote", "remote"]

_READ_ONLY = frozenset({"http", "https", "hf"})
# They close their connections in a loop of their own: used in another one, each leaves a traceback
# at the end of the program.
_OWN_LOOP = frozenset({"abfs", "gs"})
CONNECTIONS = 32


def _s3(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    config = {"retries": {"max_attempts": 0}, "max_pool_connections": CONNECTIONS}
    if "endpoint_url" in options or "endpoint_url" in options.get("client_kwargs", {}):
        # servers other than Amazon's do not all know the newer checksums
        config |= {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    config |= options.pop("config_kwargs", {})
    # one GET for one object: s3fs would ask for its size first
    return "s3", {"max_concurrency": 1, **options, "config_kwargs": config}


def _gs(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if options.pop("anon", False):
        options["token"] = "anon"
    return "gs", options


def _az(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "abfs", options


def _http(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    options.pop("anon", None)
    # coded answers have other lengths than the parts of an object that are asked for
    headers = {"Accept-Encoding": "identity", **options.pop("headers", {})}
    return "http", {**options, "headers": headers}


def _hf(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    options.pop("endpoint", None)
    token = options.pop("token", None) or os.environ.get("HF_TOKEN")
    if token and not options.get("anon"):
        options["headers"] = {"Authorization": f"Bearer {token}", **options.get("headers", {})}
    return _http(options)


# scheme -> fsspec's protocol and options. One line for each kind of server.
_SCHEMES: dict[str, Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "s3": _s3,
    "s3a": _s3,
    "gs": _gs,
    "gcs": _gs,
    "az": _az,
    "abfs": _az,
    "abfss": _az,
    "http": _http,
    "https": _http,
    "hf": _hf,
}


def is_remote(url: str) -> bool:
    """Whether a URL names a server that is asked by this policy."""
    return "://" in url and "::" not in url and url.partition("://")[0] in _SCHEMES


def remote(
    url: str, storage_options: Mapping[str, Any] | None = None, *, asynchronous: bool = False
) -> tuple[RemoteFileSystem, str]:
    """File system and path in it of a URL for which `is_remote` holds.

    Parameters
    ----------
    url : str
        Scheme s3, gs, az, http, https or hf (or another name of these).
    storage_options : mapping, optional
        Those of fsspec's file system for the scheme; ``anon=True`` for all; ``retry``, a mapping
        of the fields of `Policy`.
    asynchronous : bool
        For use from an event loop.

    Returns
    -------
    RemoteFileSystem, str
        Nothing has been asked yet.

    Raises
    ------
    MissingDependencyError
        If the package for the scheme is not installed.
    """
    options = dict(storage_options or {})
    policy = Policy.of(options.pop("retry", None))
    scheme = url.partition("://")[0]
    path = _hub(url, options) if scheme == "hf" else url
    system = RemoteFileSystem(
        scheme,
        options,
        retry={name: getattr(policy, name) for name in policy.__dataclass_fields__},
        asynchronous=asynchronous,
    )
    return system, str(system.inner._strip_protocol(path)).rstrip("/")


def infos(
    urls: Sequence[str], storage_options: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """What servers say of objects, many asked at a time; what they do not tell is left out.

    Parameters
    ----------
    urls : sequence of str
        Those for which `is_remote` does not hold are left out.
    storage_options : mapping, optional
        For the file systems.

    Returns
    -------
    dict
        URL -> what fsspec's ``info`` gives.
    """
    found: dict[str, dict[str, Any]] = {}
    for scheme in {url.partition("://")[0] for url in urls if is_remote(url)}:
        here = [url for url in urls if url.startswith(f"{scheme}://")]
        try:
            placed = [remote(url, storage_options) for url in here]
        except XphysError:
            continue
        system = placed[0][0]
        answers = sync(system.loop, _infos, system, [path for _, path in placed])
        found |= {url: info for url, info in zip(here, answers, strict=True) if info is not None}
    return found


async def _infos(system: RemoteFileSystem, paths: Sequence[str]) -> list[dict[str, Any] | None]:
    gate = asyncio.Semaphore(CONNECTIONS)

    async def one(path: str) -> dict[str, Any] | None:
        async with gate:
            try:
                return await system._info(path)
            except (OSError, XphysError):
                return None

    return list(await asyncio.gather(*map(one, paths)))


def _hub(url: str, options: Mapping[str, Any]) -> str:
    """Where the hub serves a file: reading needs none of its other interfaces."""
    endpoint = options.get("endpoint") or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return hub_address(url, endpoint)


def _google(settings: Mapping[str, Any]) -> Any:
    """gcsfs; another endpoint than Google's has no gRPC to be asked for the kind of a bucket."""
    if settings.get("endpoint_url"):
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem(**settings)
    return fsspec.filesystem("gs", **settings)


def _inner(scheme: str, options: Mapping[str, Any], asynchronous: bool) -> Any:
    """fsspec's file system with its own retries and its cache of listings switched off."""
    protocol, settings = _SCHEMES[scheme](dict(options))
    own_loop = not asynchronous or protocol in _OWN_LOOP
    settings = {"use_listings_cache": False, **settings, "asynchronous": not own_loop}
    try:
        if protocol == "http":
            from xphys._storage._http import CheckedHTTP, client
            from xphys._storage._hub_files import HubFileSystem

            kind = HubFileSystem if scheme == "hf" else CheckedHTTP
            return kind(get_client=client, **settings)
        system = _google(settings) if protocol == "gs" else fsspec.filesystem(protocol, **settings)
    except ImportError as error:
        raise MissingDependencyError(
            f"{scheme}:// needs a package that is not installed: pip install 'xphys[cloud]'"
        ) from error
    if protocol == "s3":
        system.retries = 1
    if protocol == "gs":
        once = getattr(system._request, "__wrapped__", None)
        if once is not None:
            system._request = partial(once, system)
    return system


async def _elsewhere(method: Callable[[], Coroutine[Any, Any, Any]], loop: Any) -> Any:
    """What a method gives that has to run in another loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(method(), loop))


class RemoteFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """A file system of fsspec whose requests are asked again.

    Parameters
    ----------
    scheme : str
        Of the URL.
    options : mapping
        Of fsspec's file system.
    retry : mapping
        Fields of `Policy`.
    asynchronous : bool
        For use from an event loop.
    """

    protocol = "xphys"

    def __init__(
        self,
        scheme: str,
        options: Mapping[str, Any],
        retry: Mapping[str, Any],
        asynchronous: bool = False,
        **kwargs: Any,
    ) -> None:
        self.inner = _inner(scheme, options, asynchronous)
        loop = None if asynchronous else self.inner.loop
        super().__init__(asynchronous=asynchronous, loop=loop, **kwargs)
        self.scheme, self.policy = scheme, Policy.of(retry)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path  # paths are those of the file system inside

    @property
    def writable(self) -> bool:
        """Whether the scheme has a way to write."""
        return self.scheme not in _READ_ONLY

    @property
    def fsid(self) -> str:
        """Of the file system inside."""
        return f"xphys-{self.scheme}"

    def url(self, path: str) -> str:
        """What users call it."""
        if self.scheme == "hf":
            return hub_url(path)
        return path if "://" in path else f"{self.scheme}://{path}"

    async def _ask(self, name: str, path: str, *args: Any, **kwargs: Any) -> Any:
        method = partial(getattr(self.inner, name), path, *args, **kwargs)
        home = None if self.inner.asynchronous else self.inner.loop
        if home not in (None, asyncio.get_running_loop()):
            method = partial(_elsewhere, method, home)
        return await again(method, self.url(path), self.policy)

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        data: bytes = await self._ask("_cat_file", path, start=start, end=end, **kwargs)
        bounded = start is not None and start >= 0 and end is not None
        if bounded and len(data) > end - start:  # type: ignore[operator]
            raise RemoteError(f"{self.url(path)}: asked for {start}-{end}, got {len(data)} bytes")
        return data

    async def _pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        if not self.writable:
            raise RemoteError(f"{self.url(path)}: {self.scheme}:// cannot be written")
        await self._ask("_pipe_file", path, value, mode=mode, **kwargs)

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("_info", path, **kwargs)
        return found

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        return await self._ask("_ls", path, detail=detail, **kwargs)

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        return await self._ask("_find", path, maxdepth=maxdepth, withdirs=withdirs, **kwargs)

    async def _glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        return await self._ask("_glob", path, maxdepth=maxdepth, **kwargs)

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        await self._ask("_rm_file", path, **kwargs)

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any
    ) -> RemoteFile:
        if mode != "rb":
            raise RemoteError(f"{self.url(path)}: can be opened for reading bytes only")
        return RemoteFile(self, path, mode, block_size or "default", **kwargs)


class RemoteFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file behind a URL, read in blocks by the requests of its file system."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start=start, end=end)
        return data
