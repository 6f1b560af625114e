# Everything a person types. `make` alone explains itself.
#
# Only relative paths are used, so that the project's own path may hold spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first of these that is there and is new enough makes .venv; PYTHON=... on the command line overrules it.
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)

# A newer pip than Python brings installs the lock twice as fast.
PIP := pip==26.3
BIN := .venv/bin
STAMP := .venv/.installed

# An environment does not survive being moved, for its scripts hold its path: a new one is made then.
MADE_FOR := $(shell cat $(STAMP) 2>/dev/null)
ifneq "$(MADE_FOR)" ""
ifneq "$(MADE_FOR)" "$(CURDIR)"
MOVED := moved
endif
endif

.PHONY: help moved install scm demo test test-slow lint serve server deploy worker lock clean

help:  ## say what can be typed here
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
	@echo "Without make, after \`make install\`:"
	@echo "  $(BIN)/dvc repro                   bring data, model and report up to date with params.yaml"
	@echo "  $(BIN)/python -m flows.pipeline    the same through Prefect"
	@echo "  $(BIN)/graft --help                look at images, candidates and predictions"

install: $(STAMP) scm  ## make .venv and install exactly what requirements.lock names

# A half-made environment cannot be told from a whole one by looking at it, so .making marks it: what was interrupted
# is made anew (pip keeps its downloads). Compiling on all cores beats pip's way of doing it, and not compiling would
# have every process compile everything again where PYTHONDONTWRITEBYTECODE is set.
$(STAMP): pyproject.toml requirements.lock $(MOVED)
	@if test -e .venv/.making || test -n "$(MOVED)"; then rm -rf .venv; fi
	@if ! test -e .venv; then \
		test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 was found"; \
			echo "  remedy: install one, or name it: make PYTHON=/path/to/python3.11 ..."; exit 1; } >&2; \
		echo "making .venv with $$("$(PYTHON)" --version)"; \
		mkdir .venv && touch .venv/.making && "$(PYTHON)" -m venv .venv; fi
	@$(BIN)/python -m pip install -qq "$(PIP)" || echo "going on with the pip that is there"
	@echo "installing what requirements.lock names: one to three minutes"
	@$(BIN)/python -m pip install -qq --no-compile -c requirements.lock -e '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests/' .venv/lib || true
	@rm -f .venv/.making
	@printf '%s\n' '$(subst ','\'',$(CURDIR))' > $(STAMP)

# DVC refuses to work outside git unless told so. It is told only where this folder is no checkout of its own and no
# tracked part of one (an archive may have been unpacked inside somebody's checkout), and untold when that changes.
scm: $(STAMP)
	@if test -e .git || git ls-files --error-unmatch dvc.yaml >/dev/null 2>&1; then \
		if grep -qs no_scm .dvc/config.local; then $(BIN)/dvc config -q --local --unset core.no_scm; fi; \
	elif ! grep -qs no_scm .dvc/config.local; then $(BIN)/dvc config -q --local core.no_scm true; fi

demo: install  ## the whole pipeline on the built-in data: validated, selected, trained, proved, packaged
	@$(BIN)/dvc repro
	@echo
	@$(BIN)/python -m flows.result

# On all cores at once, a test file never on two of them: its fixtures are made once.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: install lint  ## lint, types and the test suite (minutes)
	@$(PYTEST)

test-slow: install  ## the tests that take longer than a minute each
	@$(PYTEST) -m slow

lint: install  ## ruff and mypy alone
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

serve: export BENTOML_DO_NOT_TRACK = True
serve: install  ## serve the production model on http://127.0.0.1:3000 (PORT=... for another)
	@test -e models/promoted/model.json || test -e models/packaged/model.safetensors || { \
		echo "error: there is no packaged model"; \
		echo "  where: models/packaged"; echo "  remedy: run \`make demo\`, or \`$(BIN)/dvc repro\`; where there is a" \
		"models/promoted.dvc, \`$(BIN)/dvc pull models/promoted.dvc\` brings that model"; exit 1; } >&2
	@$(BIN)/bentoml serve --host 127.0.0.1 --port $(or $(PORT),3000)

# A server that is elsewhere is named by PREFECT_API_URL; else it is on this machine, and on no other network.
server deploy worker: export PREFECT_API_URL := $(or $(PREFECT_API_URL),http://127.0.0.1:$(or $(PORT),4200)/api)
server deploy worker: export PREFECT_SERVER_ANALYTICS_ENABLED = false
server deploy worker: export DO_NOT_TRACK = 1

# The page asks the address that it is told; without it, a page on another port asks port 4200.
server: export PREFECT_UI_API_URL = http://127.0.0.1:$(or $(PORT),4200)/api
server: export PREFECT_API_URL = $(PREFECT_UI_API_URL)
# Kept in files, the slots of runs that are at work outlive a restart of the server; a run that lost its slot ends.
server: export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE = prefect.server.concurrency.lease_storage.filesystem
server: install  ## Prefect's server and page on http://127.0.0.1:4200 (PORT=... for another)
	@$(BIN)/prefect server start --host 127.0.0.1 --port $(or $(PORT),4200)

deploy: install  ## tell the server what prefect.yaml wants run by itself (PORT=... as for the server)
	@$(BIN)/python -m flows.deployments

worker: install  ## do what is due, until it is stopped (PORT=... as for the server; POOL=... of prefect.yaml)
	@$(BIN)/prefect worker start --type process --pool "$(or $(POOL),$$($(BIN)/python -m flows.project))"

lock: $(STAMP)  ## resolve requirements.lock anew, keeping versions that still fit (UPGRADE=--upgrade: the newest)
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev $(UPGRADE) \
		--custom-compile-command 'make lock' pyproject.toml -o requirements.lock

clean:  ## remove caches; data, models, reports and .venv stay, and every folder of your own
	@rm -rf .graft/cache .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	@find src flows tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
