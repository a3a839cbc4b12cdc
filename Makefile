# The commands of the project; `make` alone lists them. Needs make, git, and Python 3.11 or newer with pip.

PYTHON ?= python3
BIN := .venv/bin
NOTEBOOK ?= notebooks/01_first_cell.ipynb
BENCH ?= dispatch
COPIED := $(wildcard tests/arrays/*through_workers.py) tests/arrays/test_lives_of_processes.py \
  tests/arrays/test_in_place.py tests/kernel/test_cell_arrays.py tests/kernel/test_cell_meaning.py \
  tests/pool/test_pool.py tests/wire/test_payload.py
# What the tests use of Debian's packages.
DEBIAN := chromium gcc libc6-dev nodejs npm prometheus valgrind
# JupyterLab refuses to run as root unless told that this is meant.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# Each step says what it is; a failing one says what to run to see only it.
define step
@printf '\n== %s\n' '$(2)'
@$(3) || { printf '\n== FAILED: %s (to run only this: make %s)\n' '$(2)' '$(1)' >&2; exit 1; }
endef

.PHONY: help demo test lab lint types contracts events widgets unit copied kernels bench soak docs site links clean python environment debian
.NOTPARALLEL:

help:
	@printf '%s\n' \
	  'make demo       run the first notebook in a real kernel and write a page of it to out/' \
	  'make test       set everything up, then run every check and test' \
	  'make lab        open JupyterLab on the notebooks' \
	  'make lint       ruff: rules and format' \
	  'make types      mypy' \
	  'make contracts  which room may import which' \
	  'make widgets    the front end: its types, its tests, and that its bundle is what it builds' \
	  'make copied     the tests of arrays where memory cannot be shared' \
	  'make kernels    the tests of kernels on the other ipykernel: 6 where .venv has 7' \
	  'make unit       pytest alone; make unit ARGS="tests/pool -x" passes arguments on' \
	  'make bench      us and the peers in one run: of calls, or with BENCH=arrays of arrays' \
	  'make soak       minutes of random work with random faults; then the books are compared' \
	  'make docs       write the generated pages of docs/' \
  'make site       the documentation as a site: out/site/index.html' \
  'make links      try the links of the documentation that lead out; needs a network' \
	  'make clean      remove what the commands wrote, but .venv'

python:
	@command -v $(PYTHON) >/dev/null || { \
	  printf '%s\n' 'There is no $(PYTHON) here: install Python 3.11 or newer with pip' \
	    '(on Debian and Ubuntu: apt-get install python3 python3-pip python3-venv).' >&2; exit 1; }

demo: python
	@$(PYTHON) tools/environment.py lab
	@$(BIN)/python tools/run_notebook.py $(NOTEBOOK) --out out

lab: python
	@$(PYTHON) tools/environment.py lab
	@$(BIN)/python -m jupyterlab $(AS_ROOT) --ServerApp.root_dir=notebooks

environment: python
	@$(PYTHON) tools/environment.py lab test dev

debian: python
	@$(PYTHON) tools/debian.py $(DEBIAN)

test: debian environment lint types contracts events widgets copied kernels unit

lint: environment
	$(call step,lint,Rules: ruff check,$(BIN)/ruff check .)
	$(call step,lint,Format: ruff format --check,$(BIN)/ruff format --check .)

types: environment
	$(call step,types,Types: mypy,$(BIN)/python -m mypy)

contracts: environment
	$(call step,contracts,Contracts: who imports whom,$(BIN)/lint-imports --no-logo)

events: environment
	$(call step,events,Docs: the events page matches the catalogue,$(BIN)/python docs/generate_events.py --check)
	$(call step,events,Docs: the page of the magics matches their grammar,$(BIN)/python docs/generate_magics.py --check)

# The bundle is committed: who does not change the front end needs no Node.
widgets: python
	@$(PYTHON) tools/widgets.py

unit: environment
	@printf '\n== Tests: pytest\n'
	@$(BIN)/python -m pytest --durations=15 --durations-min=5 $(ARGS)

# What must hold where memory cannot be shared, or not without a name in a file system.
copied: environment
	@printf '\n== Tests: pytest, without an arena\n'
	@SNAKEPIT_NB_ARENA=0 $(BIN)/python -m pytest -q $(COPIED)
	@printf '\n== Tests: pytest, without memfd\n'
	@SNAKEPIT_NB_MEMFD=0 $(BIN)/python -m pytest -q $(COPIED)

kernels: environment
	@printf '\n== Tests: pytest, on the other ipykernel\n'
	@$(BIN)/python tools/kernels.py $(ARGS)

bench: environment
	@$(PYTHON) tools/environment.py bench
	@$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

soak: environment
	@$(BIN)/python tools/soak.py $(ARGS)

docs: environment
	@$(BIN)/python docs/generate_events.py
	@$(BIN)/python docs/generate_magics.py

# The tests build it as well, and look at it in a browser.
site: environment
	@$(BIN)/python tools/site.py out/site

links: environment
	@$(BIN)/python tools/site.py --links out/links

clean:
	rm -rf widgets/node_modules out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
