"""The working sum of one leg: its lines, and what is still to pay."""

from datetime import datetime

from fare_rules.legs import Leg
from fare_rules.money import Fen
from fare_rules.quotes import QuoteLine


class RunningSum:
    """The working sum of one leg: what the holder still has to pay, and what each companion has."""

    def __init__(self, leg: Leg, boarded_at: datetime) -> None:
        self.leg = leg
        # When the journey began that the leg is part of: its own boarding, unless it is joined.
        self.boarded_at = boarded_at
        self.lines: list[QuoteLine] = []
        self.due_fen = 0
        self.companion_fen = 0
        self.full_fen = 0
        self.sponsored_fen = 0
        self.before_caps_fen = 0

    def add(self, rule_id: str, each_fen: int, reference: str) -> None:
        """Add an amount for each rider."""
        total_fen = each_fen * self.leg.riders_count
        self.lines.append(QuoteLine(rule_id, Fen(total_fen), reference))
        self.due_fen += each_fen
        self.companion_fen += each_fen

    def take(self, rule_id: str, holder_fen: int, reference: str, borne_by: str | None) -> None:
        """Take an amount off what the holder pays."""
        self.take_from_each(rule_id, holder_fen, 0, reference, borne_by)

    def take_from_each(
        self,
        rule_id: str,
        holder_fen: int,
        companion_fen: int,
        reference: str,
        borne_by: str | None,
    ) -> None:
        """Take an amount off what the holder pays, and another off what each companion does."""
        assert 0 <= holder_fen <= self.due_fen
        assert 0 <= companion_fen <= self.companion_fen
        off_fen = holder_fen + companion_fen * (self.leg.riders_count - 1)
        if off_fen:
            self.lines.append(QuoteLine(rule_id, Fen(-off_fen), reference, borne_by))
        self.due_fen -= holder_fen
        self.companion_fen -= companion_fen
        if borne_by is not None:
            self.sponsored_fen += holder_fen
