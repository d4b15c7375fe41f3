#!/bin/sh
# Everything that CI runs, stage by stage, with the seconds that each took beside its budget.
set -eu
cd "$(dirname "$0")/.."

summary=
begun=$(date +%s)

print_summary() {
    printf '\n%-14s %8s %8s\n%b' stage seconds budget "$summary"
    printf '%-14s %8s\n' all $(($(date +%s) - begun))
}
trap print_summary EXIT

# stage NAME BUDGET_SECONDS COMMAND...: the first one that fails ends the run, as does one that takes twice its budget:
# something in it waits for ever.
stage() {
    name=$1
    budget=$2
    shift 2
    printf '\n==> %s: %s\n' "$name" "$*"
    start=$(date +%s)
    result=ok
    timeout --verbose --kill-after=60 $((2 * budget)) "$@" || result=FAILED
    seconds=$(($(date +%s) - start))
    [ "$result" != ok ] || [ "$seconds" -le "$budget" ] || result='over its budget'
    line=$(printf '%-14s %8s %8s  %s' "$name" "$seconds" "$budget" "$result")
    summary="$summary$line\n"
    [ "$result" != FAILED ] || exit 1
}

stage lint 600 make lint
# One build for all stages: with failpoints, which a release cannot have.
stage build 900 cargo test --profile ci --features faults --no-run --lib --test tidy --test main --test drive
stage tidy 30 cargo test --profile ci --features faults --test tidy
stage unit 180 cargo test --profile ci --features faults --lib
stage docs 120 env RUSTDOCFLAGS='-D warnings' cargo doc --profile ci --no-deps --document-private-items
# Most of them wait for servers.
stage integration 1400 cargo test --profile ci --features faults --test main -- --test-threads 3
stage sweep 600 make sweep DELIVERY=exactly_once
stage torture 720 make torture
stage demo 180 make demo SECONDS=30

if [ "${1:-}" = full ]; then
    stage simulation 1500 cargo test --profile ci --features faults --lib simulation -- --ignored --nocapture --test-threads 2
    stage snapshot-model 1500 cargo test --profile ci --features faults --lib snapshot::model -- --ignored --nocapture
    stage test-full 7200 cargo test --profile ci --features faults --test main -- --ignored
    stage sweep-full 1200 make sweep
    stage proof 1200 make torture-proof
fi
