#!/usr/bin/env python3
"""Runs a command and appends its peak resident memory, mapped pages included, to a file.

    peak.py FILE LABEL COMMAND...
"""
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[3:], check=False).returncode
with open(sys.argv[1], "a", encoding="utf-8") as file:
    print(sys.argv[2], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=file)
sys.exit(status if status >= 0 else 128 - status)
