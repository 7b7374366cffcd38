# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its settings are read by name, and `home` and `root` are of tests/services.
# RabbitMQ, with a port mapper (epmd) and a node name of its own, so that it meets no other Erlang node of the machine.

amqp_processes='beam.smp epmd'
amqp_packages='rabbitmq-server'
amqp_ports='amqp amqp_tls amqp_distribution amqp_epmd'
amqp_stop=TERM
amqp_ready='Server startup complete'

amqp_url() { printf 'amqp://%s:%s@127.0.0.1:%s/%%2f' "$WHO" "$WHO" "$(port amqp)"; }
amqp_tls_url() { printf 'amqps://%s:%s@127.0.0.1:%s/%%2f' "$WHO" "$WHO" "$(port amqp_tls)"; }

amqp_missing() {
    amqp_program >/dev/null || echo rabbitmq-server
    missing_programs erl epmd
}

# Its own script, not the one that Debian puts before it, which changes the user.
amqp_program() {
    local script
    for script in /usr/lib/rabbitmq/bin/rabbitmq-server "$(command -v rabbitmq-server)"; do
        [ ! -x "$script" ] || { printf '%s\n' "$script" && return; }
    done
    return 1
}

amqp_make() {
    local dir="$home/amqp"
    mkdir "$dir/data" "$dir/logs"
    { amqp_settings && more_settings amqp; } >"$dir/rabbitmq.conf"
    # In the place of the machine's own.
    echo '[].' >"$dir/plugins"
    echo '[].' >"$dir/advanced.config"
    touch "$dir/environment"
    # Under a path of ours, so that its arguments say whose it is.
    ln -s "$(command -v epmd)" "$dir/epmd"
}

amqp_settings() {
    cat <<SETTINGS
listeners.tcp.1 = 127.0.0.1:$(port amqp)
listeners.ssl.1 = 127.0.0.1:$(port amqp_tls)
ssl_options.cacertfile = $home/tls/ca.pem
ssl_options.certfile = $home/tls/server.pem
ssl_options.keyfile = $home/tls/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
default_user = $WHO
default_pass = $WHO
log.console = true
log.console.level = info
log.file = false
SETTINGS
}

amqp_run() {
    local dir="$home/amqp"
    process "$dir/epmd.pid" >/dev/null ||
        spawn "$dir/epmd.pid" "$dir/epmd" -address 127.0.0.1 -port "$(port amqp_epmd)"
    # `RUNNING_UNDER_SYSTEMD` lets the script become the server instead of waiting for it. The last argument means nothing to
    # Erlang: it says whose process this is.
    spawn "$dir/pid" env \
        RUNNING_UNDER_SYSTEMD=true \
        ERL_EPMD_PORT="$(port amqp_epmd)" \
        ERL_CRASH_DUMP="$dir/logs/erl_crash.dump" \
        RABBITMQ_NODENAME="$WHO$(port amqp)@localhost" \
        RABBITMQ_DIST_PORT="$(port amqp_distribution)" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_MNESIA_BASE="$dir/data" \
        RABBITMQ_SCHEMA_DIR="$dir/schema" \
        RABBITMQ_GENERATED_CONFIG_DIR="$dir/config" \
        RABBITMQ_LOG_BASE="$dir/logs" \
        RABBITMQ_PID_FILE="$dir/data/pid" \
        RABBITMQ_CONF_ENV_FILE="$dir/environment" \
        RABBITMQ_CONFIG_FILE="$dir/rabbitmq" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$dir/advanced.config" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" \
        "$(amqp_program)" -cqrs "$dir/"
}
