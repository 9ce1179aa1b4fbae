#!/bin/sh
# Runs the uv of the project's environment (VENV, else .venv), told of pip's index and certificates: uv reads no pip
# configuration, and where pip works everything else shall.
set -eu
bin=${VENV:-.venv}/bin
of_pip() { # a variable of pip's comes before its files, and is the first in this order as well
	"$bin/python" -m pip config list 2>/dev/null | sed -nE "s/^(:env:|global)\.$1='(.*)'$/\1 \2/p" | sort | sed -n '1s/^[^ ]* //p'
}
index=${UV_DEFAULT_INDEX:-$(of_pip index-url)}
certificates=${SSL_CERT_FILE:-$(of_pip cert)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
[ -z "$certificates" ] || export SSL_CERT_FILE="$certificates"
# Where Python may write no bytecode, each process would compile all that it imports: up to 2 s for each of the gate's.
[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || export UV_COMPILE_BYTECODE=1
exec "$bin/uv" "$@"
