.DEFAULT_GOAL := help
VENV := .venv
READY := $(VENV)/.ready
PYTHON ?= python3
# DVC's stages call `python`, which must be the one of this environment.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export HF_HUB_DISABLE_TELEMETRY := 1

$(READY): requirements.lock pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	python -m pip install --disable-pip-version-check --quiet --requirement requirements.lock
	python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	touch $@

COVERAGE := --cov --cov-report=term-missing:skip-covered

.PHONY: setup repro test test-all lint report help

setup: $(READY)  ## make the environment with the pinned packages

repro: $(READY)  ## run the whole pipeline (dvc repro, two models side by side); what is up to date is skipped
	radcap repro --jobs 2

test: $(READY)  ## run the tests, under 12 minutes on two cores, and show which lines none of them runs
	python -m pytest -n 2 --dist loadfile $(COVERAGE)

test-all: $(READY)  ## run the slow tests too
	python -m pytest -n 2 --dist loadfile $(COVERAGE) -m "slow or not slow"

lint: $(READY)  ## check style (ruff) and types (mypy)
	ruff check .
	ruff format --check .
	mypy

report: $(READY)  ## bring the tables up to date, also in the README, and show them
	dvc repro aggregate
	radcap report --readme README.md

help:  ## show these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
