#!/bin/sh
# Pins every requirement set with hashes. The sets are cut from one resolution, so that they agree and can share one
# environment. `make lock` calls this; `make lock UPGRADE=1` takes the newest versions that fit.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
union=$scratch/union.txt
compile() {
	sh uv.sh pip compile "$@" --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command 'make lock' >/dev/null
}
# MLflow's server wants an older gunicorn than the service does, so it is resolved apart, for a container of its own.
set --
for file in *.in; do
	[ "$file" = mlflow.in ] || set -- "$@" "$file"
done
: >"$union"
[ -n "${UPGRADE:-}" ] || for file in "$@"; do cat "${file%.in}.txt" >>"$union" 2>/dev/null || true; done
compile "$@" --output-file "$union"
for file in "$@"; do
	compile "$file" --constraint "$union" --output-file "${file%.in}.txt"
done
# Both sides work on one store, whose layout changes between versions.
sed -n 's/^mlflow-skinny\(==[^ ]*\).*/mlflow\1/p' "$union" >"$scratch/mlflow.txt"
compile mlflow.in ${UPGRADE:+--upgrade} --constraint "$scratch/mlflow.txt" --output-file mlflow.txt
