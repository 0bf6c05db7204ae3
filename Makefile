# `make serve` and `make test` work from nothing but Python, make and the package index.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PORT   ?= 8018
RUNTIME = build/runtime
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup serve test lint scripts format types docs screenshots icons package audit clean check-scripts

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.models ## Install Sightbox into .venv and prepare the models.

serve: setup ## Serve the page and the API on http://127.0.0.1:8018 (PORT=... for another port).
	@exec $(BIN)/sightbox serve --port $(PORT)

test: lint types ## Check the style, the types, and run every test.
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(VENV)/.dev scripts ## Check style and format, and the page's scripts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

scripts: ## Check style and types of the page's scripts; left out where there is no Node.
	@if ! node -e 'process.exitCode = Number(parseInt(process.versions.node) < 20)' 2>/dev/null || \
		! command -v npm >/dev/null; then \
		echo "make scripts: there is no Node 20 with npm here; the page's scripts were not checked."; \
	else $(MAKE) --no-print-directory check-scripts; fi

check-scripts: node_modules/.installed
	npm run --silent lint
	npm run --silent types

format: $(VENV)/.dev ## Mend style and format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Check the types.
	$(BIN)/mypy

docs: $(VENV)/.dev ## Make the generated pages of docs/ and the manifest anew.
	$(BIN)/python docs/generate.py

screenshots: $(VENV)/.dev ## Take the pictures of the pages in docs/ anew.
	$(BIN)/python tests/browser/screenshots.py

icons: $(VENV)/.dev ## Draw the icons of the app anew, from icon.svg.
	$(BIN)/python tests/browser/icons.py

package: $(VENV)/.dev ## Build the wheel, the source package and the bill of materials into dist/.
	rm -rf dist $(RUNTIME)
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m venv --without-pip $(RUNTIME)
	$(BIN)/python -m pip --python $(RUNTIME) install --quiet --disable-pip-version-check \
		--constraint constraints.txt dist/*.whl
	$(BIN)/python -m pip --python $(RUNTIME) freeze --exclude sightbox >$(RUNTIME).txt
	name=$$(basename dist/*.tar.gz .tar.gz) && \
	sed "s/^dynamic = .*/version = \"$${name#sightbox-}\"/" pyproject.toml >build/pyproject.toml && \
	$(BIN)/cyclonedx-py environment --pyproject build/pyproject.toml --mc-type application \
		--output-reproducible --output-file dist/$$name.cdx.json $(RUNTIME)

audit: $(RUNTIME).txt ## Look for known weaknesses in what the wheel brings; asks the network.
	@$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
		--requirement $(RUNTIME).txt >build/audit.txt 2>&1; found=$$?; cat build/audit.txt; \
	if [ $$found -ne 0 ] && ! grep -q '^Found ' build/audit.txt; then \
		echo "make audit: the list of known weaknesses could not be asked; nothing is proven." >&2; \
	fi; exit $$found

clean: ## Remove what was installed and built; prepared models stay.
	rm -rf $(VENV) node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for a finished step, so that the second `make serve` starts at once.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing Sightbox into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.models: $(VENV)/.installed
	@$(BIN)/sightbox setup
	@touch $@

# What an installation of the wheel brings, one package a line.
$(RUNTIME).txt: pyproject.toml constraints.txt
	@$(MAKE) package

node_modules/.installed: package.json package-lock.json .npmrc
	@echo "Installing what checks the page's scripts into node_modules ..."
	@npm ci --loglevel=error --no-audit
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@echo "Installing what the tests need (torch is several gigabytes) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $@
