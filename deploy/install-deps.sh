#!/bin/sh
# Installs what Walwright's build and demo need beside Rust, as Debian packages; with the argument `build` what its build
# alone needs, with `test` also what its tests need. Does nothing where all is there; without root it prints the one line to run.
set -eu

missing=

# need PACKAGES COMMAND...: the packages are missing unless the command succeeds.
need() {
    packages=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $packages"
}

has() {
    for program in "$@"; do
        command -v "$program" || return 1
    done
}

has_jdk() {
    has java javac && [ "$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)" -ge 17 ]
}

has_postgres() {
    ls /usr/lib/postgresql/*/bin/postgres
}

if ! has cargo >/dev/null; then
    echo "Rust is missing: install it first (https://rustup.rs)." >&2
    exit 1
fi
need build-essential has cc c++ make
need pkg-config has pkg-config
need "libssl-dev zlib1g-dev" pkg-config --exists openssl zlib
if [ "${1:-}" != build ]; then
    need postgresql has_postgres
    need default-jdk-headless has_jdk
    need maven has mvn
    need nodejs has node
    need npm has npm
    need "python3 python3-venv" python3 -c 'import ensurepip, venv'
fi
if [ "${1:-}" = test ]; then
    need prometheus has promtool
    need openssl has openssl
    need kcat has kcat
fi
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "These Debian packages are missing; run this as root, then try again:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
case $missing in
*postgresql*)
    # Only Postgres' programs are needed, not the cluster that Debian makes and starts when they are first installed.
    apt-get install -q -y --no-install-recommends postgresql-common
    settings=/etc/postgresql-common/createcluster.conf
    cp -p "$settings" "$settings.walwright"
    trap 'mv "$settings.walwright" "$settings"' EXIT
    echo 'create_main_cluster = false' >>"$settings"
    ;;
esac
# The list is one word a package.
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
