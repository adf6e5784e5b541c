# `make` lists the commands. Each command creates or updates .venv if the requirements have changed.

.DEFAULT_GOAL := help
.PHONY: help run test lint coverage bench bench-quick clean setup

SHELL := /bin/sh
PYTHON ?= $(shell command -v python3 || command -v python)
BIN := .venv/bin
# Two test processes for two cores; more would wait for each other.
TEST_PROCESSES ?= 2

help: ## list the commands
	@echo "Scrip: prepaid credits for AI products"
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: setup ## start everything in the foreground (PORT=8000, SCRIP_DATA_DIR=.data); Ctrl-C stops it
	@exec $(BIN)/python manage.py up $(ARGS)

test: setup lint ## check style, types and layers, then run the tests (ARGS="-k refund" selects some)
	@exec $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

lint: setup ## check style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

coverage: setup ## run the tests and report the lines that they do not reach (htmlcov/index.html)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

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
