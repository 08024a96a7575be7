#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" of a Meson testlog.json; a log without tests is a failure."""
import json
import sys

passed = failed = skipped = 0
with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        result = json.loads(line)["result"]
        if result in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif result == "SKIP":
            skipped += 1
        else:
            failed += 1
if passed + failed + skipped == 0:
    sys.exit("no tests in the log")
print(passed, failed, skipped)
