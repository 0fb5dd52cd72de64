"""The loop of a worker: one call a line on stdin, its seconds and peak memory a line on stdout.

Standard library alone, since it runs in the environment of every peer.
"""

import contextlib
import gc
import json
import os
import re
import sys
import time
import traceback


def serve(methods):
    """Call methods of an object as the lines of stdin say, until it ends.

    A line is ``{"call": name, "given": {...}}``; the answer holds ``seconds`` (of the call alone),
    ``peak`` and ``rise`` (MiB: the most memory resident during the call, and that less what was
    resident before it), and ``value`` (what the method returns), or ``error``.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes where its warnings go
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = timed(getattr(methods, request["call"]), request["given"])
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def timed(method, given):
    gc.collect()
    before = _memory("VmRSS")
    _forget_peak()
    start = time.perf_counter()
    value = method(**given)
    seconds = time.perf_counter() - start
    peak = _memory("VmHWM")
    return {"seconds": seconds, "peak": peak, "rise": peak - before, "value": value}


def threads():
    """How many threads this worker may use."""
    return int(os.environ["OMP_NUM_THREADS"])


def main(methods):
    """Serve; or, where the command line names a method and its arguments (JSON), call it once."""
    if len(sys.argv) > 1:
        getattr(methods, sys.argv[1])(**json.loads(sys.argv[2]))
    else:
        serve(methods)


def _memory(name):
    """MiB of this process, NaN where there is no /proc (anything but Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        return int(re.search(rf"{name}:\s+(\d+) kB", status.read())[1]) / 1024
    return float("nan")


def _forget_peak():
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
