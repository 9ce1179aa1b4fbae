# Only in the template's own repository; a generated project has no such file. The Makefile includes it.
OUT ?= .cache/bake
template_environment := $(VENV)/.template
# Apart from the project's own tests, because the engine's run on a project of theirs. Under act they are not there.
# What measures has the machine to itself; of the others, two files go at a time.
measure_nothing := docker/test_pythons perf/test_browser perf/test_judge perf/test_page serving/test_mlflow_differential \
  serving/test_openapi serving/test_texts
timed = $(filter-out $(measure_nothing:%=tests/engine/%.py),$(foreach it,docker perf serving,$(wildcard tests/engine/$(it)/test_*.py)))
untimed = $(filter-out $(timed),$(wildcard tests/engine/test_*.py tests/engine/*/test_*.py)) tests/template
chosen = @$(run) pytest $1 $(timed) && $(run) pytest $1 --numprocesses 2 --dist loadfile $(untimed)
template_tests = $(if $(timed),$(call chosen,$(if $(ALL),,-m "not slow")))
laid_out := $(bin)/python hooks/pre_prompt.py

.PHONY: bake template-branch release-notes settings-reference bench-serving bench-boosters bench-gate bench-model bench-tables bench-scale bench-sizes bench-tune bench-workflow test-all buildkitd versitygw act-runner test-act test-deploy trivy test-scan

# From the laid-out template, because cookiecutter would copy the whole checkout with its virtual environment first.
bake: $(template_environment) ## generate a project into .cache/bake (OUT=folder, ANSWERS="task=regression")
	@[ "$(OUT)" != .cache/bake ] || rm -rf .cache/bake
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	  $(laid_out) . "$$scratch/template" && \
	  $(bin)/cookiecutter "$$scratch/template" --no-input --default-config --output-dir "$(OUT)" $(ANSWERS)
	@echo "Generated: $(OUT)"

# cruft runs no pre_prompt hook, so it gets a branch where the hook's work is done. Neither index nor work tree is touched.
template-branch: $(bin)/uv ## commit the laid-out template of HEAD to the branch template, for cruft
	@set -eu; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; mkdir "$$scratch/head"; \
	git archive --output="$$scratch/head.tar" HEAD; tar -xf "$$scratch/head.tar" -C "$$scratch/head"; \
	$(laid_out) "$$scratch/head" "$$scratch/template"; \
	GIT_DIR=$$(git rev-parse --absolute-git-dir); export GIT_DIR GIT_INDEX_FILE="$$scratch/index"; \
	git -C "$$scratch/template" --work-tree=. add --all --force .; \
	tree=$$(git write-tree); \
	tip() { git rev-parse --quiet --verify "$$1"; }; \
	parent=$$(tip refs/heads/template || tip refs/remotes/origin/template || true); \
	if [ -n "$$parent" ] && [ "$$(tip "$$parent^{tree}")" = "$$tree" ]; then commit=$$parent; else \
	  commit=$$(git log -1 --format='%s%n%nLaid out from %H.' | \
	    git -c user.name="$$(git log -1 --format=%cn)" -c user.email="$$(git log -1 --format=%ce)" \
	      commit-tree "$$tree" $${parent:+-p "$$parent"}); \
	fi; \
	git update-ref refs/heads/template "$$commit"; \
	echo "Branch template: $$(git log -1 --format='%h %s' "$$commit")"

release-notes: $(bin)/uv ## print what CHANGELOG.md says of a version, if it may be released (VERSION=v1.2.0)
	@$(run) hooks.release_notes "$$VERSION"

bench-serving: bundle/card.json $(VENV)/.train ## the service beside its peers, in one run (needs wrk; installs the peers into .cache/bench)
	@$(run) benchmarks.serving.run --write
	@$(run) benchmarks.serving.breakdown --write
	@$(run) benchmarks.serving.batches --write
	@$(run) benchmarks.serving.texts --write

bench-gate: bundle/card.json $(VENV)/.train $(VENV)/.perf ## how often the gate is wrong, and what it catches (MINUTES=240: record anew)
	@$(run) benchmarks.gate.run $(if $(MINUTES),--minutes $(MINUTES))

bench-model: $(VENV)/.train $(VENV)/.perf ## how often the model's gate is wrong, and what it catches (SPLITS=50)
	@$(run) benchmarks.model.run --write $(call option,SPLITS,splits)

bench-boosters: $(VENV)/.train $(VENV)/.perf $(template_environment) ## LightGBM, XGBoost and CatBoost beside their peers (needs wrk)
	@$(run) benchmarks.boosters.run --write

bench-tables: $(VENV)/.train $(VENV)/.perf ## make new on tables of other people's (NAMES="penguins cars"; AGAIN=1: also those that are done)
	@$(run) benchmarks.tables.run --write $(if $(AGAIN),--again) $(NAMES)

bench-sizes: $(VENV)/.train $(VENV)/.perf ## time and memory of training, from 10,000 to 10,000,000 rows (ROWS="10000 100000")
	@$(run) benchmarks.tables.sizes --write $(ROWS)

bench-scale: $(VENV)/.train $(VENV)/.perf ## what docs/scale.md counts with (needs an MLflow server: MLFLOW_TRACKING_URI)
	@$(run) benchmarks.scale.run --write

bench-tune: $(VENV)/.train $(template_environment) ## make tune with 1, 2 and 4 workers of Dask
	@$(run) benchmarks.tune.run --write

settings-reference: $(VENV)/.dev ## write docs/settings.md anew
	@$(run) hooks.settings_reference

test-all: ## all tests, those that are statistical or slow as well
	@$(MAKE) test ALL=1

# --- The workflows, run for real without GitHub

BUILDKIT := v0.34.2
# Its go.mod has excludes, which `go install` of a version refuses: so it is built as a dependency of nothing.
buildkitd: ## build the BuildKit daemon of the tests into Go's bin folder (needs Go)
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && cd "$$scratch" && go mod init buildkitd 2>/dev/null && \
	  go get github.com/moby/buildkit/cmd/buildkitd@$(BUILDKIT) && \
	  go build -o "$$(go env GOPATH)/bin/buildkitd" github.com/moby/buildkit/cmd/buildkitd

VERSITYGW := v1.8.0
versitygw: ## build the store of objects of the tests into Go's bin folder (needs Go)
	@CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)

act-runner: ## build the image of act's runner, local/act-runner
	@docker build --quiet --tag local/act-runner tests/template/act/runner

test-act: $(VENV)/.dev $(template_environment) ## run the workflows with act (needs Docker, act, docker-registry, make buildkitd act-runner)
	@$(run) pytest tests/template/act

test-deploy: $(VENV)/.dev $(template_environment) ## deploy to a cluster and to a machine (needs Docker, docker-registry, sshd, caddy, prometheus; a Kubernetes with KServe on 127.0.0.1)
	@$(run) pytest --numprocesses 2 --dist loadfile tests/template/deploy

TRIVY := v0.70.0
trivy: ## build the scanner of pipeline.yml into Go's bin folder (needs Go; 5 min)
	@CGO_ENABLED=0 GOEXPERIMENT=jsonv2 go install github.com/aquasecurity/trivy/cmd/trivy@$(TRIVY)

test-scan: $(VENV)/.dev ## what the scan of an image stops (needs Docker, docker-registry, Go, make trivy)
	@$(run) pytest tests/template/scan

bench-workflow: $(VENV)/.dev ## where the minutes of a push go, with the load profile of pipeline.toml (needs the same)
	@$(run) benchmarks.workflows.minutes
