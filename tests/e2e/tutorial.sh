#!/bin/bash
# Every command of docs/tutorial.md, in order, as it stands there.
. "$(dirname "$0")/lib.sh"

ln -s "$VLMP_ROOT/demo" demo
count=0
while IFS= read -r line; do
    [[ $line != vlm-doctor* ]] || line="$line || true" # its status is about the machine
    exits 0 bash -c "$line" </dev/null
    count=$((count + 1))
done < <(sed -n 's/^\$ //p' "$VLMP_ROOT/docs/tutorial.md")
check "only $count commands" test "$count" -ge 12
check "the report" test -s report.html
json eval.json 'all(gate["pass"] for gate in d["results"][0]["gates"])'
