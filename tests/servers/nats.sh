# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its settings are read by name, and `home` and `root` are of tests/services.
# NATS with JetStream. Its one port speaks TLS with those who ask for it.

nats_processes='nats-server'
nats_packages='nats-server'
nats_ports='nats'
nats_stop=TERM
nats_ready='Server is ready'

nats_url() { printf 'nats://127.0.0.1:%s' "$(port nats)"; }
nats_tls_url() { printf 'tls://127.0.0.1:%s' "$(port nats)"; }

nats_missing() { missing_programs nats-server; }

nats_make() {
    mkdir "$home/nats/data"
    { nats_settings && more_settings nats; } >"$home/nats/nats.conf"
}

nats_settings() {
    cat <<SETTINGS
listen: "127.0.0.1:$(port nats)"
server_name: "$WHO-$(port nats)"
jetstream { store_dir: "$home/nats/data" }
tls {
  cert_file: "$home/tls/server.pem"
  key_file: "$home/tls/server.key"
}
allow_non_tls: true
SETTINGS
}

nats_run() { spawn "$home/nats/pid" nats-server --config "$home/nats/nats.conf"; }
