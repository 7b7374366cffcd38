#!/usr/bin/env bash
# Kills a process in the middle of a step of its saga, and the next one in the middle of another. The third ends the saga.
set -euo pipefail
cd "$(dirname "$0")"

folder="$(mktemp -d)"
program=
trap '[ -z "$program" ] || kill -KILL "$program" 2>/dev/null || true; rm -rf "$folder"' EXIT
mkfifo "$folder/printed"

# Waits for what the program prints, so that it does not matter how fast this machine is.
killed_in() {
    local line status=0
    echo "A process that stands still in \`$1\`:"
    cargo run --quiet --package saga_recovery -- "$folder" "$1" >"$folder/printed" &
    program=$! # cargo becomes the program that it runs
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case "$line" in *": stands still"*) kill -KILL "$program" ;; esac
    done <"$folder/printed"
    { wait "$program" || status=$?; } 2>/dev/null
    program=
    if [ "$status" -ne 137 ]; then
        echo "it was not killed, but ended by itself with $status" >&2
        exit 1
    fi
    echo "(killed)"
}

killed_in reserve
killed_in charge
echo "A process that does not stand still:"
cargo run --quiet --package saga_recovery -- "$folder"
