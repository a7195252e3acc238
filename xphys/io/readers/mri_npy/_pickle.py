"""Arrays in a pickled dict, found by walking the opcodes: nothing is imported or executed.

Only what NumPy writes for a dict of plain arrays is understood, in pickle protocols 2 to 5: text,
integers, tuples, one list, one dict, and five names that stand for themselves. Everything else is
refused. Bytes of arrays are stepped over; where they lie is the result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from xphys.errors import FormatError
from xphys.io.readers.mri_npy._npy import Place

__all__ = ["find_arrays"]

_MOST_STEPS = 4096  # opcodes; a dict of two arrays takes about 200
_SHORT = 256  # longest text that is looked at
_LARGEST_RANK = 16
_PLAIN = re.compile(r"b1|[fiu][248]|[iu]1")
_NAMES = {
    **{(f"numpy.{c}.multiarray", "_reconstruct"): "reconstruct" for c in ("core", "_core")},
    **{(f"numpy.{c}.numeric", "_frombuffer"): "frombuffer" for c in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}


@dataclass(frozen=True)
class _Name:
    """One of the names above; it is never looked up."""

    what: str


@dataclass(frozen=True)
class _Bytes:
    """Bytes in the file, or text in UTF-8 that stands for them."""

    offset: int
    size: int
    utf8: bool = False


@dataclass(frozen=True)
class _Text:
    """Text in the file; ``value`` is None if it is long."""

    offset: int
    size: int
    value: str | None


@dataclass
class _DType:
    code: str
    order: str = "|"


@dataclass
class _Array:
    shape: tuple[int, ...] = ()
    dtype: _DType | None = None
    fortran: bool = False
    data: Any = None


class _Refused(Exception):
    """What was found that may not be there."""


def find_arrays(
    file: IO[bytes],
    start: int,
    size: int,
    path: str,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, Place]:
    """Where the arrays lie in a ``.npy`` file that holds one pickled dict of them.

    Parameters
    ----------
    file : binary file
        Open and seekable.
    start : int
        Where the pickle begins, behind the header.
    size : int
        Bytes of the whole file.
    path : str
        For the result and for error messages.
    storage_options : mapping, optional
        For the result.

    Returns
    -------
    dict
        Key -> place, in the order of the file. No more than 4096 opcodes are looked at and no
        bytes of arrays are read.

    Raises
    ------
    FormatError
        If there is anything but a dict of text to arrays of plain numbers.
    """
    walker = _Walker(file, start, size)
    try:
        return {
            key: _place(array, path, dict(storage_options or {}))
            for key, array in walker.arrays().items()
        }
    except _Refused as refused:
        raise FormatError(
            f"{path}: expected a pickled dict of plain arrays, found {refused} at byte "
            f"{walker.at:,}: refused, nothing in it was executed"
        ) from None


def _place(array: _Array, path: str, options: Mapping[str, Any]) -> Place:
    if array.dtype is None or not isinstance(array.data, _Bytes):
        raise _Refused("an array without values")
    if not _PLAIN.fullmatch(array.dtype.code):
        raise _Refused(f"an array of {array.dtype.code[:20]!r}")
    if array.dtype.order == "|" and array.dtype.code[1] != "1":
        raise _Refused("numbers without byte order")
    dtype = np.dtype(f"{array.dtype.order}{array.dtype.code}")
    data, wanted = array.data, math.prod(array.shape) * dtype.itemsize
    if not (wanted <= data.size <= 2 * wanted if data.utf8 else data.size == wanted):
        raise _Refused(f"{data.size:,} bytes for an array of {wanted:,}")
    return Place(
        path, data.offset, data.size, array.shape, array.fortran, dtype, data.utf8, options
    )


class _Walker:
    """Follows the opcodes with a stack of descriptions."""

    def __init__(self, file: IO[bytes], start: int, size: int):
        self.file, self.at, self.size = file, start, size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def arrays(self) -> dict[str, _Array]:
        """The dict inside the 0-d array of objects."""
        self.file.seek(self.at)
        if self._take(1) != b"\x80" or not 2 <= self._take(1)[0] <= 5:
            raise _Refused("no pickle of protocol 2 to 5")
        for _ in range(_MOST_STEPS):
            code = self._take(1)
            if code == b".":
                break
            if code not in _STEPS:
                raise _Refused(f"the opcode {code!r}")
            _STEPS[code](self)
        else:
            raise _Refused(f"more than {_MOST_STEPS} opcodes")
        if self.at != self.size:
            raise _Refused(f"{self.size - self.at:,} bytes behind the end")
        return _dict_in(self.pop(), bool(self.stack or self.marks))

    def _take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise _Refused(f"the end of the file where {count:,} bytes should follow")
        data = self.file.read(count)
        if len(data) != count:
            raise _Refused("the end of the file")
        self.at += count
        return data

    def number(self, width: int, signed: bool = False) -> int:
        """The next little-endian integer."""
        return int.from_bytes(self._take(width), "little", signed=signed)

    def skip(self, count: int) -> int:
        """Step over bytes; the place where they begin."""
        if count > self.size - self.at:
            raise _Refused(f"the end of the file where {count:,} bytes should follow")
        begin = self.at
        self.at += count
        self.file.seek(self.at)
        return begin

    def push(self, value: Any) -> None:
        """Put a description on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the description on top of the stack."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _Refused("an opcode that lacks its operand")
        return self.stack.pop()

    def top(self) -> Any:
        """What is on top of the stack."""
        self.push(value := self.pop())
        return value

    def mark(self) -> None:
        """Remember the height of the stack."""
        self.marks.append(len(self.stack))

    def to_mark(self) -> list[Any]:
        """All that lies above the last mark."""
        if not self.marks:
            raise _Refused("an opcode that lacks its mark")
        height = self.marks.pop()
        items = self.stack[height:]
        del self.stack[height:]
        return items

    def text(self, width: int) -> None:
        """Push text; long text is stepped over."""
        count = self.number(width)
        if count > _SHORT:
            self.push(_Text(self.skip(count), count, None))
            return
        begin, data = self.at, self._take(count)
        try:
            self.push(_Text(begin, count, data.decode("utf-8")))
        except UnicodeDecodeError:
            raise _Refused("text that is not UTF-8") from None

    def data(self, width: int) -> None:
        """Push the place of bytes, which are stepped over."""
        count = self.number(width)
        self.push(_Bytes(self.skip(count), count))

    def integer(self) -> None:
        """Push an integer of up to eight bytes."""
        count = self.number(1)
        if count > 8:
            raise _Refused(f"an integer of {count} bytes")
        self.push(self.number(count, signed=True))

    def line(self) -> str:
        """A short line of ASCII."""
        found = bytearray()
        while (byte := self._take(1)) != b"\n":
            found += byte
            if len(found) > _SHORT:
                raise _Refused("a name that does not end")
        return found.decode("ascii", "replace")

    def name(self, module: Any, member: Any) -> None:
        """Push one of the names that are understood."""
        key = (_value(module), _value(member))
        if key not in _NAMES:
            raise _Refused(f"the name {'.'.join(map(str, key))[:80]!r}")
        self.push(_Name(_NAMES[key]))

    def stack_name(self) -> None:
        """A name whose two parts lie on the stack."""
        member, module = self.pop(), self.pop()
        self.name(module, member)

    def group(self, count: int) -> None:
        """Make a tuple of the last items."""
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def put(self, index: int) -> None:
        """Remember what is on top."""
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Push what was remembered."""
        if index not in self.memo:
            raise _Refused("a reference to nothing")
        self.push(self.memo[index])

    def append(self, items: list[Any]) -> None:
        """Add to the list on top."""
        if not isinstance(self.top(), list):
            raise _Refused("something to append to what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Add to the dict on top."""
        held = self.top()
        if not isinstance(held, dict) or len(items) % 2:
            raise _Refused("items for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if _value(key) is None or not isinstance(value, _Array):
                raise _Refused("something else than text and an array in the dict")
            if _value(key) in held:
                raise _Refused("a key that comes twice")
            held[_value(key)] = value

    def set_item(self) -> None:
        """Add one item to the dict."""
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def reduce(self) -> None:
        """Describe what one of the names would make of its arguments."""
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, _Name) or called.what not in _CALLS:
            raise _Refused("a call of what is no known name")
        if not isinstance(arguments, tuple):
            raise _Refused("a call without arguments")
        self.push(_CALLS[called.what](arguments))

    def build(self) -> None:
        """Complete an array or a dtype."""
        state, held = self.pop(), self.top()
        if not isinstance(state, tuple):
            raise _Refused("a state that is no tuple")
        if isinstance(held, _DType):
            _set_order(held, state)
        elif isinstance(held, _Array):
            _set_values(held, state)
        else:
            raise _Refused("a state for what is no array")


def _value(text: Any) -> str | None:
    return text.value if isinstance(text, _Text) else text if isinstance(text, str) else None


def _dict_in(held: Any, more: bool) -> dict[str, _Array]:
    if more or not isinstance(held, _Array) or held.dtype is None or held.shape != ():
        raise _Refused("something else than a single object")
    if held.dtype.code not in ("O", "O4", "O8") or not isinstance(held.data, list):
        raise _Refused("no object")
    if len(held.data) != 1 or not isinstance(held.data[0], dict):
        raise _Refused("an object that is no dict")
    return held.data[0]


def _empty_array(arguments: tuple[Any, ...]) -> _Array:
    kind, shape, letter = arguments if len(arguments) == 3 else (None, None, None)
    if kind != _Name("ndarray") or shape != (0,) or not isinstance(letter, _Bytes):
        raise _Refused("an array that does not begin empty")
    return _Array()


def _dtype(arguments: tuple[Any, ...]) -> _DType:
    code = _value(arguments[0]) if len(arguments) == 3 else None
    if code is None or arguments[1] not in (0, 1) or arguments[2] not in (0, 1):
        raise _Refused("a dtype of an unknown form")
    return _DType(code)


def _from_buffer(arguments: tuple[Any, ...]) -> _Array:
    data, dtype, shape, order = arguments if len(arguments) == 4 else (None,) * 4
    if not isinstance(data, _Bytes) or _value(order) not in ("C", "F"):
        raise _Refused("an array of an unknown form")
    array = _Array()
    _set_values(array, (1, shape, dtype, _value(order) == "F", data))
    return array


def _encoded(arguments: tuple[Any, ...]) -> _Bytes:
    text, codec = arguments if len(arguments) == 2 else (None, None)
    if not isinstance(text, _Text) or _value(codec) != "latin1":
        raise _Refused("text of an unknown encoding")
    return _Bytes(text.offset, text.size, utf8=True)


def _set_order(dtype: _DType, state: tuple[Any, ...]) -> None:
    # (version, byte order, no fields, size and alignment by the code, flags)
    if len(state) != 8 or state[0] != 3 or state[2:5] != (None,) * 3:
        raise _Refused("a dtype that is not plain")
    order = _value(state[1])
    if order not in ("<", ">", "|"):
        raise _Refused("a dtype without byte order")
    dtype.order = order


def _set_values(array: _Array, state: tuple[Any, ...]) -> None:
    version, shape, dtype, fortran, data = state if len(state) == 5 else (None,) * 5
    if version != 1 or not isinstance(dtype, _DType) or fortran not in (False, True):
        raise _Refused("an array of an unknown form")
    if not isinstance(shape, tuple) or len(shape) > _LARGEST_RANK:
        raise _Refused("an array without shape")
    if any(type(n) is not int or not 0 <= n < 2**62 for n in shape):
        raise _Refused("an array of an impossible shape")
    if not isinstance(data, _Bytes | list):
        raise _Refused("an array without values")
    array.shape, array.dtype, array.fortran, array.data = shape, dtype, bool(fortran), data


_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "reconstruct": _empty_array,
    "dtype": _dtype,
    "frombuffer": _from_buffer,
    "encode": _encoded,
}

_STEPS: dict[bytes, Callable[[_Walker], Any]] = {
    b"\x95": lambda w: w.number(8),  # a frame
    b"N": lambda w: w.push(None),
    b"\x88": lambda w: w.push(True),
    b"\x89": lambda w: w.push(False),
    b"K": lambda w: w.push(w.number(1)),
    b"M": lambda w: w.push(w.number(2)),
    b"J": lambda w: w.push(w.number(4, signed=True)),
    b"\x8a": _Walker.integer,
    b"\x8c": lambda w: w.text(1),
    b"X": lambda w: w.text(4),
    b"\x8d": lambda w: w.text(8),
    b"C": lambda w: w.data(1),
    b"B": lambda w: w.data(4),
    b"\x8e": lambda w: w.data(8),
    b"\x96": lambda w: w.data(8),
    b"(": _Walker.mark,
    b")": lambda w: w.push(()),
    b"\x85": lambda w: w.group(1),
    b"\x86": lambda w: w.group(2),
    b"\x87": lambda w: w.group(3),
    b"t": lambda w: w.push(tuple(w.to_mark())),
    b"]": lambda w: w.push([]),
    b"a": lambda w: w.append([w.pop()]),
    b"e": lambda w: w.append(w.to_mark()),
    b"}": lambda w: w.push({}),
    b"s": _Walker.set_item,
    b"u": lambda w: w.set_items(w.to_mark()),
    b"c": lambda w: w.name(w.line(), w.line()),
    b"\x93": _Walker.stack_name,
    b"\x94": lambda w: w.put(len(w.memo)),
    b"q": lambda w: w.put(w.number(1)),
    b"r": lambda w: w.put(w.number(4)),
    b"h": lambda w: w.get(w.number(1)),
    b"j": lambda w: w.get(w.number(4)),
    b"R": _Walker.reduce,
    b"b": _Walker.build,
}
