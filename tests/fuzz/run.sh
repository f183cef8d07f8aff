#!/usr/bin/env bash
# Builds the fuzz targets and runs each for its share of the time: `run.sh SECONDS TARGET...`.
set -euo pipefail
cd "$(dirname "$0")"

seconds=$1
shift
if ! command -v g++ >/dev/null; then
    echo "SKIPPED: fuzz: libFuzzer needs g++ to be built" >&2
    [ -z "${CI:-}" ] && exit 0
    exit 1
fi

# What cargo-fuzz would set; without its sanitizer, which wants a nightly compiler and finds little without `unsafe`.
export FUZZ_COVERAGE="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing" RUSTC_WRAPPER=$PWD/instrument.sh cargo build --quiet --locked --release --target "$host"

# In memory: on a disk the thousands of small files of a growing corpus take most of the time.
corpus=${FUZZ_CORPUS:-$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")}
[ -n "${FUZZ_CORPUS:-}" ] || trap 'rm -rf "$corpus"' EXIT
python3 corpus.py "$corpus"
mkdir -p artifacts
share=$((seconds / $#))
for name in "$@"; do
    log=artifacts/$name.log
    if ! "target/$host/release/$name" -max_total_time="$share" -runs="${FUZZ_RUNS:--1}" -max_len=512 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="artifacts/$name-" "$corpus/$name" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz: $name failed; the input is in tests/fuzz/artifacts" >&2
        exit 1
    fi
    echo "fuzz: $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions"
done
