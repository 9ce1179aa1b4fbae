#!/bin/sh
# Copies the database and the objects of MLflow into a folder: sh backup.sh folder where-that-is-meant-from
# The database first: an artifact is stored before the database names it, so none is missing.
set -eu
[ -n "${1:-}" ] || {
	echo "Say where to: make -C deploy/mlflow backup TO=/backups/$(date +%F)" >&2
	exit 1
}
to=$(cd "$2" && mkdir -p "$1" && cd "$1" && pwd)
for part in database.dump objects.tar; do
	[ ! -e "$to/$part" ] || {
		echo "$to holds a backup already; give each a folder of its own" >&2
		exit 1
	}
done
trap 'rm -f "$to/database.part" "$to/objects.part"' EXIT
docker compose exec -T database pg_dump --username=mlflow --format=custom mlflow >"$to/database.part"
docker compose exec -T objects tar -C /data -cf - objects about >"$to/objects.part"
mv "$to/database.part" "$to/database.dump"
mv "$to/objects.part" "$to/objects.tar"
echo "Backed up to $to: $(du -sh "$to" | cut -f1)"
