# Every target is a short call of the `cloakbench` command in a virtual environment that builds itself.
# VENV=path moves the environment; ARGS='key=value ...' adds settings, e.g. make bench ARGS='seed=1'.
# PYTHON=python3.12 names the Python; VENV=FOLDER TORCH=keep fills an environment of yours around the torch it has.
VENV ?= .venv
PYTHON ?= python3
TORCH ?=
DEVICE ?= cpu
ARGS ?=
# Of `make tables`, which takes every run unless one is named.
RUN_GIVEN := $(RUN)
RUN ?= bench
BIN := $(VENV)/bin
CLI := $(BIN)/cloakbench
# Experiments take a runtime, the commands beside them a device.
RUNTIME := $(if $(filter cuda,$(DEVICE)),runtime=gpu)
PLACE := $(if $(filter cuda,$(DEVICE)),device=cuda)
.DEFAULT_GOAL := help
.PHONY: help smoke bench test test-slow tables figures sweep zoo perf check readme register lint lock package docs notebook clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready-bench: requirements.lock pyproject.toml
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh scripts/environment.sh '$(VENV)' bench

$(VENV)/ready-test: requirements.lock requirements-test.lock pyproject.toml
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh scripts/environment.sh '$(VENV)' test

smoke: $(VENV)/ready-bench  ## a first small table, seconds long
	@$(CLI) experiment=smoke $(RUNTIME) $(ARGS)

bench: $(VENV)/ready-bench  ## run the default benchmark: tables and figures in results/runs
	@$(CLI) experiment=bench $(RUNTIME) $(ARGS)

test: $(VENV)/ready-test lint  ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/ready-test  ## run the slow tests too
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not gpu'

tables: $(VENV)/ready-bench  ## tables and figures of all finished runs for a paper (RUN=NAME: of one) in results/papers
	@$(CLI) papers $(RUN_GIVEN) $(ARGS)

figures: $(VENV)/ready-bench  ## write the report of a finished run again: make figures RUN=bench
	@$(CLI) report $(RUN)

sweep: $(VENV)/ready-bench  ## two methods at four budgets, one combined table and curve
	@$(CLI) -m experiment=sweep method=pgd,opom_convex_hull method.epsilon_255=2,4,8,16 $(RUNTIME) $(ARGS)

zoo: $(VENV)/ready-bench  ## train the embedded networks again (about an hour on two cores)
	@$(CLI) zoo $(PLACE) $(ARGS)

perf: $(VENV)/ready-test  ## our loops against bare loops and foolbox, as ratios of one run
	@$(CLI) perf $(PLACE) $(ARGS)

check: $(VENV)/ready-bench  ## conformance suite over every method and every embedded recogniser
	@$(CLI) check all

readme: $(VENV)/ready-test  ## fill the generated parts of README.md from the reference run
	@$(BIN)/python scripts/refresh_readme.py

register: $(VENV)/ready-test  ## write docs/paper-vs-code.md from results/register.yaml
	@$(BIN)/python scripts/refresh_register.py

lint: $(VENV)/ready-test  ## ruff and pyright
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q . && $(BIN)/pyright

lock: $(VENV)/ready-test  ## pin exact versions of everything, with hashes, for every supported Python
	@sh scripts/lock.sh $(BIN)/uv

$(VENV)/ready-docs: requirements.lock requirements-docs.lock pyproject.toml
	@PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh scripts/environment.sh '$(VENV)' docs

notebook: $(VENV)/ready-docs  ## execute docs/tutorial.ipynb again
	@$(BIN)/python scripts/execute_notebook.py docs/tutorial.ipynb

docs: $(VENV)/ready-docs  ## build the documentation into site/, which opens from disk
	@$(BIN)/python scripts/write_pages.py build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --clean --config-file build/docs/mkdocs.yml
	@$(BIN)/python scripts/check_links.py site
	@echo "open site/index.html; with search: $(BIN)/python -m http.server -d site"

package: $(VENV)/ready-test  ## build sdist and wheel into dist, and try the wheel in an empty environment
	@sh scripts/try_wheel.sh $(BIN)/uv dist $(BIN)/python

clean:  ## remove runs and caches; the environment and the store stay
	@rm -rf results/runs results/sweeps .pytest_cache .ruff_cache .hypothesis
