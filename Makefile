# For people who have make. Its plain commands stand in docs/get_started.md and CONTRIBUTING.md.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup run test docs lint

setup: $(VENV)/installed

$(VENV)/installed: setup.cfg constraints.txt
	@echo "Installing the pinned packages into $(VENV): some minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .[llm,gguf,serving,ann,tuning,slurm,report,docs,dev]
	$(BIN)/pip install -q --no-deps recbole==1.2.1
	touch $@

run: setup
	$(BIN)/python run_recbole_tslrec.py

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

docs: setup
	$(BIN)/mkdocs build --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
