#!/bin/bash
# The job of docs/ci on the demo model: a first run, one against it, one that a gate stops.
. "$(dirname "$0")/lib.sh"
job=$VLMP_ROOT/docs/ci/quantize.sh
check "the workflow runs the job" grep -q 'quantize\.sh "\$MODEL"' "$VLMP_ROOT/docs/ci/workflow.yml"
head -16 "$eval_data" >eval.jsonl
cp -r "$VLMP_ROOT/demo/eval/images" images

export SAMPLES=8
exits 0 "$job" "$model" "$calib_data" eval.jsonl out
for file in model.vlmp eval.json report.html junit.xml summary.md export/config.json; do
    check "$file is there" test -s "out/$file"
done
json out/eval.json 'all(g["pass"] for g in d["results"][0]["gates"]) and len(d["results"][0]["gates"]) == 2'
mv out/eval.json baseline.json

# Other weights, 8 bits: no metric is worse.
METHOD=int8 exits 0 "$job" "$model" "$calib_data" eval.jsonl better baseline.json
json better/eval.json '{c["metric"]: c["verdict"] for c in d["results"][0]["baseline"]}["kl.mean"] == "better"'
# Plain rounding is worse: the reports are there, the export is not.
METHOD=rtn exits 3 "$job" "$model" "$calib_data" eval.jsonl worse baseline.json
check "the reports are there" test -s worse/report.html -a -s worse/junit.xml
check "nothing is exported" test ! -e worse/export
GATES='kl.mean<=1e-9' exits 3 "$job" "$model" "$calib_data" eval.jsonl gated
