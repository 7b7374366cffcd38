# shellcheck shell=bash
# Installing what is missing, for tests/run and tests/services.

say() { printf '%s\n' "$*" >&2; }

# Installs Debian packages where this user may; fails where not.
install_packages() {
    local sudo=() attempt
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
        sudo=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    # Somebody else may hold a lock of apt's, which it waits for only in part.
    for attempt in 1 2 3; do
        [ "$attempt" = 1 ] || sleep 5
        "${sudo[@]}" apt-get update -qq &&
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -qq -o DPkg::Lock::Timeout=300 "$@" && return 0
    done
    return 1
} >&2
