# shellcheck shell=bash disable=SC2154 # `home` is of tests/services.
# An authority of the set's own, and the certificate of its servers: `localhost` and `127.0.0.1`.

make_certificates() {
    local tls="$home/tls"
    [ ! -f "$tls/server.pem" ] || return 0
    mkdir -p "$tls"
    certificate_settings >"$tls/settings"
    if ! certify "$tls" 2>"$tls/log"; then
        cat "$tls/log" >&2
        return 1
    fi
    mv "$tls/server.new" "$tls/server.pem"
}

certify() { # DIR
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    openssl req -x509 -config "$1/settings" -extensions authority -days 3650 -subj '/CN=authority of tests' \
        "${key[@]}" -keyout "$1/ca.key" -out "$1/ca.pem" &&
        openssl req -new -config "$1/settings" -subj /CN=localhost \
            "${key[@]}" -keyout "$1/server.key" -out "$1/server.csr" &&
        openssl x509 -req -in "$1/server.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial \
            -extfile "$1/settings" -extensions server -days 3650 -out "$1/server.new"
}

certificate_settings() {
    cat <<SETTINGS
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid
SETTINGS
}
