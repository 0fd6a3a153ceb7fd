# Everything that one does with this repository; `make help` lists it.
#
# Parameters of a run: make run CONF='{"preset": "notebook"}'. Another Python: make run PYTHON=python3.12

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?=
CONF ?=
export PYTHON CONF
export PYTHONPATH := .:plugins
# Without compiled modules every process would compile its own: they stay in __pycache__, whatever is set outside.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
# Tests of three files at a time, as many wait for a server; in the order of tests/conftest.py.
BESIDE := -n 3 --dist loadfile --no-loadscope-reorder
STACK := $(PY) -m mf_airflow.embedded

.PHONY: run up down test quick check test-bare fix bench chaos pictures lock audit help install install-dev install-test env test-images test-files

run: install ## Retrain once, end to end, on an embedded stack; CONF='{…}' passes parameters
	@exec $(STACK) run --conf "$$CONF"

up: install ## Start the embedded stack with Airflow's UI, and stay
	@exec $(STACK) up

down: install ## Stop the stack that `make up` or `make run` started
	@exec $(STACK) down

test: install-test check ## Lint, types, import rules, and all tests that need no special hardware
	@$(PY) -m pytest $(BESIDE)

quick: install-test check ## Lint, types, import rules, and all tests that start no server: 90 s
	@$(PY) -m pytest $(BESIDE) -m "not server and not slow"

check: install-dev ## Lint, types and import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

test-bare: ## Type the README's two commands in a fresh Debian 12, as root; PART=run, test or both
	@tools/test-bare "$${PART:-both}"

fix: install-dev ## Correct formatting and imports
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: install ## Measure training against the notebook's loop, and reading against pandas; writes output/bench*.json
	@$(PY) -m benchmarks
	@$(PY) -m benchmarks.reading

chaos: install-dev ## Inject faults into docker-compose.yaml at work, without Docker, as root, and write the tables of their effects; 30 min
	@MF_WRITE_TABLE=docs/when-something-fails.md $(PY) -m pytest -m "" tests/deployment/faults

pictures: install-dev ## Run once, and take the pictures of README.md in Chromium; writes docs/*.png
	@$(PY) -m benchmarks.pictures

lock: ## Resolve pyproject.toml into requirements.txt and requirements-dev.txt
	@tools/lock

audit: ## Ask osv.dev for known vulnerabilities of all that is pinned; OSV=--osv-url=http://… asks a mirror
	@tools/audit $(OSV)

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

install:
	@tools/install run

install-dev:
	@tools/install dev

install-test:
	@tools/install test

env: ## Write .env and the secrets that docker-compose.yaml runs on; once
	@tools/env

test-files: install-test ## Damage 10,000 files of ratings, and read each right or refuse it
	@$(PY) -m pytest -m slow tests/reading

test-images: install-dev ## Build the images by Buildah, without Docker, as root, and try what is in them; downloads 3 GB; 10 min
	@tools/debian images
	@$(PY) -m pytest -m slow tests/docker/images

# What works on a deployment with Docker from time to time; docs/operations.md. FOLDER=backups/monday names a backup.
OPERATIONS := docker compose -f docker-compose.yaml -f docker/operations.yaml run --rm operations
AS_ME = MF_OPERATOR=$$(id -u)
NAMED = "$${FOLDER:?name a folder, such as FOLDER=backups/monday}"
.PHONY: backup restore rotate upgrade clean-up
export FOLDER

backup: ## Copy a deployment's database and store into FOLDER; it may go on meanwhile
	@mkdir -p $(NAMED) && $(AS_ME) $(OPERATIONS) backup $(NAMED)

restore: ## Make a deployment what the backup in FOLDER says; OVERWRITE=--overwrite replaces what it holds
	@: $(NAMED) && docker compose build && docker compose down && $(AS_ME) $(OPERATIONS) restore $(NAMED) $(OVERWRITE) && docker compose up --detach --wait

rotate: ## Replace every secret of a deployment, and start it again
	@docker compose down && $(AS_ME) $(OPERATIONS) rotate && docker compose up --detach --wait --force-recreate && docker compose exec -T grafana sh -c 'grafana cli admin reset-admin-password --password-from-stdin < /run/secrets/grafana_password'

upgrade: ## Build this version, back a deployment up to FOLDER, bring its database up to date, and start it
	@mkdir -p $(NAMED) && docker compose build && docker compose down && $(AS_ME) $(OPERATIONS) backup $(NAMED) && $(OPERATIONS) upgrade && docker compose up --detach --wait

clean-up: ## Remove a deployment's records, logs, runs and data that are older than DAYS, 90 by default
	@$(OPERATIONS) clean-up --days "$${DAYS:-90}"
