# Commands for developers and CI. They need Python, make and a package index only.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
MEASURING := $(VENV)/.measuring
# The interpreter for a new .venv: make PYTHON=/usr/bin/python3.12 test
PYTHON ?=
# The number of worlds of `make simulate`: make simulate SEEDS=100000
SEEDS ?=
# The interpreters of `make matrix`: make matrix PYTHONS="python3.12 /opt/python/bin/python3.14"
PYTHONS ?= python3.11 python3.12 python3.13 python3.14
# More arguments for pytest: make test ARGS='-k store -x'
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(INSTALLED) ## Run 200 payouts, 65 of them through 13 faults, and count the payments
	@$(BIN)/payouts demo

.PHONY: dev
dev: $(INSTALLED) ## Run the whole service on this machine with the sandbox gateway, until Ctrl-C
	@$(BIN)/payouts dev

.PHONY: test
test: $(INSTALLED) ## Run all tests but the chaos drills, with coverage of the service
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not chaos" -n auto --dist loadfile --no-loadscope-reorder $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

.PHONY: matrix
matrix: ## Run check and test with each Python from 3.11 to 3.14 found here; PYTHONS=... names others
	@passed=; failed=; missing=; \
	for python in $(PYTHONS); do \
		if ! $$python $(SUITS) 2>/dev/null; then missing="$$missing $$python"; continue; fi; \
		version=$$($$python -c 'import platform; print(platform.python_version())'); \
		echo "== Python $$version"; \
		if $(MAKE) PYTHON=$$python VENV=.venv-$$version check test; \
		then passed="$$passed $$version"; else failed="$$failed $$version"; fi; \
	done; \
	echo "passed:$${passed:- none}; failed:$${failed:- none}; missing:$${missing:- none}"; \
	test -n "$$passed" && test -z "$$failed"

.PHONY: check
check: $(INSTALLED) ## Lint, format, types, who may import whom, and the size of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/code_size.py

.PHONY: format
format: $(INSTALLED) ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: chaos
chaos: $(INSTALLED) ## Kill processes and servers for minutes, then count the payments
	@$(BIN)/python -m tests.resilience.chaos $(ARGS)
	@$(BIN)/python -m pytest -m chaos

.PHONY: bench
bench: $(MEASURING) ## Measure throughput and CPU compared with bare Celery and the usual ways
	@$(BIN)/python -m bench $(ARGS)

.PHONY: simulate
simulate: $(INSTALLED) ## Simulate random worlds of faults on all cores; SEEDS=... sets their number
	@SEEDS="$(SEEDS)" $(BIN)/python -m tests.simulation $(ARGS)

# The locks hold versions and hashes only, no index address and no dependency path.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

.PHONY: lock
lock: $(INSTALLED) ## Lock requirements/ from pyproject.toml; locked versions stay where they fit
	@$(BIN)/python -c 'import uv' 2>/dev/null || $(PIP) install --quiet uv
	$(LOCK) --extra local --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
	$(LOCK) -c requirements/dev.txt requirements/build.in -o requirements/build.txt
	$(LOCK) -c requirements/dev.txt --extra bench pyproject.toml -o requirements/bench.txt

.PHONY: clean
clean: ## Remove the virtual environment and all generated files
	rm -rf $(VENV) .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: the locked packages by hash, then this project as it stands here. Nothing is resolved
# anew (pip would look past a pin for a package's extra); that all fit together is checked afterwards.
# Nothing is fetched when nothing changed. An interpreter is tried by running it: some names on a
# PATH (pyenv's shims) exist and fail.
CANDIDATES := $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3 python)
SUITS := -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
# One short line for each package; what goes wrong is on stderr and stays as pip wrote it.
PROGRESS := n=0; while read -r verb what rest; do case $$verb in \
	Collecting|Processing) n=$$((n + 1)); printf '  %3d  %s\n' $$n "$$(basename "$$what")" ;; \
	Installing) echo "  all fetched, now unpacking" ;; \
	esac; done

$(INSTALLED): $(LOCKED) pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(PIP) check
	@touch $@

$(LOCKED): requirements/dev.txt
	@if ! $(BIN)/python $(SUITS) 2>/dev/null; then \
		found=; \
		for python in $(CANDIDATES); do \
			if $$python $(SUITS) 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Needed: Python 3.11 or newer with its venv module (tried: $(CANDIDATES))." >&2; \
			echo "Name one, for example: make PYTHON=/usr/local/bin/python3.12 test" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$($$found -V)"; \
		$$found -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@rm -f $@
	@echo "Installing $$(grep -c == requirements/dev.txt) locked packages (about a minute the first time)"
	@{ $(PIP) install --progress-bar off --require-hashes --no-deps -r requirements/dev.txt \
		&& touch $@; } | { $(PROGRESS); }
	@test -e $@

# Packages for the benchmarks' comparisons.
$(MEASURING): $(INSTALLED) requirements/bench.txt
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements/bench.txt
	@$(PIP) check
	@touch $@
