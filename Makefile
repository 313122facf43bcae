SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.DEFAULT_GOAL := help

PYTHON ?= python3
TESTS ?= tests/unit tests/contract tests/integration tests/e2e
ARGS ?=
WHY ?=

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
STAMP := $(VENV)/.alphapanda-setup
GRPCURL := .tools/bin/grpcurl
BASELINE := protos/baseline.binpb
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

export UV_NO_PROGRESS := 1

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)$$/\1|\2/' \
		| while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: $(STAMP) ## a virtualenv with the locked dependencies; does nothing when nothing changed

$(UV): requirements/bootstrap.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	touch $@

$(STAMP): requirements/dev.txt pyproject.toml services/alphapanda/__init__.py | $(UV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: lock
lock: $(UV) ## lock what pyproject.toml declares, with hashes, into requirements/
	$(UV) $(COMPILE) pyproject.toml --extra embedded --extra dev --output-file requirements/dev.txt
	$(UV) $(COMPILE) pyproject.toml --extra embedded --constraint requirements/dev.txt --output-file requirements/embedded.txt
	$(UV) $(COMPILE) pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt
	grep -E '^uv==' requirements/dev.txt | cut -d' ' -f1 \
		| $(UV) $(COMPILE) - --output-file requirements/bootstrap.txt
