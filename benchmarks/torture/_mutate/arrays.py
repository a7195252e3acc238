"""NumPy files, their archives and pickles, and MATLAB 5."""

from __future__ import annotations

import io
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

from benchmarks.torture._mutate.any import anything, fields, number, odd

__all__ = ["mat", "npy", "npz"]

_MAGIC = b"\x93NUMPY"
_DESCR = (
    "'|O'", "'O'", "'<f4'", "'>f8'", "'<U9999999'", "'|V8'", "'|S0'", "'<M8[ns]'", "'<f16'",
    "[('a', '<f4')]", "[('a', '|O')]", "'<c16'", "'|b1'", "'f4,f8'", "('<f4', (3,))", "None", "7",
)  # fmt: skip
_SHAPES = (
    "()", "(0,)", "(-1,)", "(1, 1)", "(9223372036854775807,)", "(4294967296, 4294967296)", "(3)",
    "[3]", "(2.0,)", "('a',)", "(True,)", "(1,)" + "+(1,)" * 40, "(" * 300 + ")" * 300,
    "(" + "1," * 70 + ")", "(99999999999999999999999999,)", "(1048576, 1024)", "__import__('os')",
)  # fmt: skip


def npy(rng: random.Random, data: bytes) -> bytes:
    """Header or values of a .npy file; the opcodes of one that is a pickle."""
    if not data.startswith(_MAGIC) or rng.random() < 0.15:
        return anything(rng, data)
    width = 2 if data[6] == 1 else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    header, values = data[8 + width : 8 + width + size], data[8 + width + size :]
    if b"'|O'" in header and rng.random() < 0.8:
        return data[: len(data) - len(values)] + _pickle(rng, values)
    what = rng.randrange(6)
    if what == 0:
        return fields(rng, data, 6, 8 + width)  # version, length of the header
    if what == 1:
        header = re.sub(
            rb"'descr': ('[^']*'|\[.*?\])", _put("'descr': " + rng.choice(_DESCR)), header
        )
    elif what == 2:
        header = re.sub(rb"'shape': \([^)]*\)", _put("'shape': " + rng.choice(_SHAPES)), header)
    elif what == 3:
        numbers = list(re.finditer(rb"\d+", header))
        if not numbers:
            return anything(rng, data)
        one = rng.choice(numbers)
        new = str(odd(rng, rng.choice((1, 4, 8)), int(one[0]), len(values))).encode()
        header = header[: one.start()] + new + header[one.end() :]
    elif what == 4:
        header = rng.choice((
            header.replace(b"False", b"True"), header.replace(b"'shape'", b"'shaped'"),
            header.replace(b"{", b"{" * 200), b"{}", b"", b"9" * 5000,
            header.replace(b"}", b"'x': 1}"), header * 2, anything(rng, header),
        ))  # fmt: skip
    else:
        values = rng.choice((values[: len(values) // 2], b"", values * 2, values[:-1]))
    return data[:8] + len(header).to_bytes(width, "little")[:width] + header + values


def _put(text: str) -> Callable[[re.Match[bytes]], bytes]:
    return lambda _: text.encode()


# Pickles


def _pickle(rng: random.Random, data: bytes) -> bytes:
    """Opcodes changed, moved, doubled, put in; what they name may be a command."""
    try:
        places = [place for _, _, place in pickletools.genops(data)]
    except ValueError:
        return anything(rng, data)
    starts = [*places, len(data)]
    codes = [data[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    short = [i for i, code in enumerate(codes) if len(code) < 200]
    for _ in range(rng.choice((1, 1, 2, 4))):
        i = min(rng.choice(short), len(codes) - 1)
        what = rng.randrange(7)
        if what == 0:
            codes[i] = fields(rng, codes[i], min(1, len(codes[i])), len(codes[i]))
        elif what == 1:
            codes[i] = b""
        elif what == 2:
            codes[i] *= rng.choice((2, 3, 1000, 100000))
        elif what == 3:
            j = min(rng.choice(short), len(codes) - 1)
            codes[i], codes[j] = codes[j], codes[i]
        elif what == 4:
            codes[i] = rng.choice(_CODES)
        elif what == 5:
            codes.insert(i, rng.choice(_CODES))
        else:
            codes = [_other_names(rng, code) for code in codes]
    return b"".join(codes)


_NAMED = (
    b"cos\nsystem\n", b"c__builtin__\neval\n", b"cnumpy\nload\n", b"i__builtin__\neval\n",
    b"\x8c\x02os\x8c\x06system\x93", b"X\x02\x00\x00\x00id",
)  # fmt: skip
_SHORT = (
    b"R", b"b", b"\x81", b"\x92", b"o", b"(", b"t", b"]", b"}", b"u", b"e", b"0", b"2", b"h\x00",
    b"j\xff\xff\xff\x7f", b"q\x00", b"r\xff\xff\xff\xff", b"\x94", b"P0\n", b"Q", b"\x82\x01",
    b"\x97", b"\x98", b".", b"N", b"\x80\x09", b"K\x01", b"M\xff\xff", b"J\xff\xff\xff\xff",
)  # fmt: skip
_LONG = (
    b"\x8d" + struct.pack("<Q", 2**40),
    b"\x8e" + struct.pack("<Q", 2**62),
    b"B" + struct.pack("<I", 2**32 - 1),
    b"\x8b" + struct.pack("<i", 2**31 - 1),
    b"\x8a\xff" + b"\x7f" * 255,
    b"\x95" + struct.pack("<Q", 2**63),
    b"I" + b"9" * 6000 + b"\n",
    b"(" * 100000,
    b"]" * 100000,
    b"\x85" * 100000,
)
_CODES = (*_NAMED, *_SHORT, *_LONG)


def _other_names(rng: random.Random, code: bytes) -> bytes:
    for old in (b"numpy._core.multiarray", b"numpy.core.multiarray", b"_reconstruct", b"ndarray"):
        new = rng.choice((b"posix", b"system", b"builtins", b"exec", b"numpy", b"fromfile"))
        if old in code and rng.random() < 0.5:
            text = new.ljust(len(old), b" ") if rng.random() < 0.5 else new
            if code[:1] == b"\x8c":
                return code[:1] + bytes([len(text)]) + text + code[2 + len(old) :]
            return code.replace(old, text)
    return code


# Archives


def npz(rng: random.Random, data: bytes) -> bytes:
    """A member, its name, or the directory of the archive."""
    what = rng.random()
    if what < 0.1:
        return anything(rng, data)
    if what < 0.5:
        marks = [m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06)", data)]
        at = rng.choice(marks)
        return fields(rng, data, at + 4, min(at + 46, len(data)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    choice = rng.randrange(8)
    if choice < 4:
        members[name] = npy(rng, members[name])
    elif choice == 4:
        new = rng.choice(("../../x.npy", "/etc/x.npy", "a\\..\\b.npy", " ", "x" * 3000, "a/b.npy"))
        members[new] = members.pop(name)
    elif choice == 5:
        del members[name]
    elif choice == 6:  # the header says little, the stream holds much
        members[name], packed = members[name] + bytes(2**25), zipfile.ZIP_DEFLATED
    else:
        other = rng.choice(sorted(members))
        members[name], members[other] = members[other], members[name]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packed) as archive:
        for inner, content in members.items():
            archive.writestr(inner, content)
    return made.getvalue()


# MATLAB 5


def mat(rng: random.Random, data: bytes) -> bytes:
    """Tags, flags, dims, names and data of the arrays of a MATLAB 5 file."""
    if rng.random() < 0.15 or len(data) < 144:
        return anything(rng, data)
    parts = _elements(data)
    i = rng.randrange(len(parts))
    head, body = parts[i]
    what = rng.randrange(7)
    if what == 0:
        changed = bytearray(head)
        number(rng, changed, rng.choice((0, 4)), 4)
        parts[i] = (bytes(changed), body)
    elif what == 1:
        parts[i] = (head, fields(rng, body, 0, min(len(body), 96)))
    elif what == 2:
        packed = zlib.compress(head + fields(rng, body, 0, min(len(body), 96)))
        parts[i] = (struct.pack("<II", 15, len(packed)), packed)
    elif what == 3:
        block = head + body[:64] + bytes(2**20)
        packed = zlib.compress(block * 8)
        parts[i] = (struct.pack("<II", 15, len(packed)), packed)
    elif what == 4:
        parts.insert(i, parts[rng.randrange(len(parts))])
    elif what == 5:
        return fields(rng, data, 116, 128 + 8)
    else:
        parts[i] = (head, anything(rng, body))
    return data[:128] + b"".join(h + b for h, b in parts)


def _elements(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 128
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((data[at : at + 8], data[at + 8 : at + 8 + size]))
        at += 8 + size
    return found
