PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help repro test lint bench ui serve pictures lock clean

help:  ## Show what there is
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

repro: $(INSTALLED)  ## Install if needed, run every stage whose input changed, show the results
	python -m pipelines.check
	dvc repro
	@sed '/^## /,$$d' reports/comparison.md
	@echo "All plots and tests: reports/comparison.md"
	@echo "Compare the runs in the MLflow UI: make ui"

test: $(INSTALLED)  ## Install if needed, run all tests
	pytest

lint: $(INSTALLED)  ## Install if needed, check style and types
	ruff check
	ruff format --check
	mypy

ui: $(INSTALLED)  ## Open the MLflow UI on http://127.0.0.1:5000
	mlflow ui --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db" --host 127.0.0.1 --port 5000

serve: $(INSTALLED)  ## Serve the promoted model on http://127.0.0.1:5001
	python -m pipelines.serve

bench: $(INSTALLED)  ## Time everything, side by side, and write docs/benchmarks.md (forty minutes)
	python -m benchmarks

pictures: $(INSTALLED)  ## Take the screenshots of docs/ from the MLflow UI, with Chromium
	pytest tests/test_ui.py --documented

lock: $(INSTALLED)  ## Pin the newest dependencies that pyproject.toml admits
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --extra dev pyproject.toml --output-file requirements.lock

clean:  ## Remove the environment; data, runs and the MLflow record stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# Only a finished installation leaves the stamp: after an interrupted one it starts again from nothing.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	pip install --disable-pip-version-check --require-hashes -r requirements.lock
	pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
