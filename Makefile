# Everything here runs in a virtual environment of its own, with the versions and hashes of requirements.lock.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
EXTRAS ?= offline peft pdf dev
DIST_STUDY ?= demo

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON_FILES := src tests benchmarks examples/*.py docs/conf.py

.PHONY: demo results test test-slow test-ray test-trackers fuzz soak lint docs check dist format lock clean

# The main job on embedded data: train on k = 0 to 4 intermediate tasks, score retrieval and inference, report.
demo: $(READY)
	$(BIN)/xstilts run demo --store $(DEMO)/store --cache $(DEMO)/cache --report $(DEMO)/report
	@echo
	@echo "The result, to open in a browser: $(DEMO)/report/report.html"

# A process for each core, each with one thread.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# The tests that take minutes: random kills, ranks and divided layers, coverage of intervals by simulation, real data, tutorials.
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --ignore tests/test_fuzz.py

# The report of the published study, from its frozen scores, in results/NAME/report/report.html.
results: $(READY)
	rm -rf results
	set -e; for archive in docs/results/*.tar.xz; do \
		name=$$(basename $$archive .tar.xz); mkdir -p results/$$name/store; \
		tar -xJf $$archive -C results/$$name/store; \
		$(BIN)/xstilts report $$name --store results/$$name/store --out results/$$name/report; \
	done

# A long run on embedded data with random kills: what is lost, memory, logs, disk. About a quarter of an hour.
soak: $(READY)
	rm -rf soak
	$(BIN)/python benchmarks/soak.py soak --seeds 10 --kills 20

# Spoilt files for everything that reads files of others: as many of each, and which ones.
FUZZ_INPUTS ?= 2000
FUZZ_SEED ?= 0

fuzz: $(READY)
	OMP_NUM_THREADS=1 FUZZ_INPUTS=$(FUZZ_INPUTS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest -n auto -m slow tests/test_fuzz.py

# Runs on a Ray cluster of three nodes on this machine, nodes and drivers killed; installs the extra ray.
test-ray: $(READY)
	$(BIN)/python .ci/lock.py install $(EXTRAS) ray
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/test_ray.py

# What `run --track` writes with the real packages, which are installed for it.
test-trackers: $(READY)
	$(BIN)/python .ci/lock.py install $(EXTRAS) tensorboard wandb mlflow trackio
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_sinks.py

lint: $(READY)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/mypy

# Wheel and sdist, each installed into a new environment outside the tree, with the demo run from an empty folder.
dist: $(READY)
	$(BIN)/python .ci/lock.py install $(EXTRAS) dist
	.ci/dist $(BIN)/python $(DIST_STUDY)

# The documentation site in site/index.html, without the network; whatever Sphinx warns of, such as a link to nothing, fails.
docs: $(READY)
	$(BIN)/python .ci/lock.py install $(EXTRAS) docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs site

check: lint docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

format: $(READY)
	$(BIN)/ruff format $(PYTHON_FILES)
	$(BIN)/ruff check --fix $(PYTHON_FILES)

# Nothing is installed but files whose hashes are in requirements.lock.
$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python .ci/lock.py install $(EXTRAS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# After a change of dependencies; delete the file first to take the newest releases. Needs the package index.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv==0.13.9
	PATH=$(abspath $(VENV)-lock/bin):$$PATH $(VENV)-lock/bin/python .ci/lock.py write

clean:
	rm -rf $(VENV) $(VENV)-lock $(DEMO) dist soak site
