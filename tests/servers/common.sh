# shellcheck shell=bash disable=SC2034,SC2154 # The servers read `WHO`, and `home` is of tests/services.
# What all servers have in common: their processes, ports and logs.
#
# `home` is the directory of a set of servers. Below it each server has a directory of its own name: `data`, what it was told
# by, `log`, `pid`, and `made` once it has been ready; beside them are `ports` and `tls`. A process is ours where its arguments
# name the directory of its server, which is how every server is started.

# The user, the password and the database of every server that has some.
readonly WHO=cqrs
# How long a server may take to be ready, or to end by itself.
readonly PATIENCE=120

# Starts a program in a session of its own, so that no Ctrl-C and no closed terminal reaches it, and with nothing of this shell's
# environment. The process itself writes down its id, since it may begin as a child of `setsid`.
spawn() { # PID-FILE PROGRAM ARGUMENT..
    local file="$1" dir
    shift
    dir="$(dirname "$file")"
    rm -f "$file"
    # shellcheck disable=SC2016
    env -i PATH="$PATH" HOME="$dir" LANG=C.UTF-8 \
        setsid bash -c 'cd "$1" && echo "$$" >"$2" && shift 2 && exec "$@"' spawn "$dir" "$file" "$@" \
        </dev/null >>"$dir/log" 2>&1 9>&- &
    until [ -s "$file" ]; do sleep 0.02; done
}

# The id in a pid file, if a process of that server has it. While a process becomes another program it is there and has no
# arguments: it is asked again.
process() { # PID-FILE
    local pid arguments attempt
    pid="$(cat "$1" 2>/dev/null)" && [ -n "$pid" ] || return 1
    for attempt in 1 2 3; do
        [ "$attempt" = 1 ] || sleep 0.05
        arguments="$(ps -ww -o args= -p "$pid" 2>/dev/null)" || return 1
        if [[ "$arguments" == *"$(dirname "$1")/"* ]]; then
            printf '%s\n' "$pid"
            return 0
        fi
    done
    return 1
}

running() { process "$home/$1/pid" >/dev/null; }

# A process and all that descend from it.
tree() { # PID
    ps -e -o pid= -o ppid= | awk -v root="$1" '
        { parent[$1] = $2 }
        END {
            for (pid in parent) {
                up = pid
                while (up != root && up in parent && parent[up] != up) up = parent[up]
                if (up == root) print pid
            }
        }'
}

# Sends a signal to a server: PostgreSQL is many processes, so it goes to all of them.
signal_all() { # SIGNAL PID
    local pids
    pids="$(tree "$2")"
    # shellcheck disable=SC2086 # one word an id
    [ -z "$pids" ] || kill -s "$1" $pids 2>/dev/null || true
}

# Waits until no such process is there; fails where it stays.
gone() { # PID-FILE SECONDS
    local until=$((SECONDS + $2))
    while process "$1" >/dev/null; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.05
    done
}

# Ends what a pid file names, at once.
kill_process() { # PID-FILE
    local pid
    if pid="$(process "$1")"; then
        signal_all KILL "$pid"
        gone "$1" "$PATIENCE" || say "process $pid does not end: $1"
    fi
    rm -f "$1"
}

# A port that nobody listens on and that no server of this set has. It lies below those that systems give to clients; somebody
# may take it before our server does, which is then started again on another.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        listening 127.0.0.1 "$port" || grep -qsx "$port" "$home"/ports/* || break
    done
    printf '%s\n' "$port"
}

listening() { # HOST PORT
    # shellcheck disable=SC2016
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
}

port() { cat "$home/ports/$1"; }

# Gives a server its ports: those it had before, where nobody has taken them since, so that variables set before stay true.
choose_ports() { # NAME [again]
    local wanted name
    wanted="${1}_ports"
    mkdir -p "$home/ports"
    for name in ${!wanted}; do
        if [ $# -gt 1 ] || [ ! -f "$home/ports/$name" ] || listening 127.0.0.1 "$(port "$name")"; then
            free_port >"$home/ports/$name.new"
            mv "$home/ports/$name.new" "$home/ports/$name"
        fi
    done
}

# What `--set` says about a server, for the end of its settings, where it counts.
more_settings() { printf '%s' "${more[$1]:-}"; } # NAME

durable() { [ "${CQRS_TEST_DURABLE:-}" = 1 ]; }

# Starts a server that has its data, and waits until it says in its log that it is ready. Asking its port instead might be
# answered by somebody else's server.
launch() { # NAME
    local name="$1" dir="$home/$1" ready="${1}_ready" until=$((SECONDS + PATIENCE))
    [ ! -f "$dir/log" ] || mv "$dir/log" "$dir/log.before"
    "${name}_run"
    until grep -qsE "${!ready}" "$dir/log"; do
        running "$name" || return 1
        if [ "$SECONDS" -ge "$until" ]; then
            kill_process "$dir/pid"
            say "$name was not ready within $PATIENCE s"
            return 1
        fi
        sleep 0.1
    done
    running "$name"
}

# Makes a server from nothing and starts it.
start_new() { # NAME
    local name="$1" dir="$home/$1" attempt
    for attempt in 1 2 3 4; do
        destroy "$name"
        [ "$attempt" = 1 ] || choose_ports "$name" again
        mkdir -p "$dir"
        # Not in a condition, where a failing step would not end it.
        (set -e; "${name}_make" >>"$dir/making" 2>&1) &
        if ! wait "$!"; then
            say "could not make the data of $name:"
            tail -n 20 "$dir/making" >&2
            return 1
        fi
        if launch "$name"; then
            touch "$dir/made"
            return 0
        fi
        grep -qsiE 'address already in use|eaddrinuse' "$dir/log" || break
    done
    show_log "$name"
    return 1
}

# Starts a server again, on its own port and data.
start_again() { # NAME
    local attempt
    for attempt in 1 2 3 4 5; do
        [ "$attempt" = 1 ] || sleep 1
        launch "$1" && return 0
        # Of one that was killed, a process may be ending still.
        grep -qsi 'in use' "$home/$1/log" || break
    done
    show_log "$1"
    return 1
}

show_log() { # NAME
    say "$1 does not start; the end of its log:"
    tail -n 20 "$home/$1/log" >&2 || true
}

# Ends a server as its operator would, its data complete.
stop_gently() { # NAME
    local name="$1" file="$home/$1/pid" signal="${1}_stop" pid
    pid="$(process "$file")" || return 0
    signal_all CONT "$pid"
    kill -s "${!signal}" "$pid" 2>/dev/null || true
    if ! gone "$file" "$PATIENCE"; then
        say "$name does not stop by itself: killing it"
    fi
    kill_process "$file"
}

# Ends a server with everything it left.
destroy() { # NAME
    local dir="$home/$1" file
    [ -d "$dir" ] || return 0
    if declare -F "${1}_leave" >/dev/null; then "${1}_leave"; fi
    for file in "$dir/pid" "$dir"/*.pid; do
        kill_process "$file"
    done
    rm -rf "$dir"
}
