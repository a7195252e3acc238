"""Pickled pairs: what NumPy writes is found, whatever else a pickle can say is refused."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from xphys.errors import FormatError, XphysError
from xphys.io.readers.mri_npy._npy import NpyArray, read_header
from xphys.io.readers.mri_npy._pickle import find_arrays
from xphys.io.readers.mri_npy.backend import open_paths

HEADER = b"\x93NUMPY\x01\x00\x76\x00" + (
    b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n"
)
PAIR = {
    "diff_inputs": np.arange(96, dtype=np.float32).reshape(2, 3, 2, 4, 2),
    "diff_targets": np.arange(96, dtype=np.float32).reshape(2, 3, 2, 4, 2)[::-1] / 7,
}


def find(pickled: bytes) -> dict:
    file = io.BytesIO(HEADER + pickled)
    return find_arrays(file, len(HEADER), len(HEADER) + len(pickled), "pairs.npy")


def held_in_object(value: object, protocol: int = 4) -> bytes:
    """What ``np.save`` writes for an object."""
    array = np.empty((), object)
    array[()] = value
    return pickle.dumps(array, protocol=protocol)


def values(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    with path.open("rb") as file:
        places = find_arrays(file, read_header(str(path)).end, len(data), str(path))
    everything = {}
    for key, place in places.items():
        array = NpyArray(place)
        everything[key] = array._read((slice(None),) * len(array.shape))
    return everything


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [3, 100, 20_000, 300_000])
def test_every_protocol_dtype_and_order(tmp_path, protocol, size):
    rng = np.random.default_rng(size)
    stored = {
        "bytes": rng.integers(0, 256, size).astype(np.uint8),
        "big": rng.normal(size=size).astype(">f4"),
        "fortran": np.asfortranarray(rng.normal(size=(size, 2))),
        "half": rng.normal(size=(1, size)).astype("f2"),
        "truth": rng.random(size) < 0.5,
        "long": rng.integers(-(2**62), 2**62, (2, size)),
        "reversed": rng.normal(size=size).astype("f4")[::-1],
    }
    path = tmp_path / "any.npy"
    path.write_bytes(HEADER + held_in_object(stored, protocol))
    for key, found in values(path).items():
        assert found.dtype == stored[key].dtype.newbyteorder("="), key
        assert np.array_equal(found, stored[key]), key


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_modules_under_the_names_of_numpy_1(protocol, tmp_path):
    pickled = held_in_object(PAIR, protocol)
    assert b"numpy._core" in pickled
    for new, old in ((b"numpy._core.multiarray", b"numpy.core.multiarray"),):
        # a frame is one byte longer than it has to be then, which is of no weight here
        pickled = pickled.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c\x15" + old)
        pickled = pickled.replace(b"c" + new, b"c" + old)
    path = tmp_path / "diffusion_all.npy"
    path.write_bytes(HEADER + pickled)
    assert np.array_equal(values(path)["diff_targets"], PAIR["diff_targets"])
    ds = open_paths([str(path)])
    assert np.array_equal(ds["input_channel_1"], PAIR["diff_inputs"][:, 1])


def test_np_save_writes_what_is_found(tmp_path):
    path = tmp_path / "diffusion_all.npy"
    np.save(path, PAIR, allow_pickle=True)
    for key, found in values(path).items():
        assert found.tobytes() == PAIR[key].tobytes()
    (tmp_path / "none.npy").write_bytes(HEADER + held_in_object({}))
    assert values(tmp_path / "none.npy") == {}


class Reduced:
    """Pickles as any call."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


class Persistent(pickle.Pickler):
    def persistent_id(self, obj):
        return "anything" if isinstance(obj, bytes) else None


def persistent(protocol: int) -> bytes:
    file = io.BytesIO()
    Persistent(file, protocol).dump({"a": b"x"})
    return file.getvalue()


def recursive_list() -> list:
    held: list = []
    held.append(held)
    return held


def hostile(marker: Path) -> dict[str, bytes]:
    """Name -> pickle; those that could would make the file ``marker``."""
    touch = f"touch {marker}"
    array = np.zeros(3)
    outer = held_in_object({"a": array})
    calls = {
        "os.system": Reduced(os.system, (touch,)),
        "subprocess": Reduced(subprocess.getoutput, (touch,)),
        "eval": Reduced(eval, (f"open({str(marker)!r}, 'w')",)),
        "exec": Reduced(exec, (f"open({str(marker)!r}, 'w')",)),
        "getattr": Reduced(getattr, (1, "real")),
        "open": Reduced(open, (str(marker), "w")),
        "numpy function": Reduced(np.fromfile, (str(marker),)),
        "state": Reduced(dict, (), {"a": 1}),
        "items": Reduced(list, (), None, iter([1, 2])),
        "setter": Reduced(dict, (), None, None, None, setattr),
    }
    found = {f"{name} inside": held_in_object({"a": call}) for name, call in calls.items()}
    found |= {f"{name} as key": held_in_object({Key(): call}) for name, call in calls.items()}
    found |= {f"{name} alone": pickle.dumps(call) for name, call in calls.items()}
    found |= {f"{name}, protocol 0": pickle.dumps(call, 0) for name, call in calls.items()}
    found |= {f"{name}, protocol 2": pickle.dumps(call, 2) for name, call in calls.items()}
    system = b"cposix\nsystem\n" + b"X" + struct.pack("<I", len(touch)) + touch.encode()
    text = lambda s: b"\x8c" + bytes([len(s)]) + s.encode()  # noqa: E731
    dtype = b"cnumpy\ndtype\n" + text("f8") + b"\x89\x88\x87R"
    return found | {
        "after the end": outer + b"\x80\x04" + system + b"\x85R.",
        "instance": b"\x80\x02(" + text(touch) + b"iposix\nsystem\n.",
        "object": b"\x80\x02(cposix\nsystem\n" + text(touch) + b"o.",
        "new object": b"\x80\x02cposix\nsystem\n" + text(touch) + b"\x85\x81.",
        "new object with keywords": b"\x80\x04cposix\nsystem\n" + text(touch) + b"\x85}\x92.",
        "dotted name": b"\x80\x04" + text("numpy") + text("ndarray.tofile") + b"\x93.",
        "name from numbers": b"\x80\x04K\x01K\x02\x93.",
        "import alone": b"\x80\x02cantigravity\ngeohash\n.",
        "name that does not end": b"\x80\x02c" + b"a" * 10**6,
        "extension 1": b"\x80\x02\x82\x01.",
        "extension 2": b"\x80\x02\x83\x01\x00.",
        "extension 4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "persistent": persistent(4),
        "persistent, text": persistent(0),
        "buffer outside": b"\x80\x05\x97.",
        "read-only buffer": b"\x80\x05\x97\x98.",
        "call of the array type": b"\x80\x02cnumpy\nndarray\nK\x03\x85R.",
        "call of a text": b"\x80\x02" + text("numpy") + b")R.",
        "call with a list": b"\x80\x02cnumpy\ndtype\n]R.",
        "call of a result": b"\x80\x02" + dtype + b")R.",
        "state of a name": b"\x80\x02cnumpy\nndarray\n}b.",
        "state of a dict": b"\x80\x02}}b.",
        "state that is a dict": b"\x80\x02" + dtype + b"}b.",
        "state with slots": b"\x80\x02" + dtype + b"N}\x86b.",
        "encoding": b"\x80\x02c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.",
        "no stack": b"\x80\x04.",
        "pop from nothing": b"\x80\x04\x85.",
        "pop below a mark": b"\x80\x04K\x01(\x85.",
        "no mark": b"\x80\x04t.",
        "memo of nothing": b"\x80\x04h\x07.",
        "memo of an empty stack": b"\x80\x04\x94.",
        "mark left": b"\x80\x04(" + outer[2:],
        "second protocol": b"\x80\x04\x80\x04" + outer[2:],
        "protocol 6": b"\x80\x06" + outer[2:],
        "protocol 1": b"\x80\x01" + outer[2:],
        "dup": b"\x80\x02}2.",
        "stop at once": b".",
        "long text as key": held_in_object({"k" * 300: array}),
        "text that is none": b"\x80\x04\x8c\x02\xff\xfe.",
        "huge integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "long integer": b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
        "huge bytes": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
        "huge text": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
        "huge array of bytes": b"\x80\x05\x96" + b"\x00\x00\x00\x00\x00\x01\x00\x00.",
        "negative size": b"\x80\x02T\xff\xff\xff\xff.",
        "endless numbers": b"\x80\x02" + b"K\x01" * 10**6 + b".",
        "deep tuples": b"\x80\x02)" + b"\x85" * 10**6 + b".",
        "doubling tuples": b"\x80\x02)" + b"q\x00h\x00\x86" * 1000 + b".",
        "doubling list": b"\x80\x04]\x94(" + b"h\x00" * 2000 + b"e" + b".",
        "list in itself": held_in_object({"a": recursive_list()}),
        "dict in itself": b"\x80\x04}\x94" + text("a") + b"h\x00s.",
        "array in itself": outer[:-1].replace(b"K\x03\x85", b"h\x06\x85", 1) + b".",
        "dict in a dict": held_in_object({"a": {"b": array}}),
        "number in the dict": held_in_object({"a": 1}),
        "number as key": held_in_object({1: array}),
        "list": held_in_object([array]),
        "text": held_in_object("text"),
        "set": held_in_object({"a", "b"}),
        "several objects": pickle.dumps(np.array([{}, {}], object), 4),
        "plain dict": pickle.dumps({"a": array}, 4),
        "array of objects in the dict": held_in_object({"a": np.array([None, {}], object)}),
        "structured": held_in_object({"a": np.zeros(2, [("x", "f4"), ("y", "i2")])}),
        "text array": held_in_object({"a": np.array(["a", "b"])}),
        "times": held_in_object({"a": np.zeros(2, "M8[s]")}),
        "complex": held_in_object({"a": np.zeros(2, complex)}),
        "scalar": held_in_object({"a": np.float64(1)}),
        "subclass": held_in_object({"a": np.ma.zeros(3)}),
        "matrix": held_in_object({"a": np.zeros(3).view(Sub)}),
        "dtype as value": held_in_object({"a": np.dtype("f4")}),
        "dtype with metadata": held_in_object(
            {"a": np.zeros(2, np.dtype("f4", metadata={"k": 1}))}
        ),
        "negative length": outer.replace(b"K\x03\x85", b"J\xfd\xff\xff\xff\x85", 1),
        "more values than bytes": outer.replace(b"K\x03\x85", b"K\x04\x85", 1),
        "length too large": outer.replace(b"K\x03\x85", b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85", 1),
        "length as text": outer.replace(b"K\x03\x85", b"\x8c\x013\x85", 1),
        "length as truth": outer.replace(b"K\x03\x85", b"\x88\x85", 1),
        "key twice": twice(array),
        "byte order of nothing": outer.replace(b"\x8c\x01<", b"\x8c\x01|", 1),
        "unknown byte order": outer.replace(b"\x8c\x01<", b"\x8c\x01=", 1),
        "dtype of a command": outer.replace(b"\x8c\x02f8", b"\x8c\x02V8", 1),
    }


class Sub(np.ndarray):
    """A subclass of arrays, which pickles under its own name."""


class Key:
    """A key that is no text."""


def twice(array: np.ndarray) -> bytes:
    pickled = held_in_object({"a": array, "b": array + 1})
    assert pickled.count(b"\x8c\x01b") == 1
    return pickled.replace(b"\x8c\x01b", b"\x8c\x01a")


def names() -> list[str]:
    return sorted(hostile(Path("marker")))


@pytest.fixture
def nothing_runs(monkeypatch):
    """Whatever could run code is watched."""
    before = set(sys.modules)

    def called(*args, **kwargs):
        raise AssertionError(f"called with {args!r:.100}")

    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (pickletools, "genops"),
        (os, "system"),
        (subprocess, "Popen"),
        (builtins, "eval"),
        (builtins, "__import__"),
    ):
        monkeypatch.setattr(module, name, called)
    yield
    monkeypatch.undo()
    assert not {"antigravity", "this"} & (set(sys.modules) - before)


@pytest.mark.parametrize("name", names())
def test_hostile_pickles_are_refused(name, tmp_path, request):
    marker = tmp_path / "marker"
    pickled = hostile(marker)[name]
    tracemalloc.start()
    request.getfixturevalue("nothing_runs")
    with pytest.raises(FormatError) as caught:
        find(pickled)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < len(pickled) + 2**22
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 400
    assert "refused, nothing in it was executed" in said
    assert not marker.exists()


def test_the_marker_would_have_been_made(tmp_path):
    """The pickles are dangerous: loading one runs its command."""
    marker = tmp_path / "marker"
    pickle.loads(hostile(marker)["os.system alone"])  # our own command
    assert marker.exists()


def test_a_hostile_file_is_refused_when_it_is_opened(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "diffusion_train.npy"
    path.write_bytes(HEADER + hostile(marker)["os.system inside"])
    with pytest.raises(FormatError, match=r"posix\.system.*refused"):
        open_paths([str(path)])
    assert not marker.exists()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"diff_inputs": np.zeros((1, 1, 1, 2, 2))}, "expected the arrays"),
        ({**PAIR, "more": np.zeros(2)}, "expected the arrays"),
        ({**PAIR, "diff_inputs": np.zeros((2, 3, 2, 4, 1))}, "expected two arrays"),
        (dict.fromkeys(PAIR, np.zeros((2, 3))), "expected two arrays"),
        (dict.fromkeys(PAIR, np.zeros((0, 3, 2, 2**40, 2))), "expected two arrays"),
    ],
)
def test_arrays_that_are_no_pairs(held, said, tmp_path):
    path = tmp_path / "diffusion_all.npy"
    if 2**40 in held["diff_inputs"].shape:
        np.save(path, held, allow_pickle=True)
    else:
        path.write_bytes(HEADER + held_in_object(held))
    with pytest.raises(FormatError, match=said):
        open_paths([str(path)])


def test_every_cut_and_every_changed_byte(tmp_path):
    """A damaged pickle gives arrays that fit the file, or one clear error."""
    pickled = held_in_object({"a": np.arange(40.0), "b": np.arange(6)})
    for end in range(len(pickled)):
        with pytest.raises(FormatError):
            find(pickled[:end])
    rng, refused = np.random.default_rng(0), 0
    for place in range(len(pickled)):
        for byte in rng.integers(0, 256, 6):
            changed = pickled[:place] + bytes([byte]) + pickled[place + 1 :]
            try:
                found = find(changed)
            except XphysError:
                refused += 1
                continue
            assert all(p.offset + p.size <= len(HEADER) + len(changed) for p in found.values())
    assert refused > len(pickled)


def test_bytes_of_arrays_are_stepped_over(tmp_path):
    """Opening 20 MB of pairs takes next to no memory, and reading one window little more."""
    path = tmp_path / "diffusion_all.npy"
    shape = (10, 1, 2, 352, 352)
    pickled = held_in_object({key: np.zeros(shape, "f4") for key in PAIR})
    path.write_bytes(HEADER + pickled)
    del pickled
    tracemalloc.start()
    ds = open_paths([str(path)])
    assert tracemalloc.get_traced_memory()[1] < 2**22
    assert not ds["target_channel_0"][3].values.any()
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
