"""Small ``.npz`` archives, read with bounds; nothing is extracted or unpickled."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from xphys._storage import open_binary
from xphys.errors import FormatError
from xphys.io.readers.mri_npy._npy import file_size, parse_header

__all__ = ["members", "read_npz"]

_LARGEST_FILE = 2**24  # bytes of the archive
_LARGEST_VALUES = 2**26  # bytes of all arrays
_MOST_MEMBERS = 256
_LARGEST_DIRECTORY = 2**16
_END = b"PK\x05\x06"
_KINDS = "fiubUS"
# zipfile says in many ways that it was led astray
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def members(path: str, storage_options: Mapping[str, Any] | None = None) -> frozenset[str]:
    """Names of the arrays in an archive; parameters and errors as for `read_npz`."""
    with _archive(path, storage_options) as archive:
        return frozenset(_names(archive, path))


def read_npz(
    path: str, storage_options: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of a small archive.

    Parameters
    ----------
    path : str
        Local path or URL, at most 16 MiB.
    storage_options : mapping, optional
        For the file system of a URL.

    Returns
    -------
    dict
        Name -> array of numbers or text.

    Raises
    ------
    FormatError
        If it is damaged, holds objects or more than 256 arrays, or declares more than 64 MiB:
        before any of it is decompressed.
    """
    with _archive(path, storage_options) as archive:
        names = _names(archive, path)
        total = sum(info.file_size for info in names.values())
        if total > _LARGEST_VALUES:
            raise FormatError(f"{path}: expected at most 64 MiB of arrays, it declares {total:,}")
        try:
            return {name: _array(archive, info, path) for name, info in names.items()}
        except FormatError:
            raise
        except _DAMAGE as error:
            raise _damaged(path, error) from error


def _archive(path: str, storage_options: Mapping[str, Any] | None) -> zipfile.ZipFile:
    """The archive in memory, its directory checked before it is parsed."""
    with open_binary(path, storage_options) as file:
        size = file_size(file)
        if size > _LARGEST_FILE:
            raise FormatError(f"{path}: expected a small archive, found {size:,} bytes")
        data = file.read(size)
    # no comment behind it and no zip64, as NumPy writes it: one place to look at
    end = data[-22:]
    if not end.startswith(_END) or data[-42:-22].startswith(b"PK\x06\x07"):
        raise FormatError(f"{path}: expected an archive of NumPy, found no directory at its end")
    count, directory = struct.unpack("<HI", end[10:16])
    if count > _MOST_MEMBERS or directory > _LARGEST_DIRECTORY:
        raise FormatError(f"{path}: expected at most {_MOST_MEMBERS} arrays, found {count:,}")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> FormatError:
    return FormatError(f"{path}: the archive is damaged: {str(error).partition(chr(10))[0]}")


def _names(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name, _, suffix = info.filename.rpartition(".")
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if suffix != "npy" or name in found or not plain or info.flag_bits & 1:
            raise FormatError(
                f"{path}: expected stored or deflated .npy members, each once, found "
                f"{info.filename[:80]!r}"
            )
        found[name] = info
    return found


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> np.ndarray[Any, Any]:
    where = f"{path}: {info.filename[:80]!r}"
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)  # never inflates more than it declares
    header = parse_header(data, where)
    if header.dtype.kind not in _KINDS:
        raise FormatError(f"{where}: expected numbers or text, found {header.dtype}: not read")
    if header.end + header.nbytes != len(data):
        raise FormatError(
            f"{where}: expected {header.nbytes:,} bytes of values, found {len(data) - header.end:,}"
        )
    if not header.nbytes:
        if header.shape != (0,):
            raise FormatError(f"{where}: expected values, found shape {header.shape}")
        return np.empty(0, header.dtype.newbyteorder("="))
    flat = np.frombuffer(data, header.dtype, offset=header.end)
    array = flat.reshape(header.shape, order="F" if header.fortran else "C")
    return array.astype(header.dtype.newbyteorder("="))
