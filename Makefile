# `make` lists the commands. Each command creates or updates .venv if the requirements have changed.

.DEFAULT_GOAL := help
.PHONY: help run test test-deep stories lint style types coverage bench bench-quick clean setup

SHELL := /bin/sh
PYTHON ?= $(shell command -v python3 || command -v python)
BIN := .venv/bin
# Three test processes for two cores: tests with a running Scrip spend much of their time waiting.
TEST_PROCESSES ?= 3
# A file of tests runs in one process, and so do the tests that share a running Scrip; the longest come first.
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES)

# Tests start some hundred Python processes: let Python keep what it compiles, also where the environment says otherwise.
export PYTHONDONTWRITEBYTECODE =

help: ## list the commands
	@echo "Scrip: prepaid credits for AI products"
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: setup ## start everything in the foreground (PORT=8000, SCRIP_DATA_DIR=.data); Ctrl-C stops it
	@exec $(BIN)/python manage.py up $(ARGS)

# Types and layers are checked while the tests run; their result is shown at the end.
test: setup style ## check style, types and layers, and run the tests (ARGS="-k refund" selects some)
	@found=$$(mktemp) && trap 'rm -f "$$found"' EXIT; \
	$(MAKE) --no-print-directory types >"$$found" 2>&1 & types=$$!; \
	$(PYTEST) $(ARGS); tests=$$?; \
	wait $$types; types=$$?; \
	cat "$$found"; exit $$((tests || types))

test-deep: setup ## run the properties, the fuzzing and the kills with many times as many of each (an hour)
	@SCRIP_TEST_DEEP=1 $(PYTEST) -m deep $(ARGS)

stories: setup ## run lives of subscriptions against a plain account of what was paid (SECONDS=60 SEED=1)
	@$(BIN)/python -m tests.plans.stories --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(ARGS)

lint: setup style types ## check style, types and layers

style: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: setup
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

coverage: setup ## run the tests and report the lines that they do not reach (htmlcov/index.html)
	@$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

bench: setup ## run all benchmarks, with the limits of this machine (20 minutes)
	@exec $(BIN)/python -m benchmarks $(ARGS)

bench-quick: setup ## run the benchmarks on smaller data sets (5 minutes)
	@exec $(BIN)/python -m benchmarks --quick $(ARGS)

clean: ## remove the caches of the tools; keeps .data and .venv
	@rm -rf .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis .coverage htmlcov
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

setup:
	@test -n "$(PYTHON)" || { echo "scrip: no Python on PATH; install Python 3.10 or newer" >&2; exit 1; }
	@$(PYTHON) bootstrap.py
