# Waybill's commands. `make` alone lists them.
# Settings are variables: make up PORT=9000 DATA_DIR=/srv/waybill DATABASE_URL=postgres://… BROKER_URL=redis://…

SHELL := /bin/bash
VENV  := .venv
PY    := $(VENV)/bin/python
export HOST PORT DATA_DIR DATABASE_URL BROKER_URL

.PHONY: help up demo test sweep chaos check bench format install install-dev install-servers clean

help: ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

up: install ## Set up all that is needed and run gateway, worker and scheduler until Ctrl-C.
	@exec $(PY) manage.py up

demo: install ## Play a two-job workflow with curl on local disk, SFTP and S3.
	@$(PY) -m tests.servers.install sshd swift
	@exec $(PY) -m tests.demo

test: install-dev install-servers ## Run all tests, on SQLite and on PostgreSQL.
	@bash tests/run.sh

sweep: install-dev install-servers ## Break thousands of transfers: SWEEP_SEED=1 SWEEP_SECONDS=600 bound what is run.
	@bash tests/sweep.sh

chaos: install-dev install-servers ## Kill gateways, workers, schedulers: CHAOS_SEED=1 CHAOS_KILLS=500 CHAOS_SECONDS=600 bound it.
	@bash tests/chaos.sh

check: install-dev ## Format, lint, types, layers, migrations and the API's schema.
	@bash tests/check.sh

bench: install-dev install-servers ## Measure against native clients and rclone, for half an hour; writes docs/benchmarks.md.
	@exec $(PY) -m tests.bench

format: install-dev ## Format the code.
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

install: $(VENV)/.installed ## Make the virtual environment.

install-dev: $(VENV)/.installed-dev ## The same with what tests and checks need.

install-servers: $(VENV)/bin/python ## Install the servers that the tests start (as root; else say which).
	@$(PY) -m tests.servers.install

$(VENV)/bin/python:
	@bash deploy/venv.sh $(VENV)

$(VENV)/.installed: requirements.txt deploy/venv.sh | $(VENV)/bin/python
	@bash deploy/venv.sh $(VENV) requirements.txt && touch $@

# It has all that is in requirements.txt.
$(VENV)/.installed-dev: requirements-dev.txt requirements.txt deploy/venv.sh | $(VENV)/bin/python
	@bash deploy/venv.sh $(VENV) requirements-dev.txt && touch $(VENV)/.installed $@

clean: ## Remove the virtual environments and caches; data stays.
	rm -rf $(VENV) .venv-swift .venv-workflows .mypy_cache .ruff_cache .import_linter_cache .hypothesis
