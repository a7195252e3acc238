"""Chunks that version 2 wrote decode for ever: exactly where no transform took part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xphys.codecs.wrapped  # noqa: F401 - registers "bitround"
from xphys.coding import decode_chunk, read_header

FRAMES = Path(__file__).parent.parent / "data" / "frames"
NAMES = sorted(p.stem for p in FRAMES.glob("*.v2"))


def test_there_are_frames_of_every_kind() -> None:
    assert len(NAMES) == 16


@pytest.mark.parametrize("name", NAMES)
def test_stored_frame_decodes(name: str) -> None:
    data = (FRAMES / f"{name}.v2").read_bytes()
    expected = np.load(FRAMES / f"{name}.npy")
    got = decode_chunk(data)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if all(block.method == 0 for block in read_header(data).blocks) or got.dtype.kind in "iu":
        assert got.tobytes() == expected.tobytes()
        return
    finite = np.isfinite(expected)
    assert got[~finite].tobytes() == expected[~finite].tobytes()
    # another processor may round the inverse transform differently, within the margin of bounds
    scale = np.abs(expected[finite & (np.abs(expected) < 1e19)]).max()
    difference = np.abs(got[finite].astype(np.float64) - expected[finite])
    assert difference.max() <= 4 * np.finfo(expected.dtype).eps * scale
