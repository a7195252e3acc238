"""Norms and ranges gathered part by part equal those of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from xphys.coding.reference import merge, reference


def _values(state: np.ndarray) -> dict[str, np.ndarray]:
    unit = np.ldexp(1.0, state["exponent"])
    return {
        "mean": state["mean"] * unit,
        "variance": state["squares"] / state["count"] * unit**2,
        "low": state["low"] * unit,
        "high": state["high"] * unit,
        "least": state["least"] * unit,
    }


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1"])
@pytest.mark.parametrize("axes", [None, (1, 2), (0,), ()])
def test_equals_numpy(dtype: str, axes: tuple[int, ...] | None) -> None:
    x = (np.random.default_rng(0).standard_normal((5, 6, 7)) * 20 + 100).astype(dtype)
    got = _values(reference(x, axes))
    wide, over = x.astype(np.float64), (0, 1, 2) if axes is None else axes
    expected = {
        "mean": wide.mean(over, keepdims=True),
        "variance": wide.var(over, keepdims=True),
        "low": wide.min(over, keepdims=True),
        "high": wide.max(over, keepdims=True),
        "least": np.abs(wide).min(over, keepdims=True),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-13, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("size", [1.0, 1e300, 1e-300])
def test_parts_put_together(size: float) -> None:
    x = (np.random.default_rng(1).standard_normal((40, 9)) + 3) * size
    x[7, 3] = np.nan
    parts = [reference(x[i : i + 7]) for i in range(0, 40, 7)]
    merged, whole = merge(parts)[0, 0], reference(x)[0, 0]
    unit = np.ldexp(1.0, merged["exponent"] - whole["exponent"])
    assert merged["count"] == whole["count"] == 359
    assert merged["mean"] * unit == pytest.approx(whole["mean"], rel=1e-14)
    assert merged["squares"] * unit**2 == pytest.approx(whole["squares"], rel=1e-13)


def test_groups_are_put_together_one_by_one() -> None:
    x = np.random.default_rng(2).standard_normal((3, 4, 10))
    parts = [reference(x[:, :, i : i + 5], (2,)) for i in (0, 5)]
    merged, whole = merge(parts), reference(x, (2,))
    assert merged.shape == whole.shape == (3, 4, 1)
    np.testing.assert_allclose(_values(merged)["variance"], x.var(2, keepdims=True), rtol=1e-13)


def test_a_part_of_fill_values_alone_does_not_count() -> None:
    sea = np.random.default_rng(3).standard_normal((4, 5))
    land = np.full((4, 5), 1e20)
    merged = _values(merge([reference(land), reference(sea)]))
    assert float(merged["high"][0, 0]) == sea.max()
    np.testing.assert_allclose(merged["variance"], sea.var(), rtol=1e-13)


def test_nothing_to_gather() -> None:
    for x in (np.empty((0, 3)), np.full((2, 2), np.nan)):
        state = reference(x)
        assert state.shape == (1, 1)
        assert state["count"].item() == 0
    assert merge([reference(np.empty((0, 3)))])["count"].item() == 0
