"""How long a queue of jobs will take, learned from the groups that the worker has performed.

    seconds of a group = a + b * jobs in it

a and b are the least-squares line through the recent groups, older ones weighing less. With groups of one size only,
the line cannot be known: all seconds then count as a, so a first larger group is allowed to show what it takes.
"""

from __future__ import annotations

SMOOTHING = 0.2  # weight of the newest group


class WaitEstimate:
    """The line of seconds over jobs per group, and what follows from it for a queue.

    Args:
        batch: largest number of jobs in a group.
    """

    def __init__(self, batch: int):
        self.batch = batch
        self._empty = True
        self._jobs, self._seconds, self._squares, self._products = 0.0, 0.0, 0.0, 0.0

    def observe(self, jobs: int, seconds: float) -> None:
        """Take note of a group that was performed."""
        keep, self._empty = 0.0 if self._empty else 1 - SMOOTHING, False
        self._jobs = keep * self._jobs + (1 - keep) * jobs
        self._seconds = keep * self._seconds + (1 - keep) * seconds
        self._squares = keep * self._squares + (1 - keep) * jobs * jobs
        self._products = keep * self._products + (1 - keep) * jobs * seconds

    def of_group(self, jobs: int) -> float:
        """Return the expected seconds of a group; 0 before any group was performed."""
        variance = self._squares - self._jobs**2
        slope = (self._products - self._jobs * self._seconds) / variance if variance > 1e-9 else 0.0
        slope = min(max(slope, 0.0), self._seconds / max(self._jobs, 1.0))  # neither part is negative
        return self._seconds + slope * (jobs - self._jobs)

    def of_queue(self, jobs: int) -> float:
        """Return the expected seconds of jobs that are performed in groups as large as possible."""
        full, rest = divmod(jobs, self.batch)
        return full * self.of_group(self.batch) + (self.of_group(rest) if rest else 0.0)

    def rest_of_group(self, jobs: int, elapsed: float) -> float:
        """Return the expected seconds until a group that runs since `elapsed` seconds is done."""
        return max(self.of_group(jobs) - elapsed, 0.0) if jobs else 0.0
