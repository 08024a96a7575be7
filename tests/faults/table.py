#!/usr/bin/env python3
"""The list of faults that vlmpack must meet well: what is wrong, what is expected, what is seen.

    table.py [--markdown FILE] [ID ...]     VLMP_TOOLS and VLMP_ROOT as for tests/e2e

Runs each row (or those named) on the programs; exit 0 when all end as expected. --markdown writes the
list with what was seen.
"""
import argparse
import os
import re
import sys
import tempfile

import case
import weights  # noqa: F401  rows A
import folders  # noqa: F401  rows B
import samples  # noqa: F401  rows C, D
import runs  # noqa: F401  rows E to I


def run_row(check, folder):
    """What a row's programs said, and what was wrong with it."""
    one = case.Case()
    os.chdir(folder)
    try:
        check(one)
        if not one.seen:
            return one.seen, "the row ran nothing"
    except case.Wrong as wrong:
        return one.seen, str(wrong)
    return one.seen, None


def summary(seen):
    """The last message with its exit status, and how many runs there were."""
    status, message = seen[-1]
    message = re.sub(r"^vlm-[a-z]+: error: ", "", message)
    if len(message) > 160:
        message = message[:157] + "…"
    text = "exit %d" % status + (": " + message if message else "")
    return text + (" (%d runs)" % len(seen) if len(seen) > 1 else "")


def cell(text):
    return re.sub(r"([|<>*_`\\])", r"\\\1", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--markdown")
    parser.add_argument("ids", nargs="*")
    options = parser.parse_args()
    lines = ["| id | fault | expected | seen |", "| --- | --- | --- | --- |"]
    passed = failed = absent = 0
    home = os.getcwd()
    for name, fault, expected, check, why in case.ROWS:
        if options.ids and name not in options.ids:
            continue
        if check is None:
            absent += 1
            lines.append("| %s | %s | %s | *not there: %s* |" % (name, cell(fault), cell(expected), cell(why)))
            continue
        with tempfile.TemporaryDirectory() as folder:
            seen, wrong = run_row(check, folder)
            os.chdir(home)
        if wrong is None:
            passed += 1
            lines.append("| %s | %s | %s | %s |" % (name, cell(fault), cell(expected), cell(summary(seen))))
        else:
            failed += 1
            print("%s: %s: %s" % (name, fault, wrong))
            lines.append("| %s | %s | %s | **%s** |" % (name, cell(fault), cell(expected), cell(wrong)))
    print("%d rows as expected, %d not, %d about what vlmpack does not have" % (passed, failed, absent))
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
