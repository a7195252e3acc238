"""AthenaK reader on files written here: what the few real runs do not contain."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import xphys
from xphys.errors import FormatError, SchemaError
from xphys.io.readers.athenak import open_athenak
from xphys.schema import axis

NGHOST = 2


def deck(mesh, block, **extra):
    """Input parameters; sizes are (nx1, nx2, nx3); extra is block -> lines."""
    lines = ["#--- PAR_DUMP", "<mesh>", f"nghost = {NGHOST} # ghost cells"]
    boundary = extra.pop("boundary", "periodic")
    for d, n in enumerate(mesh, 1):
        lines += [f"nx{d} = {n}", f"x{d}min = 0.0", f"x{d}max = {float(d)}"]
        lines += [f"ix{d}_bc = {boundary}", f"ox{d}_bc = {boundary}"]
    lines += ["<meshblock>", *(f"nx{d} = {n}" for d, n in enumerate(block, 1))]
    for name, values in extra.items():
        lines += [f"<{name}>", *values]
    return "\n".join([*lines, "<par_end>", ""])


def header(text, names, *, time=0.0, cycle=0, loc=8, var=4, coarsening=None, version="1.1"):
    more = (
        "" if coarsening is None else f"  number of moments=4\n  coarsening factor={coarsening}\n"
    )
    return (
        f"Athena binary output version={version}\n"
        f"  size of preheader={5 if coarsening is None else 7}\n"
        f"  time={time}\n  cycle={cycle}\n{more}"
        f"  size of location={loc}\n  size of variable={var}\n"
        f"  number of variables={len(names)}\n  variables:  {'  '.join(names)}  \n"
        f"  header offset={len(text)}\n{text}"
    ).encode()


def record(place, level, values, start, *, loc=8, var=4, order="<"):
    """One meshblock: place (lx1, lx2, lx3), values (variable, k, j, i), start (is, js, ks)."""
    ranges = []
    for first, n in zip(start, values.shape[:0:-1], strict=True):
        ranges += [first, first + n - 1]
    head = struct.pack(f"{order}10i", *ranges, *place, level)
    bounds = np.zeros(6, f"{order}f{loc}").tobytes()
    return head + bounds + values.astype(f"{order}f{var}").tobytes()


def write(path: Path, mesh, block, blocks, names=("dens",), **options):
    """Write one file; blocks is a list of (place, level, values[, start])."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record_options = {k: options[k] for k in ("loc", "var") if k in options}
    order = options.pop("order", "<")
    extra = options.pop("deck", {})
    start = tuple(NGHOST if n > 1 else 0 for n in mesh)
    body = b"".join(
        record(b[0], b[1], b[2], b[3] if len(b) > 3 else start, order=order, **record_options)
        for b in blocks
    )
    path.write_bytes(header(deck(mesh, block, **extra), names, **options) + body)
    return path


def tiles(field, block):
    """Cut a field (variable, k, j, i) into blocks of level 0."""
    n1, n2, n3 = block
    _, nz, ny, nx = field.shape
    return [
        (
            (i, j, k),
            0,
            field[
                :, k * n3 : (k + 1) * n3, j * n2 : (j + 1) * n2, i * n1 : (i + 1) * n1
            ],
        )
        for k in range(nz // n3)
        for j in range(ny // n2)
        for i in range(nx // n1)
    ]  # fmt: skip


def field(nx, ny=1, nz=1, variables=1):
    rng = np.random.default_rng(nx + ny + nz)
    return rng.normal(size=(variables, nz, ny, nx)).astype(np.float32)


MESH, BLOCK = (8, 8, 1), (4, 4, 1)


def run(folder, number=0, group="mhd_w", rank=None, base="run"):
    inside = folder if rank is None else folder / f"rank_{rank:08d}"
    return inside / f"{base}.{group}.{number:05d}.bin"


@pytest.mark.parametrize("empty", [False, True])
def test_uneven_ranks_and_a_rank_without_blocks(tmp_path, empty):
    values = field(8, 8)
    blocks = tiles(values, BLOCK)
    write(run(tmp_path, rank=0), MESH, BLOCK, [blocks[2], blocks[0], blocks[3]])
    write(run(tmp_path, rank=1), MESH, BLOCK, [blocks[1]])
    if empty:
        write(run(tmp_path, rank=2), MESH, BLOCK, [])
    ds = open_athenak(tmp_path)
    np.testing.assert_array_equal(ds["density"].values[0], values[0, 0])
    listed = open_athenak(sorted(tmp_path.rglob("*.bin")))
    np.testing.assert_array_equal(listed["density"].values[0], values[0, 0])


def test_missing_block_says_how_much_is_covered(tmp_path):
    blocks = tiles(field(8, 8), BLOCK)
    write(run(tmp_path, rank=0), MESH, BLOCK, blocks[:2])
    write(run(tmp_path, rank=1), MESH, BLOCK, blocks[2:3])
    with pytest.raises(FormatError, match=r"other ranks: expected .* 64 cells, found 48 cells"):
        open_athenak(tmp_path)


def test_missing_rank_file_of_a_later_output(tmp_path):
    blocks = tiles(field(8, 8), BLOCK)
    for number in (0, 1):
        write(run(tmp_path, number, rank=0), MESH, BLOCK, blocks[:2], time=number)
        write(run(tmp_path, number, rank=1), MESH, BLOCK, blocks[2:], time=number)
    run(tmp_path, 1, rank=1).unlink()
    with pytest.raises(FormatError, match=r"00001\.bin: .*a rank's file is missing"):
        open_athenak(tmp_path)


def test_same_block_twice(tmp_path):
    blocks = tiles(field(8, 8), BLOCK)
    write(run(tmp_path), MESH, BLOCK, [*blocks[:3], blocks[0]])
    with pytest.raises(FormatError, match="overlapping blocks"):
        open_athenak(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": 1.5}, "expected 1.0 as in .* found time 1.5"),
        ({"cycle": 7}, "found cycle 7"),
        ({"time": 1.0, "deck": {"mhd": ["eos = ideal"]}}, "another input deck"),
    ],
)
def test_ranks_of_different_runs(tmp_path, change, message):
    blocks = tiles(field(8, 8), BLOCK)
    write(run(tmp_path, rank=0), MESH, BLOCK, blocks[:2], time=1.0)
    write(run(tmp_path, rank=1), MESH, BLOCK, blocks[2:], **{"time": 1.0, **change})
    with pytest.raises(FormatError, match=message):
        open_athenak(tmp_path)


def test_ghost_zones_are_trimmed(tmp_path):
    values = field(8, 8)
    padded = np.pad(values, [(0, 0), (0, 0), (NGHOST,) * 2, (NGHOST,) * 2], mode="wrap")
    blocks = [
        (
            (i, j, 0),
            0,
            padded[:, :, 4 * j : 4 * j + 4 + 2 * NGHOST, 4 * i : 4 * i + 4 + 2 * NGHOST],
            (0, 0, 0),
        )
        for j in range(2)
        for i in range(2)
    ]
    write(run(tmp_path), MESH, BLOCK, blocks)
    ds = open_athenak(tmp_path)
    assert dict(ds.sizes) == {"time": 1, "y": 8, "x": 8}
    np.testing.assert_array_equal(ds["density"].values[0], values[0, 0])
    np.testing.assert_array_equal(ds["density"][0, 3:6, 2:].values, values[0, 0, 3:6, 2:])


@pytest.mark.parametrize("ghost", [0, 1])
def test_coarsened_output_with_moments(tmp_path, ghost):
    mesh, block = (16, 8, 8), (8, 8, 8)
    names = [f"{n}_{m}" for n in ("dens", "velx") for m in ("1st", "2nd", "3rd", "4th")]
    coarse = field(8, 4, 4, variables=8)
    padded = np.pad(coarse, [(0, 0), *[(ghost, ghost)] * 3])
    start = (0, 0, 0) if ghost else (NGHOST,) * 3
    blocks = [((i, 0, 0), 0, padded[..., 4 * i : 4 * i + 4 + 2 * ghost], start) for i in range(2)]
    path = tmp_path / "cbin_w_2" / "run.w.00000.cbin"
    write(path, mesh, block, blocks, names, coarsening=2)
    ds = open_athenak(tmp_path)
    assert dict(ds.sizes) == {"time": 1, "z": 4, "y": 4, "x": 8}
    wanted = [f"{n}_{m}" for n in ("density", "velocity_x") for m in ("1st", "2nd", "3rd", "4th")]
    assert list(ds.data_vars) == wanted
    for name, values in zip(wanted, coarse, strict=True):
        np.testing.assert_array_equal(ds[name].values[0], values)
    assert ds["x"].values[0] == 0.5 / 8
    assert axis(ds, "z").periodic
    assert "vector" not in ds["velocity_x_2nd"].attrs


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("loc", [4, 8])
@pytest.mark.parametrize("var", [4, 8])
def test_byte_order_and_sizes(tmp_path, order, loc, var):
    values = field(8, 8, 4, variables=2)
    names = ("dens", "s_00")
    mesh, block = (8, 8, 4), (4, 8, 4)
    write(run(tmp_path), mesh, block, tiles(values, block), names, order=order, loc=loc, var=var)
    ds = open_athenak(tmp_path)
    assert ds["s_00"].dtype == np.dtype(f"f{var}")
    assert ds["s_00"].dims == ("time", "z", "y", "x")
    np.testing.assert_array_equal(ds["density"].values[0], values[0])
    np.testing.assert_array_equal(ds["s_00"].values[0], values[1])
    np.testing.assert_array_equal(ds["s_00"][0, 1, 2:5, 3:7].values, values[1, 1, 2:5, 3:7])


def test_one_dimension(tmp_path):
    values = field(16)
    options = {"deck": {"boundary": "reflect"}}
    write(run(tmp_path), (16, 1, 1), (4, 1, 1), tiles(values, (4, 1, 1)), **options)
    ds = open_athenak(tmp_path)
    assert ds["density"].dims == ("time", "x")
    assert ds["x"].attrs["boundary"] == "wall"
    assert "period" not in ds["x"].attrs
    np.testing.assert_array_equal(ds["density"].values[0], values[0, 0, 0])


def test_slice_of_a_plane_into_a_line(tmp_path):
    values = field(8, 8)
    blocks = [((1, j, 0), 0, values[:, :, 4 * j : 4 * j + 4, 5:6], (NGHOST + 1, NGHOST, 0))
              for j in range(2)]  # fmt: skip
    write(run(tmp_path), MESH, BLOCK, blocks)
    ds = open_athenak(tmp_path)
    assert ds["density"].dims == ("time", "y")
    assert ds["x"].item() == 5.5 / 8
    np.testing.assert_array_equal(ds["density"].values[0], values[0, 0, :, 5])
    write(run(tmp_path), MESH, BLOCK, blocks[:1])
    with pytest.raises(FormatError, match="8 cells, found 4 cells"):
        open_athenak(tmp_path)


def _adaptive(folder):
    """Output 0 on the root grid; in output 1 the block (1, 0) is refined once."""
    refinement = {"deck": {"mesh_refinement": ["refinement = adaptive"]}}
    root, fine = field(8, 8), field(8, 8)[:, :, ::-1] + 1
    blocks = tiles(root, BLOCK)
    write(run(folder, 0), MESH, BLOCK, blocks, time=0.0, **refinement)
    children = [((2 + i, j, 0), 1, fine[:, :, 4 * j : 4 * j + 4, 4 * i : 4 * i + 4])
                for j in range(2) for i in range(2)]  # fmt: skip
    left = [b for b in blocks if b[0] != (1, 0, 0)]
    write(run(folder, 1), MESH, BLOCK, [*left, *children], time=1.0, **refinement)
    return root[0, 0], fine[0, 0]


def test_refinement_that_changes_between_outputs(tmp_path):
    root, fine = _adaptive(tmp_path)
    ds = open_athenak(tmp_path)
    assert dict(ds.sizes) == {"time": 2, "y": 16, "x": 16}
    repeated = np.kron(root, np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(ds["density"].values[0], repeated)
    later = repeated.copy()
    later[:8, 8:] = fine
    np.testing.assert_array_equal(ds["density"].values[1], later)
    assert ds["level"].dims == ("time", "y", "x")
    assert ds["level"].values[0].max() == 0
    assert np.array_equal(np.argwhere(ds["level"].values[1] == 1)[[0, -1]], [[0, 8], [7, 15]])
    np.testing.assert_array_equal(ds["density"][1, 3:9, ::5].values, later[3:9, ::5])


def test_finer_blocks_are_averaged(tmp_path):
    root, fine = _adaptive(tmp_path)
    ds = open_athenak(tmp_path, level=0)
    wanted = root.copy()
    parts = fine.astype(np.float64).reshape(4, 2, 4, 2)
    wanted[:4, 4:] = parts.mean(axis=(1, 3)).astype(np.float32)
    np.testing.assert_array_equal(ds["density"].values[1], wanted)
    np.testing.assert_array_equal(ds["density"][1, 2, 3:6].values, wanted[2, 3:6])
    np.testing.assert_array_equal(ds["density"].values[0], root)
    with pytest.raises(SchemaError, match="whole number"):
        open_athenak(tmp_path, level=-1)


def test_tree_of_levels_that_come_and_go(tmp_path):
    root, fine = _adaptive(tmp_path)
    tree = xphys.open(tmp_path, levels="tree")
    assert list(tree.children) == ["level_0", "level_1"]
    coarse, patch = tree["level_0"], tree["level_1"]
    assert coarse["covered"].dims == patch["covered"].dims == ("time", "y", "x")
    assert coarse["covered"].values[0].all()
    assert coarse["covered"].values[1].sum() == 48
    np.testing.assert_array_equal(coarse["density"].values[0], root)
    left = np.where(coarse["covered"].values[1], root, np.nan)
    np.testing.assert_array_equal(coarse["density"].values[1], left)
    assert dict(patch.sizes) == {"time": 2, "y": 8, "x": 8}
    assert not patch["covered"].values[0].any()
    assert np.isnan(patch["density"].values[0]).all()
    np.testing.assert_array_equal(patch["density"].values[1], fine)
    np.testing.assert_array_equal(patch["density"][1, 2:5, ::3].values, fine[2:5, ::3])
    np.testing.assert_array_equal(patch["x"], (8 + np.arange(8) + 0.5) / 16)
    assert coarse["x"].attrs["period"] == 1.0
    assert patch["x"].attrs["boundary"] == "open"


def test_static_blocks_that_move_are_refused(tmp_path):
    static = {"deck": {"mesh_refinement": ["refinement = static"]}}
    blocks, fine = tiles(field(8, 8), BLOCK), field(4, 4)
    for number in (0, 1):  # another block is refined in each
        left = [b for b in blocks if b[0] != (number, 0, 0)]
        children = [((2 * number + i, j, 0), 1, fine) for j in range(2) for i in range(2)]
        write(run(tmp_path, number), MESH, BLOCK, [*left, *children], time=number, **static)
    ds = open_athenak(tmp_path)
    assert ds["density"].isel(time=0).values.shape == (16, 16)
    with pytest.raises(FormatError, match=r"00001.*expected the meshblocks of output 0"):
        ds["density"].isel(time=1).load()


def _cut(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:10], "expected a first line"),
        (lambda b: b"", "expected a first line"),
        (lambda b: b[:60], "found the end of the file"),
        (lambda b: b[: b.index(b"<meshblock>")], "bytes of input parameters"),
        (lambda b: b[:-7], "last block is truncated"),
        (lambda b: b + b"\0" * 5, "last block is truncated or bytes were added"),
        (lambda b: b[:-152], "64 cells, found 48 cells"),
        (lambda b: b.replace(b"=1.1", b"=1.0", 1), r"version 1\.1, found '1\.0'"),
        (lambda b: b.replace(b"  time=", b"  tame=", 1), "expected header lines"),
        (lambda b: b.replace(b"variables=1", b"variables=2", 1), "'variables:' with 2 names"),
        (lambda b: b.replace(b"nx1 = 8", b"nx1 = x", 1), "cannot read <mesh>"),
        (lambda b: b.replace(b"variable=4", b"variable=5", 1), "expected 4 or 8"),
        (lambda b: b.replace(b"=0.0\n", b"=nan\n", 1), "finite number"),
        (lambda b: b.replace(b"<par_end>", b"<par end>\n\n", 1), "truncated|damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path, change, message):
    path = write(run(tmp_path), MESH, BLOCK, tiles(field(8, 8), BLOCK))
    _cut(path, change)
    with pytest.raises(FormatError, match=message) as caught:
        open_athenak(path)
    assert path.name in str(caught.value)


def test_truncated_later_output_is_found_at_open(tmp_path):
    for number in (0, 1):
        write(run(tmp_path, number), MESH, BLOCK, tiles(field(8, 8), BLOCK), time=number)
    _cut(run(tmp_path, 1), lambda b: b[:-3])
    with pytest.raises(FormatError, match=r"00001\.bin"):
        open_athenak(tmp_path)


def test_file_cut_after_opening(tmp_path):
    path = write(run(tmp_path), MESH, BLOCK, tiles(field(8, 8), BLOCK))
    ds = open_athenak(tmp_path)
    _cut(path, lambda b: b[:-3])
    with pytest.raises(FormatError, match=r"00000\.bin: expected 64 bytes"):
        ds["density"].values  # noqa: B018


def test_groups_with_missing_outputs(tmp_path):
    values = field(8, 8, variables=3)
    for number in (0, 1, 2):
        options = {"time": number, "cycle": number}
        write(run(tmp_path, number), MESH, BLOCK, tiles(values[:1], BLOCK), **options)
        if number != 1:
            names = ("bcc1", "bcc2", "bcc3")
            write(run(tmp_path, number, "b"), MESH, BLOCK, tiles(values, BLOCK), names, **options)
    with pytest.raises(FormatError, match="b lacks 1: give missing='drop'"):
        open_athenak(tmp_path)
    ds = open_athenak(tmp_path, missing="drop")
    assert ds["time"].values.tolist() == [0, 2]
    np.testing.assert_array_equal(ds["density"].values[1], values[0, 0])
    np.testing.assert_array_equal(ds["magnetic_field_z"].values[1], values[2, 0])
    assert open_athenak(tmp_path, groups="mhd_w").sizes["time"] == 3


@pytest.mark.parametrize(("other", "fails"), [(2.00001, False), (2.01, True)])
def test_times_of_groups(tmp_path, other, fails):
    values = tiles(field(8, 8), BLOCK)
    write(run(tmp_path, 4, "a"), MESH, BLOCK, values, ("jz",), time=2.0)
    write(run(tmp_path, 4, "b"), MESH, BLOCK, values, time=other)
    if fails:
        with pytest.raises(FormatError, match=r"b\.00004\.bin: expected time 2 as in .*a\.00004"):
            open_athenak(tmp_path)
    else:
        assert open_athenak(tmp_path)["time"].values.tolist() == [2.0]


def test_same_variable_in_two_groups_is_kept_once(tmp_path):
    first, second = field(8, 8), field(8, 8) + 1
    write(run(tmp_path, 0, "a"), MESH, BLOCK, tiles(first, BLOCK))
    write(run(tmp_path, 0, "b"), MESH, BLOCK, tiles(second, BLOCK))
    ds = open_athenak(tmp_path)
    np.testing.assert_array_equal(ds["density"].values[0], first[0, 0])
    assert ds.attrs["athenak_repeated_variables"] == "dens of b"


def test_files_of_two_runs(tmp_path):
    values = tiles(field(8, 8), BLOCK)
    write(run(tmp_path, 0), MESH, BLOCK, values)
    write(run(tmp_path, 1, base="other"), MESH, BLOCK, values)
    with pytest.raises(FormatError, match=r"basenames \['other', 'run'\]"):
        open_athenak(tmp_path)
    run(tmp_path, 1, base="other").unlink()
    write(run(tmp_path, 1), (4, 4, 1), BLOCK, values[:1], time=1.0)
    with pytest.raises(FormatError, match="found another one"):
        open_athenak(tmp_path)


def test_times_that_run_backwards(tmp_path):
    for number in (0, 1):
        write(run(tmp_path, number), MESH, BLOCK, tiles(field(8, 8), BLOCK), time=1 - number)
    with pytest.raises(FormatError, match="expected a time after 1 of output 0, found 0"):
        open_athenak(tmp_path)


def test_parameter_changed_by_a_restart_lies_on_time(tmp_path):
    for number in (0, 1):
        options = {"time": number, "deck": {"mhd": [f"viscosity = {number + 1}e-3 # nu"]}}
        write(run(tmp_path, number), MESH, BLOCK, tiles(field(8, 8), BLOCK), **options)
    ds = open_athenak(tmp_path)
    assert ds["viscosity"].dims == ("time",)
    assert ds["viscosity"].values.tolist() == [1e-3, 2e-3]


def test_boundaries_outside_the_radial_vertical_box(tmp_path):
    box = {"shearing_box": ["qshear = 1.5", "omega0 = 1.0"]}
    mesh, block = (8, 8, 4), (4, 4, 4)
    path = tmp_path / "cube" / "run.w.00000.bin"
    values = tiles(field(8, 8, 4), block)
    write(path, mesh, block, values, ("vely",), deck={**box, "boundary": "shear_periodic"})
    cube = open_athenak(path)
    assert cube["velocity_y"].dims == ("time", "z", "y", "x")
    assert cube["x"].attrs["boundary"] == "shear_periodic"
    assert "period" not in cube["x"].attrs
    assert "background shear" in cube["velocity_y"].attrs["comment"]
    options = {"deck": {**box, "problem": ["shearing_box_r_phi = true"], "boundary": "outflow"}}
    write(path, MESH, BLOCK, tiles(field(8, 8), BLOCK), ("vely",), **options)
    flat = open_athenak(path)
    assert flat["velocity_y"].dims == ("time", "y", "x")
    assert flat["x"].attrs["boundary"] == "open"


def test_folder_without_dumps(tmp_path):
    with pytest.raises(FormatError, match=r"run\.mhd_w\.00012\.bin"):
        open_athenak(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_athenak(tmp_path / "nothing")


def test_file_with_another_name_opens_alone(tmp_path):
    values = field(8, 8)
    path = write(tmp_path / "snapshot.dat", MESH, BLOCK, tiles(values, BLOCK))
    np.testing.assert_array_equal(open_athenak(path)["density"].values[0], values[0, 0])
