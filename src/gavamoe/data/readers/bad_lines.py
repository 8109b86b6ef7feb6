"""What to do with a line that cannot be used: stop with its place, or count it while the user's tolerance lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gavamoe.errors import DataError


@dataclass
class BadLines:
    """Counts unusable lines; the first one beyond `allowed` is an error.

    Args:
        allowed: how many lines may be dropped (`--skip-bad N`); None where a command has no such option.
    """

    allowed: int | None = None
    examples: list[str] = field(default_factory=list)
    count: int = 0

    def report(self, path: Path, line: int, problem: str) -> None:
        """Drop a line, or raise DataError naming file, line and problem when no more may be dropped."""
        place = f"{path}: line {line}: {problem}"
        if self.allowed is None:
            raise DataError(f"{place}; correct the line")
        if self.count >= self.allowed:
            spent = f" (already dropped {self.count} lines)" if self.count else ""
            raise DataError(f"{place}{spent}; correct the line, or drop up to N such lines with --skip-bad N")
        self.count += 1
        if len(self.examples) < 5:
            self.examples.append(place)
