#!/bin/sh
# Puts back what backup.sh has copied, in place of all that is there: sh restore.sh folder where-that-is-meant-from
# Both parts are unpacked beside what is there, and change places with it at the end.
set -eu
from=$(cd "$2" && cd "$1" && pwd) || from=
[ -f "$from/database.dump" ] && [ -f "$from/objects.tar" ] || {
	echo "No backup lies in '$1'. Say where: make -C deploy/mlflow restore FROM=/backups/2026-01-31" >&2
	exit 1
}
sql() { docker compose exec -T database psql --quiet --username=mlflow --dbname=postgres -v ON_ERROR_STOP=1 "$@"; }
objects() { docker compose exec -T objects sh -euc "$1"; }
docker compose up --detach --wait database objects
trap 'objects "rm -rf /data/restored"; sql -c "DROP DATABASE IF EXISTS restored"' EXIT # of one that failed on the way
sql -c 'DROP DATABASE IF EXISTS restored' -c 'CREATE DATABASE restored'
docker compose exec -T database pg_restore --username=mlflow --dbname=restored --exit-on-error <"$from/database.dump"
objects 'rm -rf /data/restored; mkdir /data/restored; tar -C /data/restored -xf -' <"$from/objects.tar"
docker compose stop mlflow
sql -c 'DROP DATABASE mlflow WITH (FORCE)' -c 'ALTER DATABASE restored RENAME TO mlflow'
objects 'rm -rf /data/objects /data/about; mv /data/restored/* /data'
docker compose restart objects
docker compose up --detach --wait
echo "Restored from $from"
