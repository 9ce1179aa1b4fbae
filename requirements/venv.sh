#!/bin/sh
# Makes the virtual environment of the project in the folder that is its argument. Needs Python 3.11 or later, nothing else.
set -eu
venv=$1
wanted=$(cat .python-version)

# A name on PATH may be a shim that runs nothing, so each candidate has to say its version.
runs() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
python=
for candidate in "${PYTHON:-}" "python$wanted" python3 python python3.14 python3.13 python3.12 python3.11; do
	if [ -n "$candidate" ] && runs "$candidate"; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
	echo "No Python 3.11 or later on PATH. Install Python $wanted, or name one: make PYTHON=/path/to/python3" >&2
	exit 1
fi
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$found" = "$wanted" ] || echo "Python $wanted (.python-version) is not on PATH: using $found here; the image and the workflows use $wanted."

"$python" -m venv --clear "$venv" || {
	echo "Python $found cannot make a virtual environment here (Debian and Ubuntu: apt install python$found-venv)." >&2
	exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

# Every program of the environment finds the project's packages, wherever it is started from, and after the folder moved.
"$venv/bin/python" - <<-'END'
	import os, sysconfig
	site = sysconfig.get_path("purelib")
	with open(os.path.join(site, "project.pth"), "w") as file:
	    file.writelines(f"{os.path.relpath(path, site)}\n" for path in (".", "src"))
END
