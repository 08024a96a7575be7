#!/bin/bash
# Peak resident memory, mapped pages included, with few and with many samples: it may differ by 5 %
# and a hundred bytes a sample.
#
#     scripts/check-sample-memory.sh TOOLS [FEW MANY [LABEL…]]
#
# TOOLS is the folder of the built programs; 1400 and 16000 samples when nothing else is said, and all
# labels. FEW should be above 1300: below, activations that later go to files are still in memory. The
# model is the demo's; the samples are its evaluation data over and over, each time with another
# prompt. Half of a conversation each: JSONL and a list of LLaVA conversations.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$(cd "${1:?the folder of the built programs}" && pwd)
few=${2:-1400} many=${3:-16000}
labels=" ${*:4} "
PATH=$tools:$PATH
# It fills what the program allocates and never touches: one working buffer more or less, depending on
# where the heap finds room for it.
unset MALLOC_PERTURB_
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

model=$root/demo/model
images=$root/demo/eval
for count in $few $many; do
    python3 - "$root/demo/eval/data.jsonl" $count <<'END'
import json
import sys
with open(sys.argv[1], encoding="utf-8") as file:
    samples = [json.loads(line) for line in file]
count = int(sys.argv[2])
conversations = []
with open("data-%d.jsonl" % count, "w", encoding="utf-8") as file:
    for i in range(count):
        sample = dict(samples[i % len(samples)], prompt="Describe picture %d." % i)
        print(json.dumps(sample), file=file)
        conversations.append({"image": sample["image"], "conversations": [
            {"from": "human", "value": "<image>\n" + sample["prompt"]}, {"from": "gpt", "value": sample["answers"][0]},
            {"from": "human", "value": "Again?"}, {"from": "gpt", "value": sample["answers"][-1]}]})
with open("data-%d.json" % count, "w", encoding="utf-8") as file:
    json.dump(conversations, file, indent=1)
END
    peak() { # label, command…
        local start=$SECONDS label=$1
        [[ $labels == *[a-z]* && $labels != *" $label "* ]] && return
        python3 "$root/tests/e2e/peak.py" peaks-$count "$@" >/dev/null
        echo "$label, $count samples: $((SECONDS - start)) s" >&2
    }
    peak calibrate-128 vlm-calibrate $model --data data-$count.jsonl --image-root $images -o $count.calib -q
    peak calibrate-all vlm-calibrate $model --data data-$count.json --image-root $images -o $count.all.calib \
        --samples $count -q
    peak eval-ppl-kl vlm-eval $model --reference $model --save-reference $count.ref --data data-$count.jsonl \
        --image-root $images --metrics ppl,kl -q
    peak eval-saved vlm-eval $model --reference $count.ref --data data-$count.jsonl --image-root $images \
        --metrics ppl,kl -q
    peak eval-bleu vlm-eval $model --data data-$count.json --image-root $images --metrics bleu,cider,speed \
        --max-new-tokens 1 -q
    rm -f $count.*
done

python3 - $few $many <<'END'
import sys
few, many = int(sys.argv[1]), int(sys.argv[2])
rows = {}
for count in (few, many):
    with open("peaks-%d" % count, encoding="utf-8") as file:
        for line in file:
            label, peak = line.split()
            rows.setdefault(label, []).append(int(peak))
bad = 0
print("%-16s %15s %15s %8s" % ("", "%d samples" % few, "%d samples" % many, "differs"))
for label, (a, b) in rows.items():
    worse = b > 1.05 * a + 100 * (many - few)
    bad += worse
    print("%-16s %12.1f MB %12.1f MB %7.1f %%%s" % (label, a / 1e6, b / 1e6, 100 * (b / a - 1), "  too much" if worse else ""))
sys.exit(1 if bad else 0)
END
