#!/bin/bash
# Kills quantizations at random calls that change a file and resumes them until they end: every method,
# recipe form and option on a tiny model, and the methods with statistics on the demo model.
#
#     scripts/check-kills.sh BUILD [ROUNDS]
#
# BUILD is a build folder. tests/e2e/kills.sh is one round of the first part; here are ROUNDS (10) of it
# and one of the second. The last result is in docs/measurements/.
set -euo pipefail
build=$(cd "${1:?a build folder}" && pwd) rounds=${2-10}
export VLMP_ROOT VLMP_TOOLS=$build/tools VLMP_KILL_HOOK=$build/tests/e2e/libkill_hook.so
VLMP_ROOT=$(cd "$(dirname "$0")/.." && pwd)

echo "tiny model, $rounds rounds"
VLMP_ROUNDS=$rounds "$VLMP_ROOT/tests/e2e/kills.sh"
echo "demo model, one round"
VLMP_MODEL=$VLMP_ROOT/demo/model VLMP_CASES='^--method (gptq|awq|awq\+gptq) ?(--no-sequential)?$|@w4|flat' \
    "$VLMP_ROOT/tests/e2e/kills.sh"
