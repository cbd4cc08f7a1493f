# The verbs of the house. Each one sets up what it needs: a bare machine with Python 3.11 and make is enough.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help up demo test check bench load simulate chaos schema pictures lock release clean

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Varde needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V). Try: make PYTHON=python3.11 ..."; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "'$(PYTHON) -m venv' failed; on Debian: apt-get install python3-venv"; exit 2; }

PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
# pip writes the path of the checkout into what it installs, and a shell reads that: not every path survives it. These
# find Python beside themselves.
launcher = printf '\#!/bin/sh\nexec "$$(dirname -- "$$(readlink -f -- "$$0")")/python" -m %s "$$@"\n' $(2) > $(BIN)/$(1) && chmod 755 $(BIN)/$(1)
PROJECTS := pyproject.toml packages/server/pyproject.toml packages/load/pyproject.toml

.venv/.runtime: requirements/runtime.txt pyproject.toml packages/server/pyproject.toml .venv/pyvenv.cfg
	@echo "installing the locked requirements into .venv"
	@$(PIP) --require-hashes --no-deps -r requirements/runtime.txt
	@$(PIP) --no-index --no-build-isolation --no-deps -e . -e packages/server
	@$(call launcher,varde,varde_cli)
	@touch $@

.venv/.dev: requirements/dev.txt packages/load/pyproject.toml .venv/.runtime
	@echo "installing the locked requirements for development into .venv"
	@$(PIP) --require-hashes --no-deps -r requirements/dev.txt
	@$(PIP) --no-index --no-build-isolation --no-deps -e packages/load
	@$(call launcher,varde-load,loadtest)
	@touch $@

up: .venv/.runtime ## run the whole system here: Postgres, API, relay and worker (Ctrl-C stops it)
	@exec $(BIN)/python -m varde_cli up

demo: .venv/.runtime ## a story against real processes that prints each promise as it is kept
	@$(BIN)/python -m varde_cli demo

test: .venv/.dev ## every test, in about eight minutes
# With bytecode on disk: the tests start hundreds of processes, and compiling every module took a seventh of their time.
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: .venv/.dev ## what CI asks before the tests: style, types, walls between rooms, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -c 'import importlinter.cli; importlinter.cli.lint_imports_command()'
	$(BIN)/python -m varde_contract.schema --check
	$(BIN)/python -m api.openapi --check
	$(BIN)/python -m tests.metrics_documentation --check
	$(BIN)/python -m tests.conformance.documentation --check
	$(BIN)/python -m tests.daemon_documentation --check
	$(BIN)/python -m loadtest.report.schema --check
	$(BIN)/python -m tests.citus_lint

bench: .venv/.dev ## measure the relay beside its peers, into build/ (QUICK=1: a smoke test in under a minute)
	@$(BIN)/python -m bench $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

load: .venv/.dev ## load on a fresh stack, judged, in under a minute; the report is in build/load/
	@$(BIN)/python -m loadtest run smoke $(ARGS)

SEEDS ?= 20
chaos: .venv/.dev ## real processes killed, stopped and cut off while people talk; into build/chaos.json (QUICK=1: under a minute)
	@$(BIN)/python -m chaos $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

simulate: .venv/.dev ## the whole system in virtual time while everything fails (SEEDS=200); into build/simulate.json
	@$(BIN)/python -m simulation --seeds $(SEEDS) --mutants $(ARGS)

schema: .venv/.dev ## write the generated files again: JSON Schema, OpenAPI, pages of docs/
	$(BIN)/python -m varde_contract.schema
	$(BIN)/python -m api.openapi
	$(BIN)/python -m tests.metrics_documentation
	$(BIN)/python -m tests.conformance.documentation
	$(BIN)/python -m loadtest.report.schema

pictures: .venv/.dev ## draw the screens of the command line anew, into docs/pictures/
	@$(BIN)/python -m tests.cli.chat.pictures

LOCK := $(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-build-isolation --no-emit-index-url \
  --no-emit-package varde --no-emit-package varde-server --custom-compile-command "make lock"
lock: .venv/.dev ## resolve the requirements again (needs a package index)
	$(LOCK) pyproject.toml packages/server/pyproject.toml --group build -o requirements/runtime.txt $(ARGS)
	$(LOCK) pyproject.toml -c requirements/runtime.txt -o requirements/client.txt $(ARGS)
	$(LOCK) $(PROJECTS) --group build --group dev -c requirements/runtime.txt -o requirements/dev.txt $(ARGS)

release: .venv/.dev ## wheels, SBOM, checksums and a signature, into build/release (KEY=~/.ssh/id_ed25519)
	@$(BIN)/python packages/release.py build/release $(if $(KEY),--key $(KEY))

clean: ## remove what the other verbs made (never the data of `make up`)
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
