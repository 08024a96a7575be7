#!/bin/bash
# What vlm-doctor says of a machine, and what it says to do where something is missing.
# shellcheck disable=SC1091 source=tests/e2e/lib.sh
. "${VLMP_ROOT:?}/tests/e2e/lib.sh"

state() { # NAME STATE [PATTERN]: of a finding in stdout, whose advice matches
    json stdout "any(f['name'] == '$1' and f['state'] == '$2' and __import__('re').search('${3-}', f['advice'] or '') for f in d['findings'])"
}

mkdir hub
HF_HUB_CACHE=$PWD/hub exits 0 vlm-doctor --json
json stdout "d['schema'] == 1 and [f['name'] for f in d['findings'] if f['name'] != 'large pages'] == ['processor', 'threads',
    'memory', 'disk', 'hub cache', 'locale', 'kernels', 'products', 'cuda']"
json stdout "all((f['state'] == 'good') == (f['advice'] is None) for f in d['findings'])"
state 'hub cache' good
state locale good
state cuda note 'libvlmpack-cuda'

# One number that is checked against another source.
json stdout "abs([f for f in d['findings'] if f['name'] == 'memory'][0]['values']['total_bytes']
    - 1024 * int(open('/proc/meminfo').readline().split()[1])) < 1"
exits 0 vlm-doctor --json --threads 1
json stdout "[f for f in d['findings'] if f['name'] == 'threads'][0]['values']['threads'] == 1"

HF_HUB_CACHE=$PWD/none LC_ALL=C OPENBLAS_CORETYPE=Prescott exits 0 vlm-doctor --json
state 'hub cache' note 'hf download'
state locale note 'C.UTF-8'
state kernels note 'OPENBLAS_CORETYPE'

# What makes commands fail is exit 1, and one error.
TMPDIR=$PWD/none refuses 1 'disk: .*set TMPDIR' vlm-doctor
check "the finding is among the others" grep -q '^bad   disk ' stdout
if [ -z "${VLMP_SANITIZED-}" ]; then
    refuses 1 'kernels: .*out of memory' bash -c 'ulimit -v 120000; exec vlm-doctor --threads 1'
    check "addresses are among the notes" grep -q 'ulimit -v allows 0.1 GB' stdout
fi
refuses 1 'cuda: ' vlm-doctor --device cuda
refuses 2 'unexpected argument' vlm-doctor model
