#!/bin/bash
# What this project needs of the official entry point: POSTGRES_USER, _PASSWORD, _DB, _INITDB_ARGS, each also as a
# file, and /docker-entrypoint-initdb.d; as root it gives the data to the user postgres and goes on as that user.
set -eo pipefail
case "$1" in -*) set -- postgres "$@" ;; esac
[ "$1" = postgres ] || exec "$@"

for name in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_INITDB_ARGS; do
    file="${name}_FILE"
    if [ -n "${!file:-}" ]; then
        export "$name"="$(< "${!file}")"
        unset "$file"
    fi
done
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"
if [ "$(id -u)" = 0 ]; then
    chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "$POSTGRES_PASSWORD" ]; then
        echo 'no password for the administrator: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE' >&2
        exit 1
    fi
    user=${POSTGRES_USER:-postgres} database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
    # shellcheck disable=SC2086  # several arguments in one variable, as the official image has it
    initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local=trust \
        --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
    printf 'host all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
    if [ "$database" != postgres ] || [ -n "$(ls -A /docker-entrypoint-initdb.d)" ]; then
        pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
        run=(psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$user")
        [ "$database" = postgres ] || "${run[@]}" --dbname postgres -c "CREATE DATABASE \"$database\""
        for script in /docker-entrypoint-initdb.d/*; do
            case "$script" in
                *.sh) . "$script" ;;
                *.sql) "${run[@]}" --dbname "$database" -f "$script" ;;
            esac
        done
        pg_ctl -D "$PGDATA" -m fast -w stop
    fi
fi
unset POSTGRES_PASSWORD
exec "$@"
