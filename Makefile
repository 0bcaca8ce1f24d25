# Every target is a short call of the `cloakbench` command in a virtual environment that builds itself.
# VENV=path moves the environment; ARGS='key=value ...' adds settings, e.g. make bench ARGS='seed=1'.
VENV ?= .venv
PYTHON ?= python3
DEVICE ?= cpu
ARGS ?=
RUN ?= bench
BIN := $(VENV)/bin
CLI := $(BIN)/cloakbench
ifeq ($(DEVICE),cuda)
override ARGS += runtime=gpu
endif
.DEFAULT_GOAL := help
.PHONY: help bench test test-slow tables figures sweep zoo perf check readme lint lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready: requirements.lock pyproject.toml
	@sh scripts/environment.sh '$(VENV)' '$(PYTHON)'

bench: $(VENV)/ready  ## run the default benchmark: tables and figures in results/runs
	@$(CLI) experiment=bench $(ARGS)

test: $(VENV)/ready lint  ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/ready  ## run the slow tests too
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not gpu'

tables figures: $(VENV)/ready  ## write tables and figures of a finished run again: make tables RUN=bench
	@$(CLI) report $(RUN)

sweep: $(VENV)/ready  ## two methods at four budgets, one combined table and curve
	@$(CLI) -m experiment=sweep method=pgd,opom_convex_hull method.epsilon_255=2,4,8,16 $(ARGS)

zoo: $(VENV)/ready  ## train the embedded recognisers again (about half an hour on two cores)
	@$(CLI) zoo $(ARGS)

perf: $(VENV)/ready  ## our loops against bare loops and foolbox, as ratios of one run
	@$(CLI) perf $(ARGS)

check: $(VENV)/ready  ## conformance suite over every method and every embedded recogniser
	@$(CLI) check all

readme: $(VENV)/ready  ## fill the generated parts of README.md from the reference run
	@$(BIN)/python scripts/refresh_readme.py

lint: $(VENV)/ready  ## ruff and pyright
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q . && $(BIN)/pyright

lock: $(VENV)/ready  ## pin exact versions of everything, with hashes, for every supported Python
	@env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile pyproject.toml --all-extras --universal --generate-hashes \
	  --no-emit-index-url --no-header --python-version 3.11 --quiet -o requirements.lock

clean:  ## remove runs and caches; the environment and the store stay
	@rm -rf results/runs results/sweeps .pytest_cache .ruff_cache .hypothesis
