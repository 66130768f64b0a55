# Everything here runs in a virtual environment of its own, with the versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-ray check format clean

# The main job on embedded data: train on k = 0 to 4 intermediate tasks, score retrieval and inference, report.
demo: $(READY)
	$(BIN)/xstilts run demo --store $(DEMO)/store --cache $(DEMO)/cache --report $(DEMO)/report
	@echo
	@echo "The result, to open in a browser: $(DEMO)/report/report.html"

# A process for each core, each with one thread.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# The tests that take minutes: 25 random kills, retrieval of one more real language.
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Runs on a Ray cluster of three nodes on this machine, nodes and drivers killed; installs the extra ray.
test-ray: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/test_ray.py

check: $(READY)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

format: $(READY)
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[offline,peft,dev]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO)
