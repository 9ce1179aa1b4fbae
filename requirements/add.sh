#!/bin/sh
# Adds a library to a group of pyproject.toml, by default `model`, and pins it, or changes nothing. `make add` calls this.
set -eu
cd "$(dirname "$0")/.."
library=$1
group=${2:-model}
case $library in
"")
	echo "Say which library: make add LIBRARY=lightgbm" >&2
	exit 2
	;;
xgboost | xgboost[!a-z-]*)
	library=xgboost-cpu${library#xgboost}
	echo "Taking $library: the same module xgboost, without the libraries for NVIDIA's cards."
	;;
esac
scratch=$(mktemp -d)
cp pyproject.toml requirements/*.txt "$scratch"
done=
trap '[ -n "$done" ] || { mv "$scratch/pyproject.toml" . && mv "$scratch"/*.txt requirements; }; rm -rf "$scratch"' EXIT
if ! { sh requirements/tool.sh uv add --quiet --frozen --group "$group" -- "$library" && sh requirements/lock.sh; } 2>"$scratch/said"; then
	if grep -q 'was not found in the package registry' "$scratch/said"; then
		echo "There is no package $library. Nothing was changed. A package may be called otherwise than its module." >&2
	else
		cat "$scratch/said" >&2
		echo "$library was not added. Nothing was changed." >&2
	fi
	exit 1
fi
done=yes
echo "$library is in the group \`$group\` of pyproject.toml, and pinned in requirements/."
