# make quickstart   a real study on this machine, three to four minutes on two cores after the install
# make test         the tests
# make chaos        the tests that take minutes or need root
# make models       every architecture of transformers that is known to work, or its refusal: about three minutes
# make check        format, lint, types
# make benchmark    packs against one trial at a time, on this machine's CPU: about two minutes
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2

.PHONY: quickstart test chaos models check format benchmark clean

quickstart: $(VENV)/installed
	$(BIN)/loratory quickstart

# A file's tests stay together: they share what its fixtures built.
test: $(VENV)/installed
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

chaos: $(VENV)/installed
	$(BIN)/pytest -m chaos

models: $(VENV)/installed
	cd tools && ../$(BIN)/python -m model_matrix.main

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(VENV)/installed
	$(BIN)/python benchmarks/packing.py --device cpu --shape tiny

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# A venv of another checkout would import that checkout's code: each has its own.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "loratory needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
