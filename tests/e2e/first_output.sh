#!/bin/bash
# Something is seen within 200 ms, on a terminal, of every command that works for long.
. "$(dirname "$0")/lib.sh"

cat >first.py <<'EOF'
"""first.py COMMAND…: milliseconds until its first byte on a terminal, the least of at most ten runs."""
import os, pty, select, signal, sys, time

least = 1e9
for _ in range(10):
    ours, theirs = pty.openpty()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        for fd in range(3):
            os.dup2(theirs, fd)
        os.execvp(sys.argv[1], sys.argv[1:])
    os.close(theirs)
    select.select([ours], [], [], 60)
    least = min(least, time.monotonic() - start)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ours)
    if least < 0.2:
        break
print("%.0f" % (1000 * least))
EOF

first() { # COMMAND…
    local took
    took=$(TERM=xterm python3 first.py "$@")
    check "the first output of $1 came after $took ms" test "$took" -lt 200
}
exits 0 vlm-quantize "$model" --method rtn -o rtn.vlmp -q
# The rows of a quantization are cut where a terminal is narrow: none goes on in the next line.
python3 - "$model" >rows <<'EOF'
import fcntl, os, pty, struct, sys, termios

child, ours = pty.fork()
if child == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    os.execvp("vlm-quantize", ["vlm-quantize", sys.argv[1], "--method", "rtn", "-o", "narrow.vlmp"])
text = b""
try:
    while piece := os.read(ours, 65536):
        text += piece
except OSError:
    pass
os.waitpid(child, 0)
text = text.decode()
rows = [line.split("\r")[-1].split("\033")[0] for line in text.split("\r\n")]
rows = [row for row in rows if row.startswith("text.layers.")]
print(len(rows), max(map(len, rows)))
EOF
check "rows and their longest: $(cat rows)" awk '{ exit $1 < 8 || $2 > 39 }' rows

first vlm-calibrate "$model" --data "$calib_data" -o c.calib
first vlm-quantize "$model" --method rtn -o other.vlmp
first vlm-eval rtn.vlmp --reference "$model" --data "$eval_data"
first vlm-export rtn.vlmp --format gptq -o folder
first vlm-run "$model" --prompt "What is it?"
