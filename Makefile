# Everything that one does with this repository; `make help` lists it.
#
# Parameters of a run: make run CONF='{"preset": "notebook"}'. Another Python: make run PYTHON=python3.12

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?=
CONF ?=
export PYTHON CONF
export PYTHONPATH := .:plugins

PY := .venv/bin/python
STACK := $(PY) -m mf_airflow.local_stack

.PHONY: run up down test check fix bench lock help install install-dev

run: install ## Retrain once, end to end, on an embedded stack; CONF='{…}' passes parameters
	@exec $(STACK) run --conf "$$CONF"

up: install ## Start the embedded stack with Airflow's UI, and stay
	@exec $(STACK) up

down: install ## Stop the stack that `make up` or `make run` started
	@exec $(STACK) down

test: check ## Lint, types, import rules, and all tests that need no special hardware
	@$(PY) -m pytest

check: install-dev ## Lint, types and import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

fix: install-dev ## Mend what can be mended without thought: formatting, imports
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: install ## Measure the trainer against the notebook's loop; writes output/bench.json
	@$(PY) -m benchmarks

lock: ## Resolve pyproject.toml into requirements.txt and requirements-dev.txt
	@tools/lock

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

install:
	@tools/install run

install-dev:
	@tools/install dev
