# Words for people and CI. `make demo` and `make test` set up what they need on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PROTOS := $(wildcard protos/depotlab/_proto/*.proto)
# Tests wait more than they compute: two processors keep three workers busy.
WORKERS := $(shell expr `getconf _NPROCESSORS_ONLN` + 1)
# An engine for each process; what is in one file shares one. Files come in the order of the folders: what takes longest
# first, so that no process waits for another at the end.
ENGINES := --numprocesses=$(WORKERS) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# Where compiled modules may not be kept, each of the hundreds of programs that tests start compiles ours anew. Those of
# other packages are kept when they are first used: most of them never are.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup system engine fmt check quick test newest test-newest integration browser notebooks course course-record demo docs bench pictures proto proto-check clean

help: ## Say what the words mean
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## Make the virtual environment

system: ## Install the system packages that the engine and the tests use (Debian, as root)
	@sh tests/support/system-packages.sh

engine: setup system ## Install the embedded engine (once)
	@$(BIN)/depotlab engine install

fmt: setup ## Format and sort imports
	@$(BIN)/ruff check --fix --exit-zero --quiet depotlab tests notebooks docs
	@$(BIN)/ruff format --quiet depotlab tests notebooks docs

check: setup proto-check ## Lint, types, import arrows, fresh messages
	$(BIN)/ruff check depotlab tests notebooks docs
	$(BIN)/ruff format --check depotlab tests notebooks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: setup ## Unit, protocol and typing tests with fewer random examples: half a minute
	DEPOTLAB_QUICK=1 $(BIN)/python -bb -m pytest -q --numprocesses=$(WORKERS) tests/unit tests/protocol tests/typing

integration: engine ## Tests against a real daemon and registry
	$(BIN)/python -bb -m pytest $(ENGINES) tests/integration

browser: engine ## Tests in a real JupyterLab and a real browser
	$(BIN)/python -bb -m pytest $(ENGINES) tests/browser

notebooks: engine ## Run every notebook that is published
	$(BIN)/python -bb -m pytest tests/notebooks

course: engine ## Run the twelve notebooks of the course, live and recorded
	$(BIN)/python -bb -m pytest $(ENGINES) tests/notebooks/test_course_*.py

course-record: engine ## Run the course on fresh engines, record it, and write what it shows into the notebooks
	$(BIN)/python -m notebooks.course.make

test: ## Everything, on the oldest Python; unit and protocol tests also on the newest
	@$(MAKE) --no-print-directory --jobs=2 engine newest
	@$(MAKE) --no-print-directory check
	$(BIN)/python -bb -m pytest $(ENGINES) tests/notebooks tests/browser tests/integration tests/protocol tests/unit tests/typing
	@$(MAKE) --no-print-directory test-newest

newest:
	@PYTHON=$(PYTHON) sh tests/support/newest-python.sh install

test-newest: system newest ## Unit and protocol tests on the newest Python of this machine
	@PYTHON=$(PYTHON) sh tests/support/newest-python.sh test

demo: engine ## Run the quickstart notebook on the embedded engine and show the result
	@$(BIN)/python notebooks/run_demo.py

docs: setup ## Make the documentation site in build/site, and check its links (`make test` does the same in a test)
	@$(BIN)/python -m docs.site

bench: engine ## Measure what the README claims, side by side with buildctl
	$(BIN)/python -m tests.benchmarks

pictures: engine ## Take the pictures of README and docs, of real builds in a real JupyterLab
	$(BIN)/python -m docs.pictures.take
	$(BIN)/python -m docs.pictures.wire
	$(BIN)/python -m docs.pictures.telemetry

proto: setup ## Generate depotlab/_proto from protos/
	@sh protos/generate.sh depotlab/_proto

proto-check: setup
	@sh protos/generate.sh --check

clean: ## Remove what was made here (not the engine's state)
	rm -rf build dist .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
