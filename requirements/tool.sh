#!/bin/sh
# Runs a tool of the project's environment (VENV, else .venv), whatever is on PATH: Git calls hooks with its user's PATH.
set -eu
tool=${VENV:-.venv}/bin/$1
[ -x "$tool" ] || {
	echo "$tool is missing: run make setup" >&2
	exit 1
}
shift
exec "$tool" "$@"
