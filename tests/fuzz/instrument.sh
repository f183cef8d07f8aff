#!/usr/bin/env bash
# cargo's wrapper around rustc: only the daemon's own code guides the fuzzer; to watch the judge, too, would cost
# most of the time.
set -euo pipefail
case " $* " in
*" --crate-name gateway_exporter "*) exec "$@" $FUZZ_COVERAGE ;;
*) exec "$@" ;;
esac
