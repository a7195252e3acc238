"""One variable group of a run: headers of all outputs, block tables on demand."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from xphys.errors import FormatError
from xphys.io.readers._blocks import fill_levels
from xphys.io.readers.athenak import _format
from xphys.io.readers.athenak._format import (
    BlockTable,
    Deck,
    Header,
    Options,
    read_header,
    read_table,
)
from xphys.io.readers.athenak._headers import read_headers
from xphys.io.readers.athenak._mesh import Layout, Mesh, fill_values, lay_out

__all__ = ["Group", "Output"]

_KEPT_LAYOUTS = 16  # a sweep over the variables of an output finds its block table again


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    data_offset: int


@dataclass(frozen=True)
class Output:
    """One output of a group: its number, time and files."""

    number: int
    time: float
    cycle: int
    files: tuple[_File, ...]

    @property
    def name(self) -> str:
        """What to call it in errors."""
        more = f" and {len(self.files) - 1} files of other ranks" if len(self.files) > 1 else ""
        return f"{self.files[0].path}{more}"


class Group:
    """All outputs of one variable group, e.g. ``mhd_w``.

    Parameters
    ----------
    name : str
        Name in the file names.
    numbers : mapping of int to sequence of str
        Output number -> files of all ranks.
    storage_options : mapping, optional
        For the file system of URLs.

    Attributes
    ----------
    variables : tuple of str
        Names as stored.
    dtype : numpy.dtype
        Native float32 or float64.
    mesh : Mesh
        The root grid.
    sliced : tuple of bool
        Axes (x3, x2, x1) of which only one plane was written.
    outputs : tuple of Output
        In the order of their numbers.
    decks : tuple of dict
        Input deck of the first file of every output, of very many without the blocks
        ``<output...>``; dropped when the object is pickled.

    Raises
    ------
    FormatError
        If a header is damaged, the ranks of an output disagree, the mesh or the variables change
        between outputs, times run backwards, or the first output does not cover the mesh.
    """

    def __init__(
        self, name: str, numbers: Mapping[int, Sequence[str]], storage_options: Options = None
    ):
        self.name = name
        self.storage_options = dict(storage_options or {})
        outputs, decks = [], []
        first: Header | None = None
        every = iter(
            read_headers([p for paths in numbers.values() for p in paths], storage_options)
        )
        for number, paths in numbers.items():
            headers = list(islice(every, len(paths)))
            _same_output(headers)
            first = first or headers[0]
            _same_run(first, headers[0])
            files = tuple(_File(h.path, h.size, h.data_offset) for h in headers)
            outputs.append(Output(number, headers[0].time, headers[0].cycle, files))
            decks.append(headers[0].deck)
        assert first is not None
        self.variables = first.variables
        self.dtype = np.dtype(f"f{first.variable_size}")
        self.location_size = first.location_size
        self.mesh = Mesh.from_deck(first.deck, first.coarsening, first.path)
        self.outputs = tuple(outputs)
        self.decks: tuple[Deck, ...] = tuple(decks)
        self._complete = first.complete
        self._static: bytes | None = None
        self._forget()
        self.sliced = self.layout(0).sliced
        if self.mesh.refinement != "adaptive":
            self._static = self.layout(0).digest()
        self._check_order()
        self._check_lengths()

    def _forget(self) -> None:
        self._layouts: OrderedDict[int, Layout] = OrderedDict()
        self._lock = threading.Lock()

    def deck(self, output: int) -> Deck:
        """The whole input deck of the first file of an output."""
        if self._complete and self.decks:
            return self.decks[output]
        return read_header(self.outputs[output].files[0].path, self.storage_options).deck

    def __reduce__(self) -> Any:
        left_out = {"_layouts", "_lock", "decks"}
        state = {k: v for k, v in self.__dict__.items() if k not in left_out}
        identity = hashlib.blake2b(repr(sorted(state.items())).encode(), digest_size=16)
        return _revive, (identity.hexdigest(), state)

    def _check_order(self) -> None:
        for before, after in zip(self.outputs, self.outputs[1:], strict=False):
            if after.time < before.time:
                raise FormatError(
                    f"{after.name}: expected a time after {before.time:g} of output "
                    f"{before.number}, found {after.time:g}: files of several runs are mixed"
                )

    def _check_lengths(self) -> None:
        """Without adaptive refinement every output has as many bytes of blocks as the first."""
        if self.mesh.refinement == "adaptive":
            return
        wanted = _block_bytes(self.outputs[0])
        for output in self.outputs[1:]:
            found = _block_bytes(output)
            if found != wanted:
                raise FormatError(
                    f"{output.name}: expected {wanted} bytes of meshblocks as in output "
                    f"{self.outputs[0].number}, found {found}: a file is truncated, a rank's file "
                    "is missing or bytes were added"
                )

    def layout(self, output: int) -> Layout:
        """Block table of one output, read when first asked for.

        Raises
        ------
        FormatError
            If the blocks do not tile the mesh, or change without adaptive refinement.
        """
        with self._lock:
            if output in self._layouts:
                self._layouts.move_to_end(output)
                return self._layouts[output]
        layout = lay_out(
            [self._table(file) for file in self.outputs[output].files],
            self.mesh,
            self.outputs[output].name,
        )
        if self._static is not None and layout.digest() != self._static:
            raise FormatError(
                f"{self.outputs[output].name}: expected the meshblocks of output "
                f"{self.outputs[0].number}, because <mesh_refinement> is not adaptive, found "
                "others: files of several runs are mixed"
            )
        with self._lock:
            self._layouts[output] = layout
            while len(self._layouts) > _KEPT_LAYOUTS:
                self._layouts.popitem(last=False)
        return layout

    def _table(self, file: _File) -> BlockTable:
        return read_table(
            file.path,
            size=file.size,
            data_offset=file.data_offset,
            location_size=self.location_size,
            value_bytes=len(self.variables) * self.dtype.itemsize,
            largest=self.mesh.largest_index,
            storage_options=self.storage_options,
        )

    def finest(self) -> int:
        """Finest level of all outputs; adaptive runs need the block table of each for that."""
        if self.mesh.refinement != "adaptive":
            return self.layout(0).finest
        return max(self.layout(i).finest for i in range(len(self.outputs)))

    def boxes(self, outputs: Sequence[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """First cells, and ends, of the box around the blocks of every level in some outputs."""
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for output in outputs if self.mesh.refinement == "adaptive" else outputs[:1]:
            for level, (low, high) in self._layout_for(output).boxes().items():
                before = found.get(level, (low, high))
                found[level] = (np.minimum(before[0], low), np.maximum(before[1], high))
        return found

    def read(
        self,
        output: int,
        variable: int,
        level: int,
        wanted: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        alone: bool = False,
    ) -> None:
        """Fill ``out`` (n3, n2, n1) with the wanted cells of one variable of one output.

        With ``alone`` cells that have no block of this very level stay as they are.
        """
        files = self.outputs[output].files

        def pieces(file: int, ranges: list[tuple[int, int]]) -> Iterator[bytes]:
            return _format.read_ranges(files[file].path, ranges, self.storage_options)

        fill_values(
            out,
            self._layout_for(output),
            self.mesh,
            level=level,
            wanted=wanted,
            alone=alone,
            variable=variable,
            read=pieces,
        )

    def read_levels(
        self,
        output: int,
        level: int,
        wanted: Sequence[np.ndarray],
        out: np.ndarray,
        *,
        alone: bool = False,
    ) -> None:
        """Fill ``out`` (n3, n2, n1) with the refinement level behind the wanted cells."""
        layout = self._layout_for(output)
        fill_levels(out, layout, self.mesh, level=level, wanted=wanted, alone=alone)

    def _layout_for(self, output: int) -> Layout:
        layout = self.layout(output)
        if layout.sliced != self.sliced:
            raise FormatError(
                f"{self.outputs[output].name}: expected the same slice as output "
                f"{self.outputs[0].number}, found another shape of blocks"
            )
        return layout


_live: WeakValueDictionary[str, Group] = WeakValueDictionary()


def _revive(identity: str, state: dict[str, Any]) -> Group:
    """A group from its pickled state; all variables in a worker share one, and its tables."""
    group = _live.get(identity)
    if group is None:
        group = Group.__new__(Group)
        group.__dict__.update(state, decks=())
        group._forget()
        group = _live.setdefault(identity, group)
    return group


def _block_bytes(output: Output) -> int:
    return sum(file.size - file.data_offset for file in output.files)


def _same_output(headers: Sequence[Header]) -> None:
    """Files of the ranks of one output differ in their blocks only."""
    first = headers[0]
    for other in headers[1:]:
        for what in ("time", "cycle", "variables", "variable_size", "location_size", "deck_digest"):
            a, b = getattr(first, what), getattr(other, what)
            if a != b:
                said = "another input deck" if what == "deck_digest" else f"{what} {b}"
                wanted = "the same" if what == "deck_digest" else a
                raise FormatError(
                    f"{other.path}: expected {wanted} as in {first.path}, found {said}: files of "
                    "several runs or outputs are mixed"
                )


def _same_run(first: Header, other: Header) -> None:
    """Outputs of one run share variables, sizes and mesh; other parameters may change."""
    for what in ("variables", "variable_size", "location_size", "coarsening"):
        a, b = getattr(first, what), getattr(other, what)
        if a != b:
            raise FormatError(f"{other.path}: expected {what} {a} as in {first.path}, found {b}")
    for block in ("mesh", "meshblock"):
        if first.deck.get(block) is other.deck.get(block):  # equal blocks are one object
            continue
        if _plain(first.deck, block) != _plain(other.deck, block):
            raise FormatError(
                f"{other.path}: expected the <{block}> of {first.path}, found another one: files "
                "of several runs are mixed"
            )


def _plain(deck: Deck, block: str) -> dict[str, str]:
    return {k: v for k, v in deck.get(block, {}).items() if k.startswith(("n", "x"))}
