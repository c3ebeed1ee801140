# Two commands: `make up` runs a node, `make test` runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
UP_FLAGS ?=

.PHONY: up test check format docs bench peers clean

up: $(VENV)/installed
	@$(BIN)/skerry models pull $(if $(DATA),--data $(DATA))
	@$(BIN)/skerry up $(if $(DATA),--data $(DATA)) $(UP_FLAGS)

test: $(VENV)/tested
	$(BIN)/pytest -n 2 $(PYTEST_FLAGS)

check: $(VENV)/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/installed
	$(BIN)/python scripts/reference.py

# What encoders are held against in tests, and measured beside: large, so asked for by name.
peers: $(VENV)/tested
	@$(BIN)/python -m pip install --quiet --group peers

bench: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python benchmarks/run_all.py $(BENCH_FLAGS)

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Skerry needs Python 3.11 or newer; name one with: make up PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Cannot make a virtual environment: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml
	@echo "Installing Skerry into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --group test
	@touch $@

clean:
	rm -rf $(VENV) dist build
