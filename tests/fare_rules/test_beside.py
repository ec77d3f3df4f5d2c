"""What lies beside the tariffs is read with them; what is wrong in it is told by its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fare_rules import TariffFaults, load_book

HARBOUR = Path(__file__).parents[1] / "stories" / "harbour"
# It has two promotions: one_cent, borne by icbc, and coupon_ride, borne by abc.
SPONSORED = HARBOUR.parent / "midnight_campaign"


def told(
    folder: Path, text: str, name: str = "clearing.yaml", tariffs: Path = HARBOUR
) -> list[str]:
    """The faults of a folder with this file beside its tariff, without where it lies."""
    shutil.copytree(tariffs, folder, dirs_exist_ok=True)
    (folder / name).write_text(text)
    try:
        load_book(folder)
    except TariffFaults as faults:
        return [str(fault).removeprefix(f"{folder}/") for fault in faults.faults]
    return []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "agreements:\n  - {id: a, reference: x, by: own_fares}\n",
            "clearing.yaml:2:31: error[not_a_choice]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: table}\n",
            "clearing.yaml:2:31: error[needs_another_key]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: bearer, bearers: table}\n",
            "clearing.yaml:2:31: error[needs_another_key]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: icbc, percent: 1}\n"
            "  - {id: a, reference: x, paid_to: icbc, per_ride: 0.01}\n",
            "clearing.yaml:3:10: error[duplicate_id]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: icbc, per_ride: 0.001}\n",
            "clearing.yaml:2:52: error[bad_text]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: own_fare, products: [metro_rid]}\n",
            "clearing.yaml:2:52: error[unknown_name]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: table, weights: [{operator: m, weight: 1}, "
            "{operator: m, weight: 3}]}\n",
            "clearing.yaml:2:85: error[duplicate_id]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: bearer, weights: [{operator: m, weight: 1}]"
            "}\n",
            "clearing.yaml:2:48: error[never_acts]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: m, maximum: 1.00}\n",
            "clearing.yaml:2:10: error[needs_another_key]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: m, percent: 120}\n",
            "clearing.yaml:2:48: error[out_of_range]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: m, per_ride: 1, minimum: 5, maximum: 1}\n",
            "clearing.yaml:2:73: error[out_of_range]",
        ),
        (
            "payouts:\n  - {operator: m, minimum_payout: 5}\n"
            "  - {operator: m, minimum_payout: 50}\n",
            "clearing.yaml:3:16: error[duplicate_id]",
        ),
    ],
)
def test_what_is_wrong_is_told_by_file_line_and_column(tmp_path: Path, text: str, fault: str):
    (said,) = told(tmp_path, text)
    assert said.startswith(fault)


def test_a_folder_without_the_file_agrees_on_nothing(tmp_path: Path):
    assert load_book(HARBOUR).clearing.agreements == ()
    assert told(tmp_path, "fees: []\n") == []


@pytest.mark.parametrize(
    ("campaigns", "fault"),
    [
        (
            ["{id: a, reference: x, sponsor: icbc, promotions: [one_cent], budget: 5.00}",
             "{id: a, reference: x, sponsor: abc, promotions: [coupon_ride], budget: 50.00}"],
            "campaigns.yaml:3:10: error[duplicate_id]",
        ),
        (
            ["{id: a, reference: x, sponsor: icbc, promotions: [one_cents]}"],
            "campaigns.yaml:2:55: error[unknown_name]",
        ),
        (
            ["{id: a, reference: x, sponsor: abc, promotions: [one_cent]}"],
            "campaigns.yaml:2:54: error[unknown_name]",
        ),
        (
            ["{id: a, reference: x, sponsor: abc, promotions: [coupon_ride], "
             "claims: {begins: 2026-02-01 00:00, ends: 2026-02-01 00:00}}"],
            "campaigns.yaml:2:109: error[ends_before_it_begins]",
        ),
        (
            ["{id: a, reference: x, sponsor: icbc, promotions: [one_cent], claims: {count: 3}}"],
            "campaigns.yaml:2:74: error[never_acts]",
        ),
    ],
)  # fmt: skip
def test_a_campaign_that_could_not_be_kept_is_refused(
    tmp_path: Path, campaigns: list[str], fault: str
):
    text = "campaigns:\n" + "".join(f"  - {one}\n" for one in campaigns)
    (said,) = told(tmp_path, text, "campaigns.yaml", SPONSORED)
    assert said.startswith(fault)


def test_a_campaign_goes_on_while_the_next_tariff_lies_ready_without_it(tmp_path: Path):
    """Taken out of campaigns.yaml, the promotion would be paid for without any limit until then."""
    shutil.copytree(SPONSORED, tmp_path, dirs_exist_ok=True)
    text = (SPONSORED / "2018-08-01.yaml").read_text()
    head, _, tail = text.partition("promotions:")
    tail = tail[tail.index("sponsors:") :].replace("effective_from: 2018-08-01", "")
    head = head.replace("effective_from: 2018-08-01", "effective_from: 2030-01-01")
    (tmp_path / "2030-01-01.yaml").write_text(head + tail)
    book = load_book(tmp_path)
    assert [tariff.campaign_of.get("one_cent") for tariff in book.tariffs] == ["october"] * 2
    assert [bool(tariff.file.promotions) for tariff in book.tariffs] == [True, False]


def test_all_files_beside_the_tariffs_are_looked_at(tmp_path: Path):
    shutil.copytree(HARBOUR, tmp_path, dirs_exist_ok=True)
    names = ["campaigns.yaml", "clearing.yaml", "wallets.yaml"]
    for name in names:
        (tmp_path / name).write_text("nothing: of the kind\n")
    with pytest.raises(TariffFaults) as found:
        load_book(tmp_path)
    assert sorted({Path(fault.path).name for fault in found.value.faults}) == names
