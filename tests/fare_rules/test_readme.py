"""The package's README names every key that a file may have, and its smallest tariff loads."""

import re
from pathlib import Path

from msgspec import Struct

from fare_rules import load_tariff, model
from fare_rules.examples import Example, ExampleLeg

README = (Path(__file__).parents[2] / "fare_rules" / "README.md").read_text("utf-8")


def test_the_smallest_tariff_of_the_readme_has_no_fault(tmp_path):
    smallest = next(
        block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "tariff:" in block
    )
    (tmp_path / "2026-01-01.yaml").write_text(smallest)
    assert load_tariff(tmp_path / "2026-01-01.yaml").tariff_id == "harbour/2026-01-01"


def test_every_key_of_a_file_is_in_the_readme():
    shapes = [
        shape
        for shape in (*vars(model).values(), Example, ExampleLeg)
        if isinstance(shape, type) and issubclass(shape, Struct)
    ]
    keys = {key for shape in shapes for key in shape.__struct_fields__}
    named = set(re.findall(r"[a-z_]+", README))
    assert keys - named == set()
