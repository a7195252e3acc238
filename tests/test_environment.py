"""Requirements, pins, conda environment, change fragments and README agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import xphys

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Name on PyPI -> name on conda-forge, where they differ by more than case.
CONDA = {"torch": "pytorch"}
REQUIREMENTS = [
    Requirement(line)
    for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"])
]


def conda_specs() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    lines = [line.partition(" ") for line in listed if isinstance(line, str)]
    return {name: spec.strip() for name, _, spec in lines}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs)
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_conda_environment_and_pins_cover(requirement):
    name = canonicalize_name(requirement.name)
    assert conda_specs()[CONDA.get(name, name)] == str(requirement.specifier)
    assert requirement.specifier.contains(pins()[name])


def test_conda_environment_has_nothing_else():
    needed = {canonicalize_name(r.name) for r in REQUIREMENTS}
    assert set(conda_specs()) == {CONDA.get(n, n) for n in needed} | {"python", "pip"}
    assert conda_specs()["python"] == PROJECT["requires-python"]


@pytest.mark.parametrize("extra", ["cloud", "codecs", "docs"])
def test_pins_cover_the_extras_that_they_name(extra):
    for line in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_pins_are_of_public_versions():
    assert not [version for version in pins().values() if "+" in version]


def test_change_fragments_are_named_by_the_rule():
    for path in (ROOT / "changes").glob("*.md"):
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"\d{2}[a-z]?\.(feature|change|fix|docs)\.md", path.name)
        assert path.read_text(encoding="utf-8").strip()


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", readme(), flags=re.DOTALL)
    return code


def test_readme_example_has_ten_lines_at_most():
    assert len([line for line in example().splitlines() if line.strip()]) <= 10
    compile(example(), "README.md", "exec")


def test_readme_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example(), "README.md", "exec"), names)
    assert "vrmse" in capsys.readouterr().out
    error = names["back"].phys.compare(names["ds"])["vrmse"]
    assert float(error.max()) <= 1e-2


def test_readme_names_targets_and_files_that_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z]+)", readme()):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    for path in re.findall(r"\]\(((?!https?:)[^)]+)\)", readme()):
        if path != "docs/demo.png":
            assert (ROOT / path).exists(), path
    for extra in re.findall(r"'\.\[(\w+)\]'", readme()):
        assert extra in PROJECT["optional-dependencies"]


def test_version_is_the_installed_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", xphys.__version__)
