#!/bin/sh
# Runs a tool of the project's environment (VENV, else .venv), whatever is on PATH: Git calls hooks with its user's PATH.
set -eu
bin=${VENV:-.venv}/bin
tool=$1
[ -x "$bin/$tool" ] || {
	echo "$bin/$tool is missing: run make setup" >&2
	exit 1
}
shift
# uv reads no pip configuration, and where pip works everything else shall: it is told of pip's index and certificates.
if [ "$tool" = uv ]; then
	of_pip() { # a variable of pip's comes before its files, and is the first in this order as well
		"$bin/python" -m pip config list 2>/dev/null | sed -nE "s/^(:env:|global)\.$1='(.*)'$/\1 \2/p" | sort | sed -n '1s/^[^ ]* //p'
	}
	index=${UV_DEFAULT_INDEX:-$(of_pip index-url)}
	certificates=${SSL_CERT_FILE:-$(of_pip cert)}
	[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
	[ -z "$certificates" ] || export SSL_CERT_FILE="$certificates"
	# Where Python may write no bytecode, each process would compile all that it imports: up to 2 s for each of the gate's.
	[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || export UV_COMPILE_BYTECODE=1
fi
# A script names its Python by the folder that it was installed in, which may have moved.
case $(head -c 200 "$bin/$tool" | tr -d '\000' | head -n 1) in
"#!"*python*) exec "$bin/python" "$bin/$tool" "$@" ;;
esac
exec "$bin/$tool" "$@"
