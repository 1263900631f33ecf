PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
PIP := $(VENV)/bin/pip install --disable-pip-version-check -qq
COG := cog -P -I . -p 'from docs import measurements, performance, tables'
UV := $(VENV)/bin/uv pip install --quiet --compile-bytecode --system-certs --python $(VENV)/bin/python

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install repro test test-all lint numbers ui serve bench screenshots lock clean

help:  ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(INSTALLED)  ## Create .venv from the locked dependencies

repro: $(INSTALLED)  ## Install if needed, run every stage whose input changed, show the results
	image-classifier doctor --config-only
	dvc repro
	@image-classifier results
	@echo "Compare the runs in the MLflow UI: make ui"

test: $(INSTALLED)  ## Install if needed, run the fast tests
	pytest -n 2 --dist worksteal -m "not slow"

test-all: $(INSTALLED)  ## Install if needed, run all tests
	pytest -n 2 --dist worksteal

lint: $(INSTALLED)  ## Install if needed, check style, types and the numbers in the documentation
	ruff check
	ruff format --check
	mypy
	$(COG) --check README.md docs/*.md

numbers: $(INSTALLED)  ## Write the numbers and tables in README and docs from the committed results
	$(COG) -r README.md docs/*.md

ui: $(INSTALLED)  ## Open the runs in the MLflow UI on http://127.0.0.1:5000
	image-classifier ui

serve: $(INSTALLED)  ## Serve the promoted model, and a page on which to draw, on http://127.0.0.1:5001
	image-classifier serve

bench: $(INSTALLED)  ## Repeat the measurements of docs/performance.md, which takes about forty minutes
	python -m benchmarks

screenshots: $(INSTALLED)  ## Take the screenshots in docs/ of the MLflow UI and of the page of `make serve`
	pytest tests/pipeline/test_ui.py tests/pipeline/test_page.py --screenshots

lock: $(INSTALLED)  ## Pin the newest dependencies that pyproject.toml admits
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --extra dev pyproject.toml --output-file requirements.lock

clean:  ## Remove the environment and caches of tools; data, runs and MLflow's records stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# Only a finished installation leaves the stamp, with the folder of the project: the scripts in .venv contain its path.
# After an interruption, or when the project was moved, the installation starts over.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif
# uv installs several times as fast as pip. It does not read pip's settings, so it receives the package index from them;
# pip takes over where uv is not available or fails. Both check the hashes of all packages, including uv's own.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed: make PYTHON=python3.11")'
	@echo "Installing into $(VENV), which takes a minute or two"
	@$(PYTHON) -m venv --clear $(VENV)
	@trap 'exit 130' INT; \
	index=$$($(VENV)/bin/pip config list | sed -nE "s/^(:env:|global|install)\.index-url='(.*)'/\2/p" | head -n 1); \
	export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}"; \
	sed -n '/^uv==/,/^ *#/p' requirements.lock | $(PIP) --require-hashes --only-binary uv -r /dev/stdin \
	  && $(UV) --require-hashes -r requirements.lock \
	  || { echo "uv failed; installing with pip, which takes longer"; $(PIP) --require-hashes -r requirements.lock; }
	@$(PIP) --no-deps --no-build-isolation --editable .
	@pwd -P > $@
