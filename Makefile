# Two commands matter: `make run` and `make test`. Both need Python 3.11 and make, nothing else.
.DEFAULT_GOAL := help
.PHONY: help run demo test loadtest bench faults hunt check-tariffs lint types docs lock clean

# Arguments for the command or the tests: make run ARGS="--port 9000", make test ARGS="tests/core -n 0".
ARGS ?=
# The first interpreter that really runs, is new enough and can make environments; a name on PATH may be a shim with
# nothing behind it. The system's own comes first: distributions build theirs with optimisations that others may lack, and
# a tap costs a quarter less of it.
PYTHON ?= $(shell for wanted in 'ensurepip, venv, sys' sys; do \
	for name in /usr/bin/python3.11 python3.11 python3 python3.12 python3.13 python3.14; do \
		$$name -c "import $$wanted; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo $$name && exit; done; done)
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-virtualenv

help:  ## Print this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

run: .venv/runtime.stamp  ## Start an example city on its own PostgreSQL and serve it; Ctrl-C stops everything.
	.venv/bin/faregate run $(ARGS)

demo: .venv/runtime.stamp  ## Tell a Monday: an outage, envelopes, refunds, the close, the bank; finite.
	.venv/bin/faregate demo $(ARGS)

# Two cores carry two workers and their PostgreSQL servers; stealing evens out the slow tests at the end.
test: .venv/dev.stamp  ## Run every test on a real PostgreSQL.
	.venv/bin/pytest -n 2 --dist worksteal $(ARGS)

# SHAPE is steady, rush-hour, spike or soak; ARGS go to locust: make loadtest SHAPE=spike ARGS="-t 5m -u 80".
SHAPE ?= steady
loadtest: .venv/dev.stamp  ## Load a gateway of its own for a minute and audit it; UI=1 opens locust's pages.
	.venv/bin/python -m loadtest.run $(if $(UI),--ui,-t 60s) --shape $(SHAPE) $(ARGS)

# Such as make bench ROWS=P1,P4 ROUNDS=1 SECONDS=3 for a short run.
bench: .venv/dev.stamp  ## Race the whole gateway against bare pgbench on one PostgreSQL, and audit it.
	.venv/bin/python -m loadtest.bench $(if $(ROWS),--rows $(ROWS)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

CYCLES ?= 50
faults: .venv/dev.stamp  ## Kill -9 gateway and PostgreSQL at random under load, and look for what was lost.
	.venv/bin/python -m loadtest.faults --cycles $(CYCLES) $(ARGS)

EXAMPLES ?= 60
hunt: .venv/dev.stamp  ## Let riders, gates, desks and banks do anything, EXAMPLES times a tariff; audit each step.
	EXAMPLES=$(EXAMPLES) .venv/bin/pytest -n 2 tests/properties/test_whole_gateway.py $(ARGS)

check-tariffs: .venv/runtime.stamp  ## Check every tariff and run its examples.
	.venv/bin/faregate rules check fare_rules/tariffs/*/
	for city in fare_rules/tariffs/*/; do .venv/bin/faregate rules examples $$city || exit 1; done

lint: .venv/dev.stamp  ## Check style, import arrows, dependencies, spelling, SQL, container and shell files.
	.venv/bin/ruff check .
	.venv/bin/lint-imports
	.venv/bin/deptry .
	.venv/bin/codespell
	.venv/bin/hadolint Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	.venv/bin/squawk gateway/sql/migrations/*.sql
	.venv/bin/shellcheck .ci/run

types: .venv/dev.stamp  ## Check types: strict in fare_rules and gateway.core.
	.venv/bin/mypy

docs: .venv/runtime.stamp  ## Write the pages that are made from the code; a test keeps them true.
	.venv/bin/python -c 'from gateway.shell.environment import settings_page as page; print(page(), end="")' \
		> gateway/SETTINGS.md
	.venv/bin/python -m fare_rules.reference

# The universal locks hold hashes and no address, so any index or mirror can serve them.
LOCK := .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --extra embedded --extra archive --group build
lock: .venv/dev.stamp  ## Resolve both locks anew; the smaller takes its versions from the larger.
	$(LOCK) --upgrade --group test --group lint --group load --group lock -o requirements-dev.lock
	$(LOCK) --upgrade --constraint requirements-dev.lock -o requirements.lock

clean:  ## Remove the environment and every cache; the data folder stays.
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find gateway fare_rules tests loadtest -name __pycache__ -type d -prune -exec rm -rf {} +

# A changed lock makes the environment anew: installing over the old one would leave dropped packages behind. The locks
# name everything, so pip resolves nothing: a resolver that looks for itself may meet a release newer than the lock and stop.
.venv/runtime.stamp: requirements.lock
	@test -n "$(PYTHON)" || { echo "faregate needs Python 3.11 or newer. Install it, or name it:" \
		"make PYTHON=/path/to/python3.11" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
		"On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 3; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements-dev.lock
	$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	.venv/bin/python -m pip --disable-pip-version-check check
	@touch $@
