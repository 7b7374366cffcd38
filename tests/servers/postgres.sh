# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its settings are read by name, and `home` and `root` are of tests/services.
# PostgreSQL. It does not run as root: then it runs as `postgres`, the user of its package, or as `nobody`.

postgres_processes='postgres'
postgres_packages='postgresql'
postgres_ports='postgres'
# The shutdown that does not wait for clients.
postgres_stop=INT
postgres_ready='database system is ready to accept connections'

postgres_url() { printf 'postgres://%s:%s@127.0.0.1:%s/%s' "$WHO" "$WHO" "$(port postgres)" "$WHO"; }
postgres_tls_url() { printf '%s?sslmode=verify-full&sslrootcert=%s' "$(postgres_url)" "$home/tls/ca.pem"; }

postgres_missing() { postgres_bin >/dev/null || printf '%s\n' initdb postgres; }

# Where its programs lie: Debian keeps most of them from PATH.
postgres_bin() {
    local program bin
    if program="$(command -v postgres)"; then
        bin="$(dirname "$(readlink -f "$program")")"
        [ ! -x "$bin/initdb" ] || { printf '%s\n' "$bin" && return; }
    fi
    for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV); do
        [ ! -x "$bin/initdb" ] || { printf '%s\n' "$bin" && return; }
    done
    return 1
}

# Puts into `postgres_as` what a program of PostgreSQL is run by: from a directory that its user can enter, and as that user.
postgres_user() {
    local user=postgres
    # shellcheck disable=SC2016
    postgres_as=(bash -c 'cd / && exec "$@"' bash)
    [ "$(id -u)" = 0 ] || return 0
    id -u "$user" >/dev/null 2>&1 || user=nobody
    postgres_as+=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups)
}

postgres_make() {
    local dir="$home/postgres" bin data cluster postgres_as
    postgres_user
    bin="$(postgres_bin)"
    # A clone in somebody's home is closed to that user.
    if "${postgres_as[@]}" test -x "$dir"; then
        mkdir "$dir/data"
    else
        ln -s "$(mktemp -d "${TMPDIR:-/tmp}/cqrs-postgres.XXXXXX")" "$dir/data"
    fi
    data="$(readlink -f "$dir/data")"
    cluster="$data/cluster"
    printf '%s\n' "$WHO" >"$data/password"
    postgres_own "$data"
    "${postgres_as[@]}" "$bin/initdb" --no-sync --pgdata "$cluster" --username "$WHO" --pwfile "$data/password" \
        --auth scram-sha-256 --encoding UTF8 --locale C
    { postgres_settings && more_settings postgres; } >>"$cluster/postgresql.conf"
    cp "$home/tls/server.pem" "$cluster/server.crt"
    cp "$home/tls/server.key" "$cluster/server.key"
    chmod 600 "$cluster/server.key"
    postgres_own "$cluster/server.crt" "$cluster/server.key"
    echo "CREATE DATABASE $WHO" | "${postgres_as[@]}" "$bin/postgres" --single -D "$cluster" -c fsync=off postgres
}

postgres_own() {
    [ "$(id -u)" != 0 ] || chown -R "$("${postgres_as[@]}" id -u):$("${postgres_as[@]}" id -g)" "$@"
}

postgres_settings() {
    cat <<SETTINGS
listen_addresses = '127.0.0.1'
port = $(port postgres)
unix_socket_directories = ''
max_connections = 300
ssl = on
fsync = $(durable && echo on || echo off)
SETTINGS
}

postgres_run() {
    local postgres_as cluster
    postgres_user
    cluster="$(readlink -f "$home/postgres/data")/cluster"
    # One that was killed leaves this behind, and somebody else may have its id by now.
    rm -f "$cluster/postmaster.pid"
    # The setting means nothing to PostgreSQL: it says whose process this is.
    spawn "$home/postgres/pid" "${postgres_as[@]}" "$(postgres_bin)/postgres" -D "$cluster" -c "cqrs.home=$home/postgres/"
}

# Killed outright it would leave its shared memory to the machine.
postgres_leave() {
    local pid data
    if pid="$(process "$home/postgres/pid")"; then
        signal_all CONT "$pid"
        if kill -s QUIT "$pid" 2>/dev/null; then gone "$home/postgres/pid" 10 || true; fi
    fi
    data="$(readlink -f "$home/postgres/data")" && rm -rf "$data"
}
