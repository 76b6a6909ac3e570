# Everything is run from here. `make` alone lists what there is.

PYTHON ?= python3
BIN := .venv/bin
WITH_ENGINE := $(BIN)/python scripts/with_engine.py --
PIP_QUIETLY := --quiet --disable-pip-version-check
NPM := npm --prefix web --silent
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --python-version 3.11 --universal \
	--custom-compile-command "make lock"

# Hundreds of processes import the same modules; they are compiled once, whatever the surroundings say.
unexport PYTHONDONTWRITEBYTECODE

# The web interface as `holdfast serve` finds it; built anew when something that it is made of changed.
INTERFACE := src/holdfast/api/interface_files/index.html
INTERFACE_SOURCES := $(shell find web -name node_modules -prune -o -type f ! -name schema.d.ts ! -name '*.test.ts' -print)

.DEFAULT_GOAL := help
.PHONY: help demo test tests check serve docs pictures dist image bench torture lock setup packages clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## watch a bad migration be rolled back, code and data, in a minute
	@$(WITH_ENGINE) $(BIN)/python scripts/demo.py

# The checks say nothing unless something is wrong; so the tests begin while mypy is still at it.
test: setup ## everything that must hold: checks and all tests, with a real Docker Engine
	@$(MAKE) --no-print-directory --jobs=2 check tests

# Three workers that wait for containers, and two that compute (tests/scheduling.py). What they load is compiled before,
# once, and one property has Hypothesis read all constants: in a fresh clone each of them would do it for itself.
tests: setup
	@$(BIN)/python -m pytest -qq -k test_a_port_reads_back > /dev/null 2>&1 || true
	@$(NPM) test
	@$(BIN)/python scripts/with_engine.py --tests -- $(BIN)/python -m pytest -q -n 5 --dist loadgroup

check: setup ## format, lint, types and import contracts
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary $(wildcard src tests benchmarks torture fuzzing scripts)
	@$(BIN)/lint-imports --no-logo
	@$(NPM) run check

serve: setup ## run Holdfast from here, its data below ./.run
	@HOLDFAST_DATA_DIR="$(CURDIR)/.run" $(WITH_ENGINE) $(BIN)/holdfast serve

docs: setup ## build the documentation's site into site/; no page of it loads anything from elsewhere
	@$(BIN)/zensical build --strict --clean
	@echo "docs: to read it with its search: python3 -m http.server --bind 127.0.0.1 --directory site"

dist: setup ## build what is installed elsewhere: wheel, source distribution and lock file, into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build --directory dist
	@cp requirements.lock dist/

image: dist ## build the container image on a base of this system's own files, and restore a workload with it
	@$(WITH_ENGINE) $(BIN)/python scripts/try_image.py

pictures: setup ## make the documentation's pictures of the web interface anew, from a real run
	@$(WITH_ENGINE) $(BIN)/python scripts/pictures.py $(PARTS)

bench: setup ## measure, beside others, for some 40 minutes; PARTS=--quick to try it out
	@$(PYTHON) scripts/setup.py --bench
	@npm --prefix benchmarks/lighthouse --silent ci
	@$(WITH_ENGINE) $(BIN)/python -m benchmarks $(PARTS)

torture: setup ## kill it hundreds of times, and all faults and fuzzing at full length; PARTS=kills ROUNDS=20 SEED=7
	@$(BIN)/python -m torture $(PARTS)

lock: setup ## write the lock files anew: what is installed elsewhere is what was tested
	@$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock
	@$(COMPILE) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock

setup: packages ## install what is needed, and build the web interface
	@$(MAKE) --silent --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,--jobs=2) .venv/.holdfast $(INTERFACE)

packages:
	@$(PYTHON) scripts/setup.py

# uv, held to its hashes as well, is several times faster than pip; but it doesn't know of indexes in pip's settings.
.venv/.locked: requirements-dev.lock
	@echo "setup: making .venv and installing requirements-dev.lock into it (once)"
	@$(PYTHON) -m venv .venv
	@awk '/^[^ #]/ {uv = /^uv==/} uv' requirements-dev.lock > .venv/uv.lock
	@$(BIN)/pip install $(PIP_QUIETLY) --require-hashes -r .venv/uv.lock
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes -r requirements-dev.lock \
		|| { echo "setup: uv could not; pip takes a minute or two"; \
			$(BIN)/pip install $(PIP_QUIETLY) --require-hashes -r requirements-dev.lock; }
	@touch $@

.venv/.holdfast: .venv/.locked pyproject.toml
	@echo "setup: installing Holdfast into .venv, editable"
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json
	@echo "setup: installing web/package-lock.json into web/node_modules"
	@$(NPM) ci
	@touch $@

$(INTERFACE): web/node_modules/.package-lock.json docs/reference/openapi.json $(INTERFACE_SOURCES)
	@echo "setup: building the web interface"
	@$(NPM) run build

clean: ## remove what the targets made: .venv, caches, our own engine and its data
	@$(PYTHON) scripts/with_engine.py --clean
	@rm -rf .venv .run .demo .cache site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@rm -rf web/node_modules $(dir $(INTERFACE))
	@find src tests scripts benchmarks torture fuzzing -name __pycache__ -type d -prune -exec rm -rf {} +
