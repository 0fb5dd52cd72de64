"""Runs of a job in processes that may be killed: forked from one that has imported everything.

``python killable.py`` reads lines of JSON, ``{"config": path, "day": "2024-06-28", "after": 0.1}``,
runs the job in a child, kills it after so many seconds (null: never), and answers with a line,
``{"code": -9, "seconds": 0.1}``.
"""

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def serve():
    from jobs import config_of

    from tsforecast.batch import exits, job, sql  # noqa: F401
    from tsforecast.batch.asof import AsOf

    for line in sys.stdin:
        asked = json.loads(line)
        begun = time.perf_counter()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                config = config_of(asked["config"], **asked.get("overrides", {}))
                job.run(config, AsOf(dt.date.fromisoformat(asked["day"])))
                code = 0
            except BaseException as error:
                code = int(exits.exit_code(error))
                print(type(error).__name__, error, file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        if asked["after"] is not None:
            time.sleep(asked["after"])
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "seconds": time.perf_counter() - begun}), flush=True)


class Runner:
    """The process that runs and kills; a context manager."""

    def __enter__(self):
        here = Path(__file__)
        self.process = subprocess.Popen(
            [sys.executable, str(here)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": f"{here.parent}:{here.parents[1]}",
            },
        )
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def run(self, config, day, *, after=None, **overrides):
        """Run a job; the exit code (-9 if it was killed) and the seconds that it took."""
        asked = {"config": str(config), "day": str(day), "after": after, "overrides": overrides}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["seconds"]


if __name__ == "__main__":
    serve()
