# One way to do a thing: people, commit hooks and workflows call these targets. `make` alone lists those for people.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
VENV ?= .venv
bin := $(VENV)/bin
run := $(bin)/python -m
# Before what is installed in the environment, which several checkouts may share.
export PYTHONPATH := $(CURDIR):$(CURDIR)/src

-include template.mk

.PHONY: help setup new data tune train serve perf accept promote deploy status pipeline demo rollback history image up down locust test lint format add lock \
  migrate-store restore changes retraining plan comment issue updates

help:
	@sed -nE 's/^([a-z]+):.*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

# --- The environment: requirements/*.txt, pinned with hashes, into one folder. A stamp for each set that is in it.

# What a stamp holds is compared, not its time alone: a checkout or a copy with new times installs nothing again.
$(bin)/uv: requirements/uv.txt requirements/venv.sh .python-version
	@cat $^ | cmp -s - $(VENV)/.made || { sh requirements/venv.sh $(VENV) && cat $^ > $(VENV)/.made; }
	@touch $@

$(VENV)/.%: requirements/%.txt $(bin)/uv
	@cmp -s $< $@ || { echo "Installing $< into $(VENV)"; \
	  VENV=$(VENV) sh requirements/tool.sh uv pip install --quiet --python $(bin)/python --require-hashes -r $< && cp $< $@; }
	@touch $@

setup: $(VENV)/.dev ## install everything for development, and the commit hook
	@if ! git rev-parse --git-dir >/dev/null 2>&1; then echo "Not a Git checkout: no commit hook installed."; \
	elif hooks=$$(git config core.hooksPath); then echo "No commit hook installed: Git takes hooks from $$hooks (core.hooksPath)."; \
	else $(run) pre_commit install; fi
	@echo "Ready: $(VENV)"

# --- The stages

option = $(if $($(1)),--$(2) "$($(1))")
flag = $(if $(filter-out 0 no false,$($(1))),--$(2))

# As they were typed: a column may be called "Price ($)".
new: export TYPED_CSV := $(value CSV)
new: export TYPED_SQL := $(value SQL)
new: export TYPED_TARGET := $(value TARGET)
new: $(VENV)/.train ## begin with your own data (CSV=path TARGET=column)
	@$(run) training.new --csv="$$TYPED_CSV" --sql="$$TYPED_SQL" --target="$$TYPED_TARGET" $(call option,TASK,task) $(call flag,FORCE,force)

data: $(VENV)/.train ## show what training reads, and what has changed since the champion
	@$(run) training.show

tune: $(VENV)/.train ## search for better parameters of build() (TRIALS=40)
	@$(run) training.tune $(call option,TRIALS,trials)

train: $(VENV)/.train ## train, register the candidate, write bundle/ (FORCE=1: though nothing has changed)
	@$(run) training.train $(call option,PREVIEW,preview) $(call flag,FORCE,force)

bundle/card.json:
	@$(MAKE) train

serve: bundle/card.json $(VENV)/.serve-sklearn ## serve bundle/ on http://127.0.0.1:8000
	@$(run) gunicorn --config serving/gunicorn.conf.py

locust: $(VENV)/.perf ## open Locust's own page for the running service (HOST_URL=http://…)
	@$(run) locust --locustfile perf/locustfile.py --web-host 127.0.0.1 --host $${HOST_URL:-http://127.0.0.1:8000}

# Containers where an engine can build and run them, two gunicorn processes where not; DOCKER=no says so anyway.
docker = $(or $(DOCKER),$(shell docker buildx version >/dev/null 2>&1 && docker info >/dev/null 2>&1 && echo yes || echo no))
built = $$($(run) pipeline.notes)

perf: bundle/card.json $(VENV)/.train $(VENV)/.perf ## load-test the candidate beside the champion (BASE=version, commit or image; PROFILE=quick)
	@rm -f reports/verdict.json # so that none is there of an earlier run, where this one fails
	@$(if $(filter yes,$(docker)),$(run) release.image)
	@$(run) release.baseline $(if $(BASE),"$$BASE")
	@$(if $(PROFILE),MLOPS_PERF__PROFILE="$(PROFILE)") $(run) perf $(if $(filter yes,$(docker)),--candidate "$(built)")

accept: $(VENV)/.perf ## accept the slow-down for which `make perf` failed (REASON="why")
	@$(run) perf.accept --reason="$$REASON"

history: $(VENV)/.train ## draw p95 and the quality of every version that was ever promoted
	@$(run) release.history

image: bundle/card.json $(VENV)/.perf ## build the image that serves bundle/ (PUSH=registry/path)
	@$(run) release.image $(call option,PUSH,push) $(call option,REPLACES,replaces) $(call flag,CACHE,cache)

promote: $(VENV)/.train ## make the candidate the champion, if it passed
	@$(run) release.promote $(call option,IMAGE,image) $(if $(IMAGE),--replaces "$(REPLACES)")

rollback: $(VENV)/.train ## go back to the champion before this one (REASON="why"; TO=version)
	@$(run) release.rollback --to="$${TO:-previous}" --reason="$$REASON"

deploy: $(VENV)/.train $(VENV)/.perf ## put the champion where it answers, and verify it (TARGET=kubernetes or host; DIGEST=…)
	@$(run) release.deploy --target="$(TARGET)" $(call option,ENVIRONMENT,environment) $(call option,DIGEST,digest) $(call option,CANARY,canary)

status: $(VENV)/.train ## show what runs where, and whether it still answers
	@$(run) release.deploy.record

pipeline: train perf promote ## all of it: train, perf, promote

demo: $(VENV)/.train $(VENV)/.perf ## see the gate at work: pass, pass, and fail for a slowed candidate
	@$(run) release.demo

migrate-store: $(VENV)/.train
	@$(run) release.migrate

compose = SERVICE_IMAGE="$(built)" MLFLOW_USER="$$(id -u):$$(id -g)" PWD="$(CURDIR)" docker compose

up: image ## start the service and MLflow's pages in containers; make down stops them
	@$(compose) up --detach --wait
	@echo "Service: http://127.0.0.1:8000   MLflow: http://127.0.0.1:5001"

down:
	@docker compose down

# --- For the workflows

restore: $(VENV)/.train
	@$(run) release.restore --repository "$(REPOSITORY)" $(call option,WHOSE,from)

changes: $(VENV)/.train
	@$(run) release.changes $(call option,PREVIEW,preview) $(call flag,RETRAINED,retrained) $(call flag,FORCE,force)

retraining: $(VENV)/.train
	@$(run) release.changes --due

plan: $(VENV)/.train
	@$(run) release.deploy.plan $(call option,DIGEST,digest)

comment: $(VENV)/.perf
	@$(run) release.github.comment

issue: $(VENV)/.perf
	@$(run) release.github.issue --title="$$TITLE" --result="$$RESULT"

updates: $(VENV)/.update
	@$(run) release.github.updates $(KIND)

# --- Quality of the code

test: $(VENV)/.dev $(template_environment) ## run the tests
	@$(run) pytest tests/test_*.py
	$(template_tests)

lint: $(VENV)/.dev ## run every linter, as the commit hook does
	@$(run) pre_commit run --all-files

format: $(VENV)/.dev
	@$(run) ruff check --fix-only --quiet . && $(run) ruff format .

add: $(bin)/uv ## add a library that your model needs, pinned and installed (LIBRARY=lightgbm; GROUP=data: for the data)
	@VENV=$(abspath $(VENV)) sh requirements/add.sh "$$LIBRARY" "$$GROUP"
	@$(MAKE) $(VENV)/.dev

lock: $(bin)/uv ## pin the groups of pyproject.toml (UPGRADE=1: the newest that fit)
	@VENV=$(abspath $(VENV)) sh requirements/lock.sh
