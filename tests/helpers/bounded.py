"""Read files in children of one process, under a time limit and a memory limit; a child that dies is an outcome."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Run by another Python, since a fork of a process with threads can hang. The parent reads nothing itself.
READER = """
import json, os, resource, signal, sys
from pathlib import Path
import numpy, polars
from gavamoe.data.readers.open import read_reviews
from gavamoe.errors import InputError

files, seconds, megabytes = json.load(sys.stdin), int(sys.argv[1]), int(sys.argv[2])

def outcome(file):
    try:
        return "table" if read_reviews(file).height else "no rows"
    except InputError as error:
        return f"error: {error}"
    except BaseException as error:
        return f"exception: {error!r}"

def read_from(start, report):
    '''Read files from the start-th on, and report each outcome on its own line.'''
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + (megabytes << 20),) * 2)
    for file in files[start:]:
        signal.alarm(seconds)
        report.write(json.dumps(outcome(file)) + "\\n")
        report.flush()

outcomes = []
while len(outcomes) < len(files):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "w") as report:
            read_from(len(outcomes), report)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as reports:
        outcomes += map(json.loads, reports)
    _, status = os.waitpid(child, 0)
    if len(outcomes) < len(files):
        number = os.waitstatus_to_exitcode(status)
        outcomes.append(f"died: {'out of time' if number == -signal.SIGALRM else number}")
print(json.dumps(outcomes))
"""


def read_bounded(files: list[Path], seconds: int, megabytes: int) -> list[str]:
    """Return what reading each file came to: `table`, `error: ...`, `exception: ...` or `died: ...`.

    Args:
        files: the files.
        seconds: limit for one file.
        megabytes: address space that reading may take beyond what the libraries take.
    """
    command = [sys.executable, "-c", READER, str(seconds), str(megabytes)]
    environment = {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PATH": ""}
    done = subprocess.run(
        command, input=json.dumps(list(map(str, files))), capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return list(json.loads(done.stdout.splitlines()[-1]))
