#!/bin/bash
# Every allocation and every call of the system, over every command, fails once (tests/torture): the
# program must end with 1 and one message, or do what it does undisturbed.
#
#     scripts/check-torture.sh BUILD [places N]
#
# BUILD: a build folder without sanitizers. Tens of thousands of runs, about an hour on two cores; with
# `places N` at most N calls of each place in the code.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?the build folder}" && pwd)
every=(--all)
[ "${2-}" = places ] && every=(--places "${3:?how many calls of a place}")
exec python3 "$root/tests/torture/torture.py" "$build/tools" "$build/tests/torture/libinject.so" "$root" \
    "${every[@]}"
