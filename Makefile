# Needs Python 3.11 or newer and make; everything else comes into .venv with pip (or uv, where it is installed).
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHECKED := src tests benchmarks scripts

.DEFAULT_GOAL := help
.PHONY: help venv servers test soak lint format bench demo clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

venv: $(STAMP)  ## make .venv with everything the other targets need

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python -e . --group dev; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1' && \
	     $(BIN)/python -m pip install -q --disable-pip-version-check -e . --group dev; fi
	@touch $@

servers: $(STAMP)  ## bring the object stores that tests talk to into .cache (600 MB, once); says what is not to be had
	@$(BIN)/python scripts/install_servers.py

test: $(STAMP) servers  ## all quick tests (under ten minutes); JOBS=4 for more processes
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

soak: $(STAMP)  ## the long ones: 200 random kills, large stores, thousands of searched examples
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -m soak -o faulthandler_timeout=3600 $(ARGS)

lint: $(STAMP)  ## style, format, types
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

format: $(STAMP)  ## put the code into its format
	$(BIN)/ruff check --fix-only -q $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

bench: $(STAMP)  ## measure; ARGS="--resources 4000000" for the large store
	$(BIN)/python benchmarks/run.py $(ARGS)

demo: $(STAMP)  ## a minute's tour in fhirferry-demo/: an export is killed, resumed, and proved whole
	@$(BIN)/fhirferry demo --again $(ARGS)

clean:  ## remove what can be made again
	rm -rf $(VENV) .cache build dist fhirferry-demo benchmarks/work .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +
