# `make demo` and `make test` set up all they need: a virtual environment in .venv with pinned versions.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz lint clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

# the copy of constraints.txt is made last: it stands only beside a finished set-up
$(READY): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	cp constraints.txt $@

setup: $(READY) ## make .venv with the pinned versions

demo: $(READY) ## the five stages on made-up dialogues, in minutes; ELASTIC_URL=http://... runs it through a server
	@bash runs/demo.sh

test: $(READY) ## all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile

fuzz: $(READY) ## the property tests, on examples that are other ones every time
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m hypothesis

lint: $(READY) ## formatting and static checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

clean: ## remove what the demo wrote
	rm -rf demo
