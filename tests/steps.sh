#!/usr/bin/env bash
# Runs one command after the other, and says at the end how long each took: tests/steps.sh COMMAND... One that fails is the last.
set -uo pipefail

report=''
for command in "$@"; do
    begun=$SECONDS
    bash -c "$command"
    status=$?
    report+="$(printf '%4d s  %s' $((SECONDS - begun)) "$command")"
    [ "$status" -eq 0 ] || report+=" (failed: exit status $status)"
    report+=$'\n'
    [ "$status" -eq 0 ] || break
done
printf '%s%4d s  in all\n' "$report" "$SECONDS"
exit "$status"
