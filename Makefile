# make install   .venv with the exact versions of constraints.txt
# make demo      from handwritten digits to a tested model and its report
# make prove-resume   kills a training ten times and compares it with one that was never touched
# make quick     lint and the quick tests
# make test      lint, types and all tests: what .ci/run calls
# make lowest    the kills of tests/resume on the oldest Lightning that pyproject.toml allows
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo prove-resume lint types quick test lowest clean

install: $(STAMP)

# pip of the outer Python fills the venv where `venv` itself cannot bring pip, as on a bare Debian.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || $(PYTHON) -m venv --without-pip .venv
	test -x $(BIN)/pip || $(PYTHON) -m pip --python $(BIN)/python install --quiet pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,text,timm,export,dev]'
	touch $(STAMP)

demo: install
	$(BIN)/python examples/digits.py demo/digits
	$(BIN)/torchkiln fit demo/digits --out demo/run --overwrite

prove-resume: install
	$(BIN)/python examples/prove_resume.py demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

quick: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

test: lint types
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lowest: install
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/lowest 'lightning==2.6.0'
	PYTHONPATH=.venv/lowest $(BIN)/python -m pytest -q tests/resume/test_matrix.py -k "every_event and torchmetrics"
	PYTHONPATH=.venv/lowest $(BIN)/python -m pytest -q tests/unit/training/test_lightning_state.py

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
