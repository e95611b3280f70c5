# make run   the whole walk-through on the lab: stages, notebooks, a table of win rates
# make test  lint, types and every test
# make analyses   the runs that decide the paper's claims: some hours, goes on where it stopped
# make related    the same for related methods, beside them: what they share is made once
# make lab   JupyterLab on the notebooks
# make pages the committed notebooks as web pages, in runs/pages

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_DISABLE_TELEMETRY := 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run test lab pages lint notebooks analyses related clean

run: $(VENV)/installed
	$(BIN)/python -m xlnb run --preset lab --processes 2

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov=xlnb --cov-report=term --cov-fail-under=90

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy xlnb

lab: $(VENV)/installed
	$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

pages: $(VENV)/installed
	$(BIN)/jupyter nbconvert --to html --template pages --output-dir runs/pages \
		--TemplateExporter.extra_template_basedirs=notebooks notebooks/*.ipynb

# Execute the committed notebooks anew, from a finished `make run`.
notebooks: run
	cp runs/lab/notebooks/*.ipynb notebooks/

analyses: $(VENV)/installed
	$(BIN)/python -m xlnb analyses --out runs/analyses -j 2

related: $(VENV)/installed
	$(BIN)/python -m xlnb analyses --page related_methods --out runs/analyses -j 2

# The package is installed as a link to this folder, so that kernels find it from any other.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf runs
