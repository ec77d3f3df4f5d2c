"""A campaign's money is gone while riders are under way: they ride on, and pay what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pytest
from _stores import MIDNIGHT
from _town import RETENTION_DAYS, Town, moment
from msgspec import structs
from test_missing_rides import metro, missing

from fare_rules import Action, RideTap, fold, load_book
from gateway.fares_path import run_explanation
from gateway.shell.campaign_store import list_campaigns, prepare_campaigns

# ICBC pays all but a cent of a metro ride, 3.00, and has the money for one. Tapping out is
# optional: who does not is charged a ride.
CAMPAIGN = """campaigns:
  - {id: metro, sponsor: icbc, promotions: [one_cent], budget: 50.00, uses: 1, reference: k.1}
"""
ARCHIVING_DAY = RETENTION_DAYS + 4


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Ann is in the metro when Bob's ride takes the last of the money; Cid has left it."""
    folder = tmp_path / "tariffs"
    folder.mkdir()
    text = (MIDNIGHT / "2018-08-01.yaml").read_text("utf-8")
    charge = "{kind: product, product: metro_ride}"
    text = text.replace("{kind: amount, amount: 9.00}", charge, 1)
    (folder / "2018-08-01.yaml").write_text(text, "utf-8")
    (folder / "campaigns.yaml").write_text(CAMPAIGN, "utf-8")
    town = Town(load_book(folder), database, tmp_path)
    town.store.run(prepare_campaigns(town.store.pool, town.book, moment(0, "05:00")))
    for name in ("ann", "bob", "cid"):
        town.rider(name, issuer="icbc")
    town.tap("ann", "enter", "metro luohu", 0, "08:00")
    # Where he came from is not known yet.
    town.tap("cid", "exit", "metro laojie", 0, "08:10")
    ride(town, "bob", 0, "08:01")
    yield town
    town.check_audit()
    (campaign,) = town.store.run(list_campaigns(town.store.pool))
    assert campaign.is_exact
    assert campaign.left_uses == 0
    town.store.close()


def ride(town: Town, name: str, day: int, clock: str) -> None:
    town.tap(name, "enter", "metro luohu", day, clock)
    town.tap(name, "exit", "metro laojie", day, clock[:3] + "20")


def paid(town: Town) -> dict[str, int]:
    """What each tap has cost its rider; those that cost nothing are left out."""
    names = {tap.tap_id: name for name, tap in town.taps.items()}
    found: dict[str, int] = {}
    for entry in town.store.entries():
        if entry.tap_id in names:
            name = names[entry.tap_id]
            found[name] = found.get(name, 0) - entry.rider_fen
    return {name: fen for name, fen in found.items() if fen}


def told(town: Town, name: str) -> str:
    tap_id = town.taps[name].tap_id
    found = town.store.run(run_explanation(town.store.pool, tap_id, town.book))
    assert found is not None
    return " ".join(found.lines)


OTHERS = {"cid 0 08:10": 700, "bob 0 08:20": 1}


def test_who_never_tapped_out_enters_again_and_pays_the_whole_of_it(town: Town) -> None:
    assert town.tap("ann", "enter", "metro luohu", 0, "12:00").outcome == "leg_opened"
    assert paid(town) == OTHERS | {"ann 0 08:00": 300}
    assert "one_cent" not in told(town, "ann 0 08:00")
    assert town.tap("ann", "exit", "metro laojie", 0, "12:20").fare_fen == 300
    town.close(0)
    assert paid(town) == OTHERS | {"ann 0 08:00": 300, "ann 0 12:20": 300}


def test_so_does_who_takes_the_bus_or_taps_out_too_late(town: Town) -> None:
    assert town.tap("ann", "board", "bus M390", 0, "12:00").outcome == "ride_charged"
    assert paid(town) == OTHERS | {"ann 0 08:00": 300, "ann 0 12:00": 200}
    assert town.tap("ann", "enter", "metro luohu", 1, "12:00").outcome == "leg_opened"
    assert town.tap("ann", "exit", "metro laojie", 1, "18:00").outcome == "ride_charged"
    # The week has a cap of 7.00; an exit alone lies outside it.
    assert paid(town) == OTHERS | {
        "ann 0 08:00": 300, "ann 0 12:00": 200, "ann 1 12:00": 200, "ann 1 18:00": 700,
    }  # fmt: skip


def test_the_day_after_a_close_the_leg_that_waited_is_paid_by_its_rider(town: Town) -> None:
    town.close(0)
    assert paid(town) == OTHERS
    assert town.tap("ann", "enter", "metro luohu", 1, "08:00").outcome == "leg_opened"
    assert paid(town) == OTHERS | {"ann 0 08:00": 300}


def test_a_late_exit_closes_it_all_the_same(town: Town) -> None:
    town.tap("ann", "enter", "metro luohu", 0, "12:00")
    town.tap("ann", "exit", "metro laojie", 0, "08:20", arrives=1)
    assert paid(town) == OTHERS | {"ann 0 08:20": 300}


def test_an_entry_that_comes_late_makes_one_ride_of_its_exit(town: Town) -> None:
    town.tap("cid", "enter", "metro luohu", 0, "07:50", arrives=1)
    assert paid(town) == OTHERS | {"cid 0 08:10": 300}


def test_a_ride_that_the_desk_puts_in_between_is_priced_without_it_too(town: Town) -> None:
    town.tap("ann", "board", "bus M390", 0, "20:00")
    missing(town, metro(0, "12:00", "12:20"))
    assert paid(town)["ann 0 08:00"] == 300


def test_it_lies_in_the_archive_as_it_was_decided(town: Town) -> None:
    town.tap("ann", "enter", "metro luohu", 0, "12:00")
    town.tap("ann", "exit", "metro laojie", 0, "12:20")
    town.close(ARCHIVING_DAY - 1)
    assert len(town.archive(ARCHIVING_DAY)) > 0


@pytest.mark.parametrize(("leg", "is_borne"), [("without", True), ("leaves_without", False)])
def test_a_leg_that_was_paid_for_stays_so_though_the_next_ride_goes_without(
    town: Town, leg: str, is_borne: bool
) -> None:
    """A close may have charged it long ago: only what the next tap says of it takes it away."""
    first, second = (
        RideTap(
            uuid5(NAMESPACE_URL, network), "gate", 1, moment(0, clock).astimezone(UTC), "dan",
            Action(action), network, network, "adult", "card", "luohu", issuer_id="icbc",
        )
        for network, action, clock in (("metro", "enter", "08:00"), ("bus", "board", "12:00"))
    )  # fmt: skip
    folded = fold([first, structs.replace(second, **{leg: ("metro",)})], town.book)
    quotes = {charge.tap_id: charge.quote for charge in folded.charges.values()}
    assert bool(quotes[first.tap_id].sponsored) is is_borne
