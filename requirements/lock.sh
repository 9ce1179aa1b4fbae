#!/bin/sh
# Pins every requirement set with hashes. The sets are cut from one resolution, so that they agree and can share one
# environment. `make lock` calls this; `make lock UPGRADE=1` takes the newest versions that fit.
set -eu
cd "$(dirname "$0")"
uv=${UV:-uv}
union=$(mktemp)
trap 'rm -f "$union"' EXIT
compile() {
	"$uv" pip compile "$@" --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
		--custom-compile-command 'make lock' >/dev/null
}
cat ./*.txt >"$union" 2>/dev/null || true
[ -z "${UPGRADE:-}" ] || : >"$union"
compile ./*.in --output-file "$union"
for set in *.in; do
	compile "$set" --constraint "$union" --output-file "${set%.in}.txt"
done
