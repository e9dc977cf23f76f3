"""A service takes exactly the declared environment, and refuses anything less in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.inventory.declared import Declared, declare
from services.shop.calls import WHOLE_TIMEOUT_S
from services.shop.errors import SettingsError
from services.shop.settings import (
    CatalogSettings,
    Environment,
    FulfilmentSettings,
    GatewaySettings,
    LoadgenSettings,
    OrdersSettings,
    Reads,
)

SECRETS = {"orders_db_password": "one", "catalog_db_password": "two"}
DECLARED: dict[str, Declared] = {item.name: item for item in declare(21_000, SECRETS)}
READERS: dict[str, Callable[[Environment], object]] = {
    "catalog": CatalogSettings.read,
    "orders": OrdersSettings.read,
    "fulfilment": FulfilmentSettings.read,
    "gateway": GatewaySettings.read,
    "loadgen": LoadgenSettings.read,
}


@pytest.mark.parametrize("name", READERS)
def test_the_declared_environment_is_enough(name: str) -> None:
    settings = READERS[name](Environment(DECLARED[name].environment))
    assert f"service='{name}'" in repr(settings)


@pytest.mark.parametrize(("name", "missing"), [(n, variable) for n in READERS for variable in DECLARED[n].environment])
def test_a_missing_variable_is_named(name: str, missing: str) -> None:
    rest = {key: value for key, value in DECLARED[name].environment.items() if key != missing}
    with pytest.raises(SettingsError, match=f"{missing} is not set"):
        READERS[name](Environment(rest))


def test_what_may_be_left_out_has_its_usual_value_and_is_taken_when_it_is_there() -> None:
    declared = DECLARED["orders"].environment
    usual = OrdersSettings.read(Environment(declared))
    assert (usual.database.budget_s, usual.gift_notes) == (1.0, False)
    given = {**declared, "ORDERS_DB_TIMEOUT_MS": "250", "ORDERS_GIFT_NOTES": "on"}
    other = OrdersSettings.read(Environment(given))
    assert (other.database.budget_s, other.gift_notes) == (0.25, True)


def test_the_gateway_reads_once_and_waits_as_long_as_ever_unless_it_is_told_otherwise() -> None:
    declared = DECLARED["gateway"].environment
    assert GatewaySettings.read(Environment(declared)).reads == Reads(1, WHOLE_TIMEOUT_S, 0.05)
    told = {"GATEWAY_READ_ATTEMPTS": "3", "GATEWAY_READ_TIMEOUT_MS": "250", "GATEWAY_READ_PAUSE_MS": "0"}
    assert GatewaySettings.read(Environment({**declared, **told})).reads == Reads(3, 0.25, 0.0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_READ_ATTEMPTS", "0"),
        ("GATEWAY_READ_ATTEMPTS", "101"),
        ("GATEWAY_READ_TIMEOUT_MS", "0"),
        ("GATEWAY_READ_TIMEOUT_MS", "1401"),
        ("GATEWAY_READ_PAUSE_MS", "-1"),
    ],
)
def test_reads_out_of_bounds_are_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        GatewaySettings.read(Environment({**DECLARED["gateway"].environment, variable: value}))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SHOP_PORT", "0"),
        ("SHOP_PORT", "http"),
        ("SHOP_PORT", "70000"),
        ("ORDERS_MQ_URL", "http://x"),
        ("SHOP_PORT", "٣"),
        ("ORDERS_DB_TIMEOUT_MS", "0"),
        ("ORDERS_GIFT_NOTES", "yes"),
    ],
)
def test_a_wrong_value_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        OrdersSettings.read(Environment({**DECLARED["orders"].environment, variable: value}))


@pytest.mark.parametrize("rate", ["nan", "-1", "201", "fast"])
def test_a_rate_out_of_bounds_is_refused(rate: str) -> None:
    with pytest.raises(SettingsError, match="LOADGEN_RATE"):
        LoadgenSettings.read(Environment({**DECLARED["loadgen"].environment, "LOADGEN_RATE": rate}))


def test_no_password_shows_in_a_printed_value() -> None:
    settings = OrdersSettings.read(Environment({**DECLARED["orders"].environment, "ORDERS_DB_PASSWORD": "sesame"}))
    assert "sesame" not in repr(settings)


def test_a_service_without_its_environment_ends_with_one_sentence_and_code_2() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "services.shop.orders"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == "the environment variable SHOP_SERVICE is not set; set it and start again\n"
    assert ended.stdout == ""


def _as_file(path: Path) -> Environment:
    """Return orders' environment with its password in a file."""
    variables = {k: v for k, v in DECLARED["orders"].environment.items() if k != "ORDERS_DB_PASSWORD"}
    return Environment({**variables, "ORDERS_DB_PASSWORD_FILE": str(path)})


def test_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from the file\n")
    assert OrdersSettings.read(_as_file(tmp_path / "password")).database.password == "from the file"


def test_a_password_in_the_environment_beats_the_file(tmp_path: Path) -> None:
    variables = {**DECLARED["orders"].environment, "ORDERS_DB_PASSWORD_FILE": str(tmp_path / "not there")}
    assert OrdersSettings.read(Environment(variables)).database.password == "one"


def test_a_password_file_that_is_missing_or_empty_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ORDERS_DB_PASSWORD_FILE names .*cannot be read \(FileNotFoundError\)"):
        OrdersSettings.read(_as_file(tmp_path / "password"))
    (tmp_path / "password").write_text("\nsecond line\n")
    with pytest.raises(SettingsError, match="is empty"):
        OrdersSettings.read(_as_file(tmp_path / "password"))
