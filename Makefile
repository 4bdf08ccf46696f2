# make train | make test | make test-slow | make stress | make combinations | make mutants | make check | make docs |
# make release-models | make clean
# The environment is made in .venv by the first target that needs it, and made again when pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: train release-models test test-slow stress combinations mutants check docs clean
.DELETE_ON_ERROR:

train: $(VENV)/.ready
	$(BIN)/python -m experiments.train

release-models: $(VENV)/.ready
	$(BIN)/python -m experiments.release

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/.ready-dev
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -m "not stress and not combinations"

stress: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m "" tests/run/test_stress.py tests/run/test_endurance.py tests/run/test_checkpoints.py tests/run/test_resume.py

combinations: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m combinations --dist load tests/run/test_triples.py

mutants: $(VENV)/.ready-dev
	PYTHONPATH=tests $(BIN)/python -m mutants --jobs 2

check: $(VENV)/.ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Executes the tutorials, a few minutes; what did not change is taken from docs/_build/.jupyter_cache.
docs: $(VENV)/.ready-docs
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs docs/_build/html
	@echo "the documentation: docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build docs/_build docs/generated *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(BIN)/uv:
	$(PYTHON) .ci/environment.py $(VENV)

$(VENV)/.ready: pyproject.toml setup.cfg $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[train]'
	@touch $@

$(VENV)/.ready-dev: pyproject.toml setup.cfg $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	@touch $@ $(VENV)/.ready

$(VENV)/.ready-docs: pyproject.toml setup.cfg $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[docs]'
	@touch $@
