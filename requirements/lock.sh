#!/bin/sh
# Pins every group of pyproject.toml with hashes. They are cut from one resolution, so that they agree and can share one
# environment. `make lock` calls this; `make lock UPGRADE=1` takes the newest versions that fit, with COOLDOWN="7 days"
# those of a week ago.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
union=$scratch/union.txt
compile() {
	sh requirements/tool.sh uv pip compile "$@" --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		${COOLDOWN:+--exclude-newer "$COOLDOWN"} --custom-compile-command 'make lock' >/dev/null
}
groups="serve serve-sklearn train perf dev update uv"
more=$(ls requirements/*.in 2>/dev/null || true) # of the template
set --
for group in $groups; do set -- "$@" --group "$group"; done
: >"$union"
[ -n "${UPGRADE:-}" ] || cat requirements/*.txt | grep -v '^#' >"$union"
# A list of files:
# shellcheck disable=SC2086
compile $more "$@" --output-file "$union"
for group in $groups; do compile --group "$group" --constraint "$union" --output-file "requirements/$group.txt"; done
for file in $more; do compile "$file" --constraint "$union" --output-file "${file%.in}.txt"; done
# Both sides work on one store, whose layout changes between versions. Its gunicorn is older, so it is resolved apart.
sed -n 's/^mlflow-skinny\(==[^ ]*\).*/mlflow\1/p' "$union" >"$scratch/mlflow.txt"
compile --group mlflow ${UPGRADE:+--upgrade} --constraint "$scratch/mlflow.txt" --output-file requirements/mlflow.txt
