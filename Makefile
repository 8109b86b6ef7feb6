# make demo: simulate, train and evaluate; make test: the tests; make lint: style and types; make bench: the benchmarks;
# make docs: the documentation site
VENV ?= .venv
PYTHON ?= python3
# A CPU build is enough. To install another build of torch, such as one for CUDA: make demo TORCH="torch --index-url ..."
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin

.PHONY: demo test lint bench docs clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/gavamoe demo --out gavamoe-demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/speed/prepare.py --rows 1000000 --dir benchmarks/out
	$(BIN)/python benchmarks/speed/explainer.py

$(VENV)/.docs: $(VENV)/.installed pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

docs: $(VENV)/.docs
	$(BIN)/python scripts/write_reference.py
	$(BIN)/python scripts/build_docs.py

clean:
	rm -rf $(VENV) gavamoe-demo build/docs-site site
