# make demo   set up (no compiled parts), train a small RANet on real pictures, show it
# make test   set up everything, mmcv's compiled ops included, and run the tests
#
# PYTHON=python3.12    the interpreter (3.10 to 3.12) of a new environment
# VENV=DIR             where the environment is
# TORCH_INDEX_URL=URL  the index that torch comes from (CPU only, another CUDA)

PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c '' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
SETUP = $(PYTHON) tools/setup_env.py --venv $(VENV)
ALL_PARTS = classification,detection,rotated,video,tests

.PHONY: demo test test-slow env lint format lock clean

demo:
	$(SETUP) --with classification
	$(VENV)/bin/python tools/demo.py

test: env
	$(VENV)/bin/python -m pytest tests -q

test-slow: env
	$(VENV)/bin/python -m pytest tests -q -m slow

env:
	$(SETUP) --with $(ALL_PARTS) --ops

lint: $(VENV)/bin/ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/bin/ruff
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/ruff:
	$(SETUP) --with tests

# Pin everything anew. What belongs to one CUDA version is left to torch.
lock: $(VENV)/bin/ruff
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.10 --no-header \
		--no-annotate --upgrade $(addprefix requirements/,runtime.txt \
		classification.txt detection.txt rotated.txt video.txt tests.txt build.txt) \
		| grep -vE '^(nvidia-|cuda-|triton)' > requirements/constraints.tmp
	mv requirements/constraints.tmp requirements/constraints.txt

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
