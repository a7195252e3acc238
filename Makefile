# One command for each verb. Everything is installed into .venv with the versions of
# constraints.txt; PYTHON=python3.12 chooses another interpreter for a new .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint types tests docs bench torture gpu clean

help:
	@echo "make demo     install the core and run the demonstration"
	@echo "make test     lint, types, the whole suite (doctests too) and the docs"
	@echo "make lint     ruff: rules and format"
	@echo "make types    mypy"
	@echo "make docs     build docs/_build/html; warnings are errors"
	@echo "make bench    compression ratios, errors and speed"
	@echo "make torture  killed writers, damage, races, full disks, bad servers; then the slow tests"
	@echo "make gpu      the tests that need a GPU"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of requirements: pip runs again only when they change.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test]'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test,codecs]'
	@touch $@

demo: $(VENV)/.core
	$(BIN)/xphys demo

test: lint types tests docs

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

tests: $(VENV)/.test
	$(BIN)/pytest -q -n $(WORKERS)

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.compression

torture: $(VENV)/.test
	$(BIN)/python -m benchmarks.torture
	@command -v radosgw >/dev/null && command -v nginx >/dev/null && servers=--servers; \
	$(BIN)/pytest -q --slow $$servers -m "slow or servers"

# pytest says 5 when nothing was selected: then this target has proved nothing, and fails.
gpu: $(VENV)/.test
	@$(BIN)/pytest -q --gpu -m gpu tests; status=$$?; \
	if [ $$status -eq 5 ]; then echo "gpu: no test is marked gpu, nothing was run"; fi; \
	exit $$status

clean:
	rm -rf docs/_build demo.zarr demo-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
