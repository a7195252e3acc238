"""Recipes, operators and detection of predictions."""

from dataclasses import replace

import numpy as np
import pytest

from xphys.coding import Bounds, Request, decode_chunk, encode_chunk
from xphys.coding.predict import (
    Grid,
    bases_of,
    check_bases,
    decode_predicted,
    encode_together,
    make_plan,
)
from xphys.coding.predict.carry import Carrier, Setting, carry
from xphys.coding.predict.fit import fit_recipe
from xphys.coding.predict.grid import chebyshev_length
from xphys.coding.predict.modes import Modes
from xphys.coding.predict.operators import predict
from xphys.coding.predict.plan import MODES, WALLS, Plan, Step, Term
from xphys.coding.predict.recipe import Recipe, RecipeTerm, join, split
from xphys.coding.predict.saving import Target
from xphys.coding.predict.walls import Layer, vorticity
from xphys.errors import CorruptDataError

BOX = Grid(("", "periodic", "periodic"), (0.0, 1.0, 2.0))
ROLES = ("time", "space", "space")


def _smooth(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    for axis in range(1, len(shape)):
        for _ in range(3):
            x = x + np.roll(x, 1, axis)
    return x - x.mean()


def _request(bound: float) -> Request:
    return Request("transform", Bounds(vrmse=bound), ROLES, (None, True, True))


def _recipe() -> Recipe:
    weights = np.array([3, -200, 17], np.int16)
    terms = (
        RecipeTerm((0,), "j1cf", 2.0),
        RecipeTerm((1, 1), "", 0.25),
        RecipeTerm((0, 1), "01", 1e-3, weights),
    )
    return Recipe("modes/1", ("jz", "velocity_x"), (1, 2), (0.5, 1.0), terms)


def _pair(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    """A variable, its double, and their chunks, the second told from the first."""
    x = _smooth(rng, 3, 16, 16).astype(np.float32)
    chunks = {"x": x, "twice": 2 * x}
    plan = Plan((Step("x"), Step("twice", MODES, (Term(("x",), "="),))))
    requests = dict.fromkeys(chunks, _request(1e-2))
    return chunks, encode_together(plan, BOX, chunks, requests, dict.fromkeys(chunks))


def test_recipes_are_read_as_written() -> None:
    rng = np.random.default_rng(0)
    chunks, payloads = _pair(rng)
    chunk, recipe = split(payloads["twice"])
    assert recipe is not None
    other = _recipe()
    found = split(join(chunk, other, {n: b"" for n in other.bases}))[1]
    assert found == other
    np.testing.assert_array_equal(found.terms[2].bands, other.terms[2].bands)
    assert split(payloads["x"]) == (payloads["x"], None)
    assert bases_of(payloads["twice"]) == ("x",)


def test_random_changes_of_a_recipe_are_errors() -> None:
    rng = np.random.default_rng(1)
    _, payloads = _pair(rng)
    chunk = split(payloads["twice"])[0]
    data = bytearray(payloads["twice"])
    for _ in range(300):
        at = int(rng.integers(len(chunk), len(data)))
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        with pytest.raises(CorruptDataError):
            decode_predicted(bytes(changed), payloads)
    for end in range(len(chunk), len(data)):
        with pytest.raises(CorruptDataError):
            decode_predicted(bytes(data[:end]), payloads)


def test_a_base_that_is_another_one_or_missing() -> None:
    chunks, payloads = _pair(np.random.default_rng(2))
    other = encode_chunk(chunks["x"] + 1, _request(1e-2))
    with pytest.raises(CorruptDataError, match="predicted from x"):
        check_bases(payloads["twice"], {"x": other})
    with pytest.raises(CorruptDataError, match="lacks x"):
        decode_predicted(payloads["twice"], {})
    with pytest.raises(CorruptDataError, match="prediction"):
        decode_chunk(split(payloads["twice"])[0])


def test_a_copy_costs_next_to_nothing() -> None:
    chunks, payloads = _pair(np.random.default_rng(3))
    assert len(payloads["twice"]) < 150
    found = decode_predicted(payloads["twice"], payloads)
    np.testing.assert_allclose(found, 2 * decode_chunk(payloads["x"]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "shape"), [("modes/9", (3, 16, 16)), ("modes/1", (3, 16, 8))])
def test_unknown_operators_and_other_shapes(name: str, shape: tuple[int, ...]) -> None:
    recipe = Recipe(name, ("x",), (1, 2), (1.0, 1.0), (RecipeTerm((0,), "", 1.0),))
    with pytest.raises(CorruptDataError, match="operator|shape"):
        predict(recipe, {"x": np.zeros((3, 16, 16))}, shape)


@pytest.mark.parametrize("by", ["q", "j0xx", "c019999", "7", "077", "\u00b2"])
def test_unknown_multipliers(by: str) -> None:
    recipe = Recipe("modes/1", ("x",), (1, 2), (1.0, 1.0), (RecipeTerm((0,), by, 1.0),))
    with pytest.raises(CorruptDataError):
        predict(recipe, {"x": np.zeros((3, 16, 16))}, (3, 16, 16))


@pytest.mark.parametrize("sizes", [(16, 12), (9, 16), (15, 7)])
def test_inverse_curl(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    modes = Modes((2, *sizes), (1, 2), (1.0, 2.0))
    potential = modes.forward(_smooth(rng, 2, *sizes))
    potential[:, modes.nyquist] = 0
    k = [2j * np.pi * w for w in modes.wavenumbers]
    v = {"zero": modes.backward(k[1] * potential), "one": modes.backward(-k[0] * potential)}
    curl = modes.backward((k[1] ** 2 + k[0] ** 2) * potential)
    for place, name in enumerate(v):
        recipe = Recipe(
            "modes/1", ("c",), (1, 2), (1.0, 2.0), (RecipeTerm((0,), f"j{place}ss", 1.0),)
        )
        found = predict(recipe, {"c": curl}, curl.shape)
        # the operators take lengths in any unit: 2 pi is in the stencils
        np.testing.assert_allclose(found, v[name], atol=1e-9 * np.abs(v[name]).max())


def test_solenoidal_component() -> None:
    rng = np.random.default_rng(5)
    modes = Modes((2, 16, 16), (1, 2), (1.0, 1.0))
    potential = modes.forward(_smooth(rng, 2, 16, 16))
    potential[:, modes.nyquist] = 0
    k = modes.wavenumbers
    v0, v1 = modes.backward(1j * k[1] * potential), modes.backward(-1j * k[0] * potential)
    recipe = Recipe("modes/1", ("b",), (1, 2), (1.0, 1.0), (RecipeTerm((0,), "c019", 1.0),))
    found = predict(recipe, {"b": v1}, v1.shape)
    even = modes.backward(np.where(k[0] == 0, modes.forward(v0), 0))
    np.testing.assert_allclose(found, v0 - even, atol=1e-3 * np.abs(v0).max())


def test_other_axis_orders() -> None:
    rng = np.random.default_rng(6)
    x = _smooth(rng, 3, 16, 12)
    terms = (RecipeTerm((0,), "0", 1.0), RecipeTerm((0, 0), "01", 0.5))
    first = predict(Recipe("modes/1", ("x",), (1, 2), (1.0, 2.0), terms), {"x": x}, x.shape)
    moved = np.moveaxis(x, 0, 2)
    second = predict(
        Recipe("modes/1", ("x",), (0, 1), (1.0, 2.0), terms), {"x": moved}, moved.shape
    )
    np.testing.assert_allclose(np.moveaxis(second, 2, 0), first, atol=1e-12)


def test_layer() -> None:
    nodes, points, aspect = 32, 16, 4.0
    layer = Layer((1, nodes, points), 1, 2, aspect)
    z = -np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)[:, None]  # half distances
    x = (np.arange(points) * 2 * aspect / points)[None]
    k = np.pi / aspect * 2
    stream = (1 - z**2) ** 2 * np.cos(k * x)
    u = 4 * z * (1 - z**2) * np.cos(k * x) + 1 - z**2
    w = -k * (1 - z**2) ** 2 * np.sin(k * x)
    slopes = vorticity(layer, u[None], w[None])
    curl = slopes[0] - slopes[1]
    laplacian = (12 * z**2 - 4) * np.cos(k * x) - k * k * stream + 2 * z
    np.testing.assert_allclose(curl[0], laplacian, atol=1e-9)
    np.testing.assert_allclose(layer.velocity(curl, "w")[0], w, atol=1e-9)
    np.testing.assert_allclose(layer.velocity(curl, "u")[0], u, atol=1e-9)


def test_pressure_of_a_layer() -> None:
    nodes, points = 32, 16
    layer = Layer((1, nodes, points), 1, 2, 4.0)
    z = -np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)[:, None]
    pressure = np.sin(z) * np.cos(np.pi / 4 * np.arange(points) * 8 / points)
    modes = layer.forward(pressure[None])
    force = layer.backward(layer.across_slope(modes))
    # a force that is a gradient across the layer only: the Laplacian along it is missing
    found = layer.force_pressure(force)
    change = layer.across_slope(layer.across_slope(layer.forward(found)))
    change = change - layer.k**2 * layer.forward(found)
    expected = layer.across_slope(layer.forward(force))
    np.testing.assert_allclose(change[:, 4:-4], expected[:, 4:-4], atol=1e-6)


def test_chebyshev_length() -> None:
    nodes = -np.cos(np.pi * (np.arange(24) + 0.5) / 24)
    assert chebyshev_length(3 + 0.5 * nodes) == pytest.approx(1.0)
    assert chebyshev_length(np.linspace(0, 1, 24)) == 0
    assert chebyshev_length(nodes[::-1]) == 0
    assert chebyshev_length(nodes[:3]) == 0


def test_plan_finds_products_and_orders_steps() -> None:
    rng = np.random.default_rng(7)
    a, b = _smooth(rng, 4, 32, 32), _smooth(rng, 4, 32, 32)
    fields = {"sum": a * a + 0.5 * b, "a": a, "b": b, "none": rng.standard_normal(a.shape)}
    requests = dict.fromkeys(fields, _request(1e-2))
    plan = make_plan(fields, BOX, requests, dict.fromkeys(fields))
    order = [step.name for step in plan.steps]
    assert sorted(order) == sorted(fields)
    steps = {step.name: step for step in plan.steps}
    found = max(fields, key=lambda n: len(steps[n].terms))
    assert found in ("sum", "b")
    assert set(steps[found].bases) == {"sum", "a", "b"} - {found}
    assert not steps["none"].terms
    for step in plan.steps:
        assert all(order.index(base) < order.index(step.name) for base in step.bases)


def test_plan_of_fields_with_holes_or_nothing() -> None:
    x = _smooth(np.random.default_rng(8), 3, 16, 16)
    hole = x.copy()
    hole[0, 0, 0] = np.nan
    fields = {"hole": hole, "zero": 0 * x, "x": x, "other": x.astype(np.float32)}
    requests = dict.fromkeys(fields, _request(1e-2))
    plan = make_plan(fields, BOX, requests, dict.fromkeys(fields))
    steps = {step.name: step for step in plan.steps}
    assert not steps["hole"].terms
    assert not steps["zero"].terms
    assert steps["other"].bases == ("x",)
    payloads = encode_together(plan, BOX, fields, requests, dict.fromkeys(fields))
    np.testing.assert_array_equal(
        np.isnan(decode_predicted(payloads["hole"], payloads)), hole != hole
    )


def test_prediction_that_does_not_pay_is_not_used() -> None:
    rng = np.random.default_rng(9)
    chunks = {"x": _smooth(rng, 3, 16, 16), "y": _smooth(rng, 3, 16, 16)}
    plan = Plan((Step("x"), Step("y", MODES, (Term(("x",), "", True),))))
    payloads = encode_together(
        plan, BOX, chunks, dict.fromkeys(chunks, _request(1e-2)), dict.fromkeys(chunks)
    )
    assert bases_of(payloads["y"]) == ()


def test_weights_of_empty_bands_are_zero() -> None:
    rng = np.random.default_rng(10)
    modes = Modes((3, 16, 16), (1, 2), (1.0, 1.0))
    x = _smooth(rng, 3, 16, 16)
    kept = modes.forward(x) * (modes.bands < 3)
    base = modes.backward(kept)
    step = Step("x", MODES, (Term(("b",), "", True),))
    grid = Grid(("", "periodic", "periodic"), (0.0, 1.0, 1.0))
    recipe = fit_recipe(step, grid, Target(x, _request(1e-3), None), {"b": base})
    assert recipe is not None
    weights = recipe.terms[0].weight * recipe.terms[0].bands
    np.testing.assert_allclose(weights[:3], 1, atol=0.01)
    np.testing.assert_array_equal(weights[3:], 0)


def test_likeness_in_a_layer() -> None:
    rng = np.random.default_rng(11)
    grid = Grid(("", "chebyshev", "periodic"), (0.0, 1.0, 4.0))
    base = _smooth(rng, 2, 16, 32)
    step = Step("x", WALLS, (Term(("b",), "h", True),))
    x = np.roll(base, 1, 2) - np.roll(base, -1, 2)
    quarter = fit_recipe(step, grid, Target(x, _request(1e-3), None), {"b": base})
    assert quarter is not None
    rest = x - predict(quarter, {"b": base}, x.shape)
    assert rest.std() < 0.3 * x.std()


def _carried(rng: np.random.Generator) -> tuple[Grid, dict[str, np.ndarray], np.ndarray]:
    """A scalar in a steady flow between walls, at uneven times, and that flow."""
    nodes, points, fields = 24, 32, 8
    z = -np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)[:, None]
    k = np.pi / 4
    x = np.arange(points) * 8 / points
    flow = {
        "u": -4 * z * (1 - z**2) * np.cos(k * x) / k,
        "w": (1 - z**2) ** 2 * np.sin(k * x),
    }
    times = np.cumsum(rng.uniform(0.4, 0.6, fields))
    values = {n: np.repeat(v[None], fields, axis=0) for n, v in flow.items()}
    layer = Layer((fields, nodes, points), 1, 2, 4.0)
    carrier = Carrier(layer, values["u"], values["w"], times)
    first = 0.5 - 0.5 * z + 0.3 * (1 - z**2) * np.cos(2 * k * x)
    values["s"] = carry(carrier, first, Setting(0.02, 1.0, 0.0, 12))
    return Grid(("", "chebyshev", "periodic"), (0.0, 2.0, 8.0), 0, tuple(times)), values, times


def test_a_carried_scalar_is_found() -> None:
    rng = np.random.default_rng(12)
    grid, values, times = _carried(rng)
    values = {n: v.astype(np.float32) for n, v in values.items()}
    requests = dict.fromkeys(values, replace(_request(1e-2), periodic=(None, False, True)))
    states = dict.fromkeys(values)
    plan = make_plan(values, grid, requests, states)
    steps = {step.name: step for step in plan.steps}
    assert Term(("u", "w"), "carried", True) in steps["s"].terms
    assert steps["w"].terms == (Term(("u",), "c", True),)
    payloads = encode_together(plan, grid, values, requests, states, times)
    recipe = split(payloads["s"])[1]
    assert recipe is not None
    assert recipe.carried is not None
    assert recipe.carried.diffusivity == pytest.approx(0.02, rel=0.1)
    again = split(join(split(payloads["s"])[0], recipe, payloads))[1]
    assert again == recipe
    alone = encode_together(plan, grid, values, requests, states)
    assert len(payloads["s"]) < len(alone["s"])
    found = decode_predicted(payloads["s"], payloads)
    error = np.sqrt(((found - values["s"].astype(float)) ** 2).mean())
    assert error <= 1e-2 * values["s"].astype(float).std()


def test_carrying_keeps_what_rests_and_survives_nonsense() -> None:
    layer = Layer((3, 16, 16), 1, 2, 2.0)
    still = np.zeros((3, 16, 16))
    times = np.array([0.0, 1.0, 3.0])
    z = -np.cos(np.pi * (np.arange(16) + 0.5) / 16)[:, None] + np.zeros(16)
    made = carry(Carrier(layer, still, still, times), z, Setting(0.1, -1.0, 1.0, 4))
    np.testing.assert_allclose(made, np.broadcast_to(z, made.shape), atol=1e-9)
    decaying = carry(
        Carrier(layer, still, still, times), np.sin(np.pi * z), Setting(0.01, 0.0, 0.0, 4)
    )
    rate = np.exp(-0.01 * np.pi**2 * times)[:, None, None]
    np.testing.assert_allclose(decaying, rate * np.sin(np.pi * z), atol=2e-3)
    for value in (np.nan, np.inf, 1e300):
        wild = np.full((3, 16, 16), value)
        with np.errstate(all="ignore"):
            assert carry(Carrier(layer, wild, wild, times), z, Setting(0.1, 0, 0, 4)).shape == (
                3,
                16,
                16,
            )
