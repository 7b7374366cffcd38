# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its settings are read by name, and `home` and `root` are of tests/services.
# Redis, with its data in an append-only file, so that they outlive it.

redis_processes='redis-server'
redis_packages='redis-server'
redis_ports='redis redis_tls'
redis_stop=TERM
redis_ready='Ready to accept connections'

redis_url() { printf 'redis://127.0.0.1:%s' "$(port redis)"; }
redis_tls_url() { printf 'rediss://127.0.0.1:%s' "$(port redis_tls)"; }

redis_missing() { missing_programs redis-server; }

redis_make() {
    mkdir "$home/redis/data"
    { redis_settings && more_settings redis; } >"$home/redis/redis.conf"
}

redis_settings() {
    cat <<SETTINGS
bind 127.0.0.1
port $(port redis)
tls-port $(port redis_tls)
tls-ca-cert-file "$home/tls/ca.pem"
tls-cert-file "$home/tls/server.pem"
tls-key-file "$home/tls/server.key"
tls-auth-clients no
dir "$home/redis/data"
save ""
appendonly yes
appendfsync $(durable && echo always || echo everysec)
# It would take our directory out of the arguments.
set-proc-title no
SETTINGS
}

redis_run() { spawn "$home/redis/pid" redis-server "$home/redis/redis.conf"; }
