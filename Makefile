# One way to do a thing: people, commit hooks and workflows call these targets. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
VENV ?= .venv
bin := $(VENV)/bin
run := $(bin)/python -m
# Before what is installed in the environment, which several checkouts may share.
export PYTHONPATH := $(CURDIR):$(CURDIR)/src

-include template.mk

.PHONY: help setup train serve locust image perf perf-accept history promote rollback restore comment issue template-update pipeline demo test lint format lock up down

help: ## list the targets
	@sed -nE 's/^([a-z][a-z-]*):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

# --- The environment: requirements/*.txt, pinned with hashes, into one folder. A stamp for each set that is in it.

# What a stamp holds is compared, not its time alone: a checkout or a copy with new times installs nothing again.
$(bin)/uv: requirements/uv.txt requirements/venv.sh .python-version
	@cat $^ | cmp -s - $(VENV)/.made || { sh requirements/venv.sh $(VENV) && cat $^ > $(VENV)/.made; }
	@touch $@

$(VENV)/.%: requirements/%.txt $(bin)/uv
	@cmp -s $< $@ || { echo "Installing $< into $(VENV)"; \
	  VENV=$(VENV) sh requirements/uv.sh pip install --quiet --python $(bin)/python --require-hashes -r $< && cp $< $@; }
	@touch $@

setup: $(VENV)/.dev ## install everything for development, and the commit hook in a Git checkout
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(bin)/pre-commit install; else echo "Not a Git checkout: no commit hook installed."; fi
	@echo "Ready: $(VENV)"

# --- The stages

train: $(VENV)/.train ## train, evaluate, register the candidate, write bundle/
	@$(run) training.train $(if $(TRIAL),--trial "$(TRIAL)")

bundle/card.json:
	@$(MAKE) train

serve: bundle/card.json $(VENV)/.serve-sklearn ## serve bundle/ on http://127.0.0.1:8000
	@$(bin)/gunicorn --config serving/gunicorn.conf.py

locust: $(VENV)/.perf ## open Locust's own web page against the running service
	@$(bin)/locust --locustfile perf/locustfile.py --web-host 127.0.0.1 --host $${HOST_URL:-http://127.0.0.1:8000}

# Containers where an engine can build and run them, two gunicorn processes where not; ARMS=process says so anyway.
arms = $(or $(ARMS),$(shell docker buildx version >/dev/null 2>&1 && docker info >/dev/null 2>&1 && echo container || echo process))
built = $$($(run) pipeline.notes)

perf: bundle/card.json $(VENV)/.train $(VENV)/.perf ## load-test the candidate beside the champion, and judge it (BASE=version, commit or image; PROFILE=quick; WORKERS=4)
	@$(if $(filter container,$(arms)),$(run) release.image)
	@$(run) release.baseline $(if $(BASE),"$$BASE")
	@$(if $(PROFILE),MLOPS_PERF__PROFILE="$(PROFILE)") $(if $(WORKERS),MLOPS_PERF__LOAD__WORKERS="$(WORKERS)") \
	  $(run) perf $(if $(filter container,$(arms)),--candidate "$(built)")

perf-accept: $(VENV)/.perf ## accept the slow-down for which `make perf` failed, in a file to be reviewed (REASON="why")
	@$(run) perf.accept --reason "$$REASON"

history: $(VENV)/.train ## draw p95 and the quality metric over all versions that were ever promoted
	@$(run) release.history

option = $(if $($(1)),--$(2) "$($(1))")
image: bundle/card.json $(VENV)/.perf ## build the image that serves bundle/ (PUSH=registry/path: push it, SAVE=file: save it)
	@$(run) release.image $(call option,PUSH,push) $(call option,SAVE,save) $(call option,BESIDE,beside) \
	  $(call option,TRIAL,tag) $(if $(CACHE),--cache)

promote: $(VENV)/.train ## make the candidate the champion, if it passed
	@$(run) release.promote $(call option,IMAGE,image) $(if $(IMAGE),--replaces "$(REPLACES)") $(if $(RETRAINED),--retrained)

rollback: $(VENV)/.train ## go back to an earlier champion (TO=version, or the previous one; REASON="why")
	@$(run) release.rollback --to "$${TO:-previous}" --reason "$$REASON"

pipeline: train perf promote ## all of it: train, register, serve, load-test, judge, promote

demo: $(VENV)/.train $(VENV)/.perf ## see the gate at work: pass, pass against the champion, fail when slowed
	@$(run) release.demo

compose = SERVICE_IMAGE="$(built)" MLFLOW_USER="$$(id -u):$$(id -g)" PWD="$(CURDIR)" docker compose

up: image ## start the service (port 8000) and MLflow's pages (port 5001) in containers
	@$(compose) up --detach --wait
	@echo "Service: http://127.0.0.1:8000   MLflow: http://127.0.0.1:5001"

down: ## stop them
	@docker compose down

# --- For the workflows

restore: $(VENV)/.train ## (workflows) bring the MLflow store of the cache in line with the registry's champion
	@$(run) release.restore --repository "$(REPOSITORY)"

comment: $(VENV)/.perf ## (workflows) write what a run found to its pull request
	@$(run) release.github.comment

issue: $(VENV)/.perf ## (workflows) open, change or close the issue TITLE, as RESULT is failure or success
	@$(run) release.github.issue --title "$$TITLE" --result "$$RESULT"

template-update: $(VENV)/.update ## (workflows) open a pull request with what the template has changed
	@$(run) release.github.template_update

# --- Quality of the code

test: $(VENV)/.dev $(template_environment) ## run the tests
	@$(run) pytest

lint: $(VENV)/.dev ## run every linter, as the commit hook does
	@$(run) pre_commit run --all-files

format: $(VENV)/.dev ## let ruff format the code
	@$(run) ruff check --fix-only --quiet . && $(run) ruff format .

lock: $(bin)/uv ## pin the requirements again (UPGRADE=1: the newest that fit)
	@VENV=$(abspath $(VENV)) sh requirements/lock.sh
