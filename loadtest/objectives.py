"""What a run must reach, by name. All objectives are here; each is one line of the report."""

from typing import Any, NamedTuple

# The 99th percentile of each row, in milliseconds. A rider at a turnstile waits for the answer: of
# the half second that a whole tap may take at London's gates, a gateway may have a fifth.
P99_MS_MAX = {
    "metro: enter": 100,
    "metro: exit": 100,
    "bus: board": 100,
    "depot: 100 stored taps": 1_000,
    "desk: statement": 500,
    "desk: tap": 500,
    "desk: top-up": 500,
    "desk: settlements": 500,
}
FAILURES_PERCENT_MAX = 0.1
# Of the taps that the gates would have sent if no answer had kept them waiting.
SENT_PERCENT_MIN = 95.0


class Verdict(NamedTuple):
    name: str
    found: str
    limit: str
    is_met: bool

    def __str__(self) -> str:
        met = "ok" if self.is_met else "MISSED"
        return f"{self.name:<34}{self.found:>14}   {self.limit:<18}{met}"


def judge(stats: Any, asked_taps_count: float) -> list[Verdict]:
    """Judge a run by locust's statistics. Rows that were not played are not judged."""
    verdicts = []
    rows = {entry.name: entry for entry in stats.entries.values()}
    for name, limit_ms in P99_MS_MAX.items():
        if name in rows:
            p99_ms = rows[name].get_response_time_percentile(0.99)
            verdicts.append(
                Verdict(
                    f"{name} p99", f"{p99_ms:,.0f} ms", f"at most {limit_ms:,}", p99_ms <= limit_ms
                )
            )
    total = stats.total
    failures_percent = 100 * total.fail_ratio if total.num_requests else 100.0
    verdicts.append(
        Verdict(
            "failed requests",
            f"{failures_percent:.3f} %",
            f"at most {FAILURES_PERCENT_MAX}",
            failures_percent <= FAILURES_PERCENT_MAX,
        )
    )
    gates = [rows[name] for name in P99_MS_MAX if name in rows and not name.startswith("desk")]
    sent_count = sum(entry.num_requests for entry in gates if not entry.name.startswith("depot"))
    sent_percent = 100 * sent_count / asked_taps_count if asked_taps_count else 0.0
    verdicts.append(
        Verdict(
            "taps sent of those due",
            f"{sent_percent:.1f} %",
            f"at least {SENT_PERCENT_MIN}",
            sent_percent >= SENT_PERCENT_MIN,
        )
    )
    return verdicts
