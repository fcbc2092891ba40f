# Every target makes its own environment first; nothing but python3 (3.11 or newer), git and make is needed.

PYTHON ?= python3
# Has torch for the GPU at hand, which is not ours to install.
GPU_PYTHON ?= $(PYTHON)
# Relative on purpose: make cannot quote the spaces in the path of a clone.
BIN := .venv/bin
BOOTSTRAP := $(PYTHON) scripts/bootstrap.py
TRAINS := $(filter-out 0,$(TRAIN))
COMPILE = "$$($(BOOTSTRAP) uv)" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help demo up test test-full test-integrations test-gpu try-image check fix bench calibrate lock env env-runtime env-train env-torch

help:  ## show this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  %-17s %s\n' "$$name" "$$text"; done

demo: env-runtime $(if $(TRAINS),env-train)  ## start everything and walk through a real regression; Ctrl-C stops it (TRAIN=1: train one live)
	@exec $(BIN)/python -m app.cli demo $(ARGS) $(if $(TRAINS),.venv-train/bin/python -m examples.burgers)

up: env-runtime  ## start the service on this machine; Ctrl-C stops it
	@exec $(BIN)/python -m app.cli up $(ARGS)

test: env  ## run the tests (ARGS="-k champion" to choose)
	@exec $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

test-integrations: env-torch  ## run the client beside a real torch: tensors, DataLoader, gloo, torchrun
	@exec .venv-torch/bin/python -m pytest tests/integrations tests/client/test_torch.py $(ARGS)

try-image: env  ## run the Dockerfile's steps in a bare Debian, then the image (root, debootstrap)
	@exec $(BIN)/python -m tests.containers.try_image $(ARGS)

test-full: env  ## the long runs: 10,000 schedules, every fault of W&B, 1,000 kills (docs/faults.md), try-image
	FAULTS_SCHEDULES=10000 FAULTS_FULL=1 $(BIN)/python -m pytest tests/client/test_state_machine.py tests/client/test_segments.py
	FAULTS_FULL=1 $(BIN)/python -m pytest -n 2 tests/worker/wandb tests/worker/test_many_workers.py
	FAULTS_KILLS=1000 $(BIN)/python -m pytest tests/faults/test_storm.py
	$(MAKE) try-image

test-gpu:  ## the client on a CUDA device (GPU_PYTHON=python3 that has torch and pytest)
	@exec $(GPU_PYTHON) -m pytest -c tests/gpu/pytest.ini tests/gpu $(ARGS)

check: env  ## formatting, lint, types, import rules, schema against migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_schema.py

fix: env  ## format and apply the safe lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: env  ## measure; writes docs/benchmarks.md (PEERS=1: other trackers too, TRAIN=1: a training; ARGS=--quick)
	$(BIN)/python -m bench.speed $(ARGS)

calibrate: env  ## measure how often the rule of noise errs; writes docs/calibration.md
	$(BIN)/python -m bench.calibration

lock:  ## pin the dependencies again (UPGRADE=1 to take newer versions)
	$(COMPILE) --group build -o requirements/server.txt pyproject.toml client/pyproject.toml
	$(COMPILE) --group build --group dev -c requirements/server.txt -o requirements/dev.txt pyproject.toml client/pyproject.toml

env:  ## make the environment for tests and checks
	@$(BOOTSTRAP) dev

env-runtime:
	@$(BOOTSTRAP) runtime

# torch, for the training only; an environment that cannot be made stops `make demo TRAIN=1` before anything starts.
env-train:
	@$(PYTHON) scripts/train_environment.py

env-torch:
	@$(BOOTSTRAP) torch
