#!/bin/sh
# Builds and runs one of the commands of tests/drive.rs: deploy/drive.sh demo --seconds 60
set -eu
cd "$(dirname "$0")/.."

# Cargo dies of Ctrl-C and would leave the command behind in the middle of its summary, so it only builds.
built=$(cargo test --profile ci --features faults --test drive --no-run --message-format=json-render-diagnostics)
drive=$(printf '%s\n' "$built" | sed -n 's/.*"executable":"\([^"]*\/drive-[^"]*\)".*/\1/p')

# In a process group of its own, Ctrl-C reaches the command and not make, which would end with an error of its own.
if [ -t 0 ]; then
    set -m
fi
"$drive" "$@"
