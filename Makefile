# `make help` lists what there is. Everything runs in .venv, which `make install` makes from uv.lock.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install demo up test check bench clean

BIN := .venv/bin
ARGS ?=

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo "  ARGS=… hands options on: make test ARGS='-k keys', make demo ARGS=--no-stay"

install: .venv/.installed ## Make .venv from uv.lock: Python 3.11 or later, nothing else needed

.venv/.installed: uv.lock pyproject.toml .ci/install
	@.ci/install
	@touch $@

demo: install ## Tell the whole story on real parts, from sign-up to a paid and proven invoice
	@$(BIN)/farebox demo $(ARGS)

up: install ## Start everything on this machine and keep it running until Ctrl-C
	@$(BIN)/farebox up $(ARGS)

test: check ## Run every check and every test
	$(BIN)/pytest -n auto $(ARGS)

check: install ## Run the linters and the type checker only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## Measure, and write the figures that docs/benchmarks.md shows
	$(BIN)/python -m tests.bench $(ARGS)

clean: ## Remove .venv and caches; data in .farebox stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
