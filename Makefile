# `make demo` and `make test` make their own environment; PYTHON names the interpreter to start from.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export TSFORECAST_DATA ?= $(if $(wildcard ../shared/data),$(abspath ../shared/data))
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo batch-demo test slow check clean
demo: $(VENV)/demo
	$(BIN)/python -m tsforecast.demo

batch-demo: $(VENV)/demo
	$(BIN)/python -m tsforecast.batch_demo

test: $(VENV)/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-fail-under=90

slow: $(VENV)/dev
	$(BIN)/python -m pytest -m slow -s

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[finance,plot,batch]"
	touch $@

$(VENV)/dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/demo
