# k3s-bundler: `make help` lists what there is. Every target makes what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

RECIPE ?= recipes/k3s.yaml
ARCH ?=
RELEASE ?=
ENGINE ?=
OUTPUT ?= dist
FLAGS ?=

STAMP := $(VENV)/.made-of-pyproject
SHELL_PARTS := bundler/site/sh

.DEFAULT_GOAL := help
.PHONY: help bundle demo test test-unit test-site bench lint format schema completions docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  make bundle ARCH=arm64 [RECIPE=recipes/k3s.yaml] [RELEASE=v1.34.1+k3s1] [ENGINE=docker|registry] [FLAGS=...]"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update && apt-get install -y --no-install-recommends python3-venv; } || \
	  { echo "Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	@touch $@

bundle: $(STAMP) ## make the bundle of RECIPE below dist/
	@$(BIN)/k3s-bundler build $(RECIPE) --replace --output $(OUTPUT) $(if $(ARCH),--arch $(ARCH)) $(if $(RELEASE),--release $(RELEASE)) $(if $(ENGINE),--engine $(ENGINE)) $(FLAGS)

demo: $(STAMP) ## the whole job on this machine alone: no internet, Docker or root
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/demo/demo.sh

test: $(STAMP) ## every test; installs missing Debian packages when root
	$(BIN)/python -m tests.real.packages
	$(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered

test-unit: $(STAMP) ## the tests that need nothing but Python, in seconds
	$(BIN)/pytest -q -m "not build and not real and not site"

test-site: $(STAMP) ## the installer on booted hosts and under faults (root)
	$(BIN)/pytest -q -n 2 --dist worksteal -m site

bench: $(STAMP) ## measure against skopeo, docker save and zstd (root; about 15 minutes on a quiet machine, QUICK=1: two), into docs/performance/
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick,--output docs/performance) $(BENCH_FLAGS)

lint: $(STAMP) ## ruff, mypy, import contracts, shellcheck
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/shellcheck tests/demo/*.sh tests/site/booted/*.sh .ci/run
	$(BIN)/python -c 'import sys; from bundler.site.installer import install_script; sys.stdout.buffer.write(install_script())' | $(BIN)/shellcheck --shell=sh -

format: $(STAMP) ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP) ## write the JSON Schema of recipes anew
	$(BIN)/k3s-bundler schema > bundler/model/recipe.schema.json

completions: $(STAMP) ## write the completion scripts anew
	@for shell in bash fish zsh; do \
	  $(BIN)/python -c "import shtab; from bundler.cli.main import command_line; print(shtab.complete(command_line(), '$$shell').strip())" \
	    > bundler/cli/completions/k3s-bundler.$$shell; done

docs: $(STAMP) schema ## write the schema and the documents that are made of the code anew
	$(BIN)/python -m tests.documents

clean: ## remove the virtual environment and caches; bundles stay
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
