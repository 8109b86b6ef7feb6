"""A named check of a run: a figure, what it is, from which value it warns and fails, why, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Status = Literal["pass", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        name: of the check.
        status: pass, warn, fail or skipped.
        value: what was measured; None if the check was skipped.
        threshold: the value from which the check fails.
        fails: whether it fails `above` or `below` the threshold.
        advice: what to do; why it was skipped; empty on a pass.
        measures: what the value is.
        reason: why the threshold is what it is.
    """

    name: str
    status: Status
    value: float | None
    threshold: float
    fails: Literal["above", "below"]
    advice: str
    measures: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Rule:
    """Thresholds of a check.

    Args:
        name: of the check.
        measures: what its value is.
        warn, fail: the value from which the status is warn or fail.
        high_is_bad: whether values above the thresholds are bad, or those below.
        reason: why the thresholds are what they are.
        advice: what to do.
    """

    name: str
    measures: str
    warn: float
    fail: float
    high_is_bad: bool
    reason: str
    advice: str

    def status(self, value: float) -> Status:
        """Return the status of a value."""
        sign = 1 if self.high_is_bad else -1
        if sign * value >= sign * self.fail:
            return "fail"
        return "warn" if sign * value >= sign * self.warn else "pass"

    def judge(self, value: float) -> Check:
        """Return the check of a measured value."""
        return self.check(self.status(value), value)

    def skip(self, why: str) -> Check:
        """Return a check that was skipped."""
        return replace(self.check("skipped", None), advice=why)

    def check(self, status: Status, value: float | None) -> Check:
        """Return a check with a given status; it advises unless it passes."""
        side: Literal["above", "below"] = "above" if self.high_is_bad else "below"
        advice = "" if status == "pass" else self.advice
        return Check(self.name, status, value, self.fail, side, advice, self.measures, self.reason)
