"""What docs/service.md says in tables is what the code has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from depotlab.service import Limits
from depotlab.service._reasons.usererrors import RULES
from depotlab.service._serve.configfile import read_config
from depotlab.telemetry._rows import BuildRow, LogRow, StepRow
from tests.support.pages import ROOT, code_of

SECRETS = {
    "DEPOTLAB_REGISTRY_PASSWORD": "not-a-secret",
    "DEPOTLAB_CLICKHOUSE_PASSWORD": "not-a-secret",
}
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("row", [BuildRow, StepRow, LogRow], ids=lambda row: row.table)
def test_the_columns_of_a_table_are_its_own(row: type) -> None:
    (said,) = [cells[2] for cells in rows("Telemetry") if cells[0] == f"`{row.table}`"]
    assert re.findall(r"`(\w+)`", said) == [field.name for field in fields(row)]


def test_the_limits_are_those_of_the_code() -> None:
    said = {cells[0].strip("`"): cells[1] for cells in rows("Limits")}
    assert list(said) == [field.name for field in fields(Limits)]
    for name, value in said.items():
        number, _, unit = value.partition(" ")
        factor = {"": 1, "s": 1, "days": 1, "MiB": 1 << 20, "GiB": 1 << 30}[unit]
        assert int(number.replace("\N{NO-BREAK SPACE}", "")) * factor == getattr(Limits(), name)


def test_every_category_of_a_customers_mistake_is_explained() -> None:
    said = {
        name for cells in rows("Errors for end users") for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert {rule.category for rule in RULES} <= said


def test_the_configuration_is_one(tmp_path: Path) -> None:
    (text,) = code_of(ROOT / "docs" / "service.md", "toml")
    found = read_config(text, name="service.toml", folder=tmp_path, environ=SECRETS)
    assert (found.host, found.port) == ("builds.internal.acme.example", 8443)
    assert found.options["limits"].max_machines == 20
    assert found.options["depot"].region == "eu-central-1"
    assert [rule.category for rule in found.options["error_rules"]] == ["npm"]
    assert {"storage", "telemetry", "registry", "state"} <= set(found.options)
