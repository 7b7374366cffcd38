# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its settings are read by name, and `home` and `root` are of tests/services.
# MariaDB.

mysql_processes='mariadbd'
mysql_packages='mariadb-server'
mysql_ports='mysql'
mysql_stop=TERM
mysql_ready='ready for connections'

mysql_url() { printf 'mysql://%s:%s@127.0.0.1:%s/%s' "$WHO" "$WHO" "$(port mysql)" "$WHO"; }
mysql_tls_url() { printf '%s?ssl-mode=VERIFY_IDENTITY&ssl-ca=%s' "$(mysql_url)" "$home/tls/ca.pem"; }

mysql_missing() { missing_programs mariadbd mariadb-install-db; }

mysql_make() {
    local dir="$home/mysql" as=()
    [ "$(id -u)" != 0 ] || as=(--user=root)
    mkdir "$dir/data" "$dir/tmp"
    { mysql_settings "$dir" && more_settings mysql; } >"$dir/my.cnf"
    mysql_users >"$dir/users.sql"
    mariadb-install-db --no-defaults --datadir="$dir/data" --auth-root-authentication-method=normal --skip-test-db \
        --skip-name-resolve --innodb-flush-log-at-trx-commit=0 "${as[@]}"
}

# The socket is relative to the data, since the path of a socket must be short.
mysql_settings() {
    cat <<SETTINGS
[mariadbd]
datadir = $1/data
tmpdir = $1/tmp
init-file = $1/users.sql
socket = mariadb.sock
pid-file = mariadb.pid
bind-address = 127.0.0.1
port = $(port mysql)
skip-name-resolve
character-set-server = utf8mb4
max-connections = 300
innodb-flush-log-at-trx-commit = $(durable && echo 1 || echo 2)
ssl-ca = $home/tls/ca.pem
ssl-cert = $home/tls/server.pem
ssl-key = $home/tls/server.key
SETTINGS
    # Which it refuses to be unless it is told to.
    if [ "$(id -u)" = 0 ]; then echo 'user = root'; fi
}

# Read at every start.
mysql_users() {
    cat <<SQL
CREATE DATABASE IF NOT EXISTS $WHO;
CREATE USER IF NOT EXISTS '$WHO'@'%' IDENTIFIED BY '$WHO';
GRANT ALL PRIVILEGES ON *.* TO '$WHO'@'%' WITH GRANT OPTION;
SQL
}

mysql_run() { spawn "$home/mysql/pid" mariadbd --defaults-file="$home/mysql/my.cnf"; }
