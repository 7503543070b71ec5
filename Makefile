# `make demo` and `make test` set up all they need: a virtual environment in .venv with pinned versions.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/constraints.txt
unexport PYTHONDONTWRITEBYTECODE # else every process would compile what it imports, for seconds

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all fuzz lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

# the copy of constraints.txt is made last: it stands only beside a finished set-up
# not compiled: Python compiles what it imports, a fraction of 20,000 files
$(READY): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	cp constraints.txt $@

setup: $(READY) ## make .venv with the pinned versions

demo: $(READY) ## the five stages on made-up dialogues, in minutes; ELASTIC_URL=http://... runs it through a server
	@bash runs/demo.sh

test: $(READY) ## the tests, on all cores, in minutes
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not fuzz" --durations 10

test-slow: $(READY) ## the tests of launches, of restarts of servers and of heavy libraries
	$(BIN)/python -m pytest -n auto --dist worksteal -m "slow and not fuzz" --durations 20

test-all: test test-slow ## both

fuzz: $(READY) ## the property tests on new examples every time, and kills at random times
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m "hypothesis or fuzz"

lint: $(READY) ## formatting and static checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy --num-workers auto

clean: ## remove what the demo wrote
	rm -rf demo
