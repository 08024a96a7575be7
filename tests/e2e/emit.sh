#!/bin/bash
# vlm-export --emit: the files as they were held against the schemas (scripts/check-emit.py), names and texts that
# need care, and what is refused. VLMP_GOLDEN: a folder for the files that are compared.
. "$(dirname "$0")/lib.sh"
holds() { check "$1 holds together" python3 -B "$VLMP_ROOT/tests/e2e/emit_check.py" "$1"; }
export_to() { # FOLDER OPTIONS…
    local folder=$1
    shift
    exits 0 vlm-export demo.vlmp --format compressed-tensors -o "$folder" "$@"
    holds "$folder"
    check "SHA256SUMS" bash -c 'cd "$1" && sha256sum --quiet -c SHA256SUMS' _ "$folder"
}
refused() { # PATTERN OPTIONS…
    local pattern=$1
    shift
    refuses 2 "$pattern" vlm-export demo.vlmp --format compressed-tensors -o out "$@"
    check "nothing is left" test -z "$(find . -maxdepth 1 -name 'out*')"
}
golden=$VLMP_ROOT/tests/golden/emit
as_before() { # FILE NAME: but for the digest
    sed -E "s/[0-9a-f]{64}/DIGEST/; s/-$digest/-VERSION/g" "$1" >"$2"
    [ -z "${VLMP_GOLDEN-}" ] || cp "$2" "$VLMP_GOLDEN/$2"
    same "$2" "$golden/$2"
}

exits 0 vlm-quantize "$model" --method rtn -o demo.vlmp -q
cluster='--storage-uri pvc://models/demo --prometheus http://prometheus.monitoring:9090'
export_to 'My 2nd_Model.' --emit kserve $cluster --previous demo-0a1b2c3d --share 20 --replicas 4 --queue 16
digest=$(sed -nE 's/.*"vlmpack\/digest": "(.{8}).*/\1/p' My*/kserve.json)
as_before My*/kserve.json kserve.json
as_before My*/kserve-route.json kserve-route.json
export_to alone --emit kserve $cluster
json alone/kserve-route.json 'len(d["spec"]["rules"][0]["backendRefs"]) == 1'
export_to 1234 --emit kserve $cluster
json 1234/kserve-route.json 'd["metadata"]["name"] == "model"'
long=$(printf 'n%.0s' {1..200})
export_to "$long" --emit kserve $cluster

export_to two --emit compose --previous "../o\"l'd \$HOME \\x" --share 25
as_before two/compose.json compose.json
as_before two/nginx.conf nginx.conf
json two/compose.json 'd["services"]["previous-1"]["volumes"][0]["source"] == "../o\"l'\''d $$HOME \\x"'
export_to three --emit compose --replicas 3
json three/compose.json 'len(d["services"]) == 4'
check "equal shares" test "$(grep -c 'weight=1 ' three/nginx.conf)" = 3
exits 0 vlm-export demo.vlmp --format compressed-tensors -o three --force -q # replaced, its files known
check "no files of the run before" test ! -e three/compose.json

# A source that was such an export itself: its files are left.
cp -r "$model" own
cp two/compose.json two/nginx.conf two/CHECKLIST.md own
exits 0 vlm-quantize own --method rtn --bits 8 -o own.vlmp -q
exits 0 vlm-export own.vlmp --format compressed-tensors -o again --emit compose
holds again
exits 0 vlm-export own.vlmp --format compressed-tensors -o plain -q
check "nothing of the earlier export" test ! -e plain/compose.json

refused 'storage-uri' --emit kserve --prometheus http://p:9090
refused 'storage-uri' --emit kserve --prometheus http://p:9090 --storage-uri /models/demo
refused 'storage-uri' --emit kserve --prometheus http://p:9090 --storage-uri 's3://a b'
refused 'prometheus' --emit kserve --storage-uri s3://models/demo
for name in Upper -dash dash- 'a b' 1st "$long"; do
    refused 'no InferenceService' --emit kserve $cluster --previous="$name"
done
refused 'for --emit kserve' --emit compose --storage-uri s3://models/demo
refused 'give a folder' --emit compose --previous old
refused 'not UTF-8' --emit compose --previous $'../\xff'
refused 'share' --emit compose --previous ../old --share 100
refused 'emit' --emit compose --dry-run
refused '--previous is for --emit' --previous ../old
refused 'emit' --emit helm
refused 'files for vllm, not for transformers' --emit compose --for transformers
refuses 2 'files for vllm, not for llamacpp' vlm-export demo.vlmp --format gguf -o out --emit compose
