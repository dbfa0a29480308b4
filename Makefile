# make run    the embedded survey from nothing to catalogues and a report
# make test   the tests
# make test-faults   the tests of faults, many times over, of scaling out and of weighting: an hour, ends with the sums
# make lint   formatting, types, import layers, workflow
VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
CORES ?= all

.PHONY: run test test-faults lint clean help
help:
	@sed -n 's/^# //p' Makefile

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,dev]'
	touch $@

run: $(VENV)/installed
	PATH="$(abspath $(BIN)):$$PATH" snakemake --cores $(CORES)

test: $(VENV)/installed
	PATH="$(abspath $(BIN)):$$PATH" python -m pytest -n 2 --dist loadfile --durations 20

test-faults: $(VENV)/installed
	PATH="$(abspath $(BIN)):$$PATH" SKYMILL_FAULTS=long python -m pytest -m 'long or not long' tests/faults \
		tests/workflow/test_kills.py tests/workflow/test_scaling.py tests/workflow/test_weighting.py

lint: $(VENV)/installed
	$(BIN)/ruff check src tests scripts benchmarks
	$(BIN)/ruff format --check src tests scripts benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(abspath $(BIN)):$$PATH" snakemake --lint

clean:
	rm -rf results results_pixels results_pixels_wide results_deblending results_structure results_structure_wide results_sdss .snakemake
