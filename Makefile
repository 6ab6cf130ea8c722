# Two commands for a newcomer: `make run` and `make test`. Each makes the environment first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out

.PHONY: run test serve blocks browser lint train clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pressrun needs Python 3.11 or later, this is %d.%d; set PYTHON=python3.11" % sys.version_info[:2])'
	@echo "Making $(VENV) once: PyTorch and the rest of requirements.lock; minutes, and gigabytes where a CUDA build is taken."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

run: $(READY)  ## generate examples/prompts.csv with the carried model into out/
	$(BIN)/pressrun generate examples/prompts.csv --model models/shapes --output $(OUT)

test: $(READY)  ## lint, types, import rules, and the whole test suite with coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --cov -n 2 --dist loadfile --no-loadscope-reorder

serve: $(READY)  ## Prefect server, worker, blocks and deployment on this machine
	$(BIN)/python -m deployments.serve

blocks: $(READY)  ## register the block types with the Prefect server of your profile
	$(BIN)/python -m deployments.register_blocks

browser:  ## Debian and Ubuntu: install the Chromium that the page tests use; they are skipped without it
	apt-get update --quiet --quiet && apt-get install --yes --quiet --quiet chromium

train: $(READY)  ## train the carried models anew (about an hour on 2 cores)
	$(BIN)/python -m models.train

clean:  ## remove the environment and caches, never a collection
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage htmlcov
