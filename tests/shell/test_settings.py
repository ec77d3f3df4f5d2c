"""Settings come from the environment; whatever is wrong with it is said at once and in full."""

import base64
from pathlib import Path

import pytest

import gateway
from gateway.shell.environment import (
    SettingsWrong,
    read_settings,
    settings_page,
    settings_table,
)
from gateway.shell.settings import Settings

KEY = bytes(range(32))


def faults(**environment: str) -> list[str]:
    with pytest.raises(SettingsWrong) as wrong:
        read_settings(environment)
    return wrong.value.faults


def test_an_empty_environment_is_a_good_one():
    settings = read_settings({"PATH": "/bin"})
    assert (settings.host, settings.port, settings.database_url) == ("127.0.0.1", 8080, "")
    assert settings.tariffs_dir.parts[-3:] == ("fare_rules", "tariffs", "shenzhen")


def test_a_variable_sets_its_field_and_an_empty_one_does_not():
    settings = read_settings(
        {"FAREGATE_PORT": "9000", "FAREGATE_LANES_COUNT": "", "FAREGATE_AUTO_MIGRATE": "true"}
    )
    assert (settings.port, settings.lanes_count, settings.auto_migrate) == (9000, 2, True)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "80.5", "8_080", "٨٠"])
def test_a_number_must_be_whole_and_within_its_bounds(port: str):
    assert faults(FAREGATE_PORT=port) == [
        f"FAREGATE_PORT: {port!r} is not in: 1 to 65535. The TCP port to listen on."
    ]


def test_a_choice_must_be_one_of_those():
    assert "debug, info, warning, error" in faults(FAREGATE_LOG_LEVEL="loud")[0]
    assert "true, false" in faults(FAREGATE_AUTO_MIGRATE="maybe")[0]


def test_an_unknown_name_is_an_error_with_the_likely_one():
    assert faults(FAREGATE_PROT="1") == [
        "FAREGATE_PROT: there is no such setting. Did you mean FAREGATE_PORT?"
    ]
    assert "faregate config show" in faults(FAREGATE_XYZZY_PLUGH="1")[0]


def test_a_tap_may_not_come_later_than_its_day_is_kept():
    [fault] = faults(FAREGATE_TAP_AGE_DAYS_MAX="30", FAREGATE_RETENTION_DAYS="31")
    assert "FAREGATE_RETENTION_DAYS: 31 is too short" in fault
    assert "Keep 32 days or more" in fault
    read_settings({"FAREGATE_TAP_AGE_DAYS_MAX": "30", "FAREGATE_RETENTION_DAYS": "32"})


def test_all_faults_come_at_once():
    assert len(faults(FAREGATE_PROT="1", FAREGATE_PORT="x", FAREGATE_LOG_FORMAT="xml")) == 3


def test_limits_that_contradict_each_other_are_refused():
    fault = faults(FAREGATE_QUEUE_TAPS_MAX="10")
    assert "a full request could never be queued" in fault[0]


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
    ],
)
def test_a_key_is_hex_or_base64(text: str):
    assert read_settings({"FAREGATE_GATE_MASTER_KEY": text}).gate_master_key == KEY


@pytest.mark.parametrize("text", ["ab" * 31, "c2hvcnQ=", "not a key!", "a", "ключ"])
def test_a_bad_key_is_refused_and_not_repeated(text: str):
    (fault,) = faults(FAREGATE_GATE_MASTER_KEY=text)
    assert fault.startswith("FAREGATE_GATE_MASTER_KEY: Expected ")
    assert f"{text!r}" not in fault


def test_secrets_may_lie_in_files(tmp_path: Path):
    (tmp_path / "key").write_text(f"{KEY.hex()}\n")
    (tmp_path / "url").write_text("postgresql://u:p@h/d\n")
    settings = read_settings(
        {
            "FAREGATE_GATE_MASTER_KEY_FILE": str(tmp_path / "key"),
            "FAREGATE_DATABASE_URL_FILE": str(tmp_path / "url"),
        }
    )
    assert settings.gate_master_key == KEY
    assert settings.database_url == "postgresql://u:p@h/d"


def test_a_secret_given_twice_or_in_no_file_is_refused(tmp_path: Path):
    name = "FAREGATE_GATE_MASTER_KEY"
    assert "not both" in faults(**{name: KEY.hex(), f"{name}_FILE": "/key"})[0]
    assert "cannot be read" in faults(**{f"{name}_FILE": str(tmp_path / "absent")})[0]
    assert "no such setting" in faults(FAREGATE_PORT_FILE="/port")[0]


def test_database_url_is_the_fallback():
    everyone = {"DATABASE_URL": "postgresql://a/b"}
    assert read_settings(everyone).database_url == "postgresql://a/b"
    ours = everyone | {"FAREGATE_DATABASE_URL": "postgresql://c/d"}
    assert read_settings(ours).database_url == "postgresql://c/d"
    (fault,) = faults(DATABASE_URL="mysql://u:pass-word@h/d")
    assert "postgresql://" in fault
    assert "pass-word" not in fault


@pytest.mark.parametrize("mark", ["/", "?", "#"])
def test_a_password_that_breaks_its_url_is_refused_and_not_repeated(mark: str):
    with pytest.raises(SettingsWrong) as refused:
        read_settings({"FAREGATE_DATABASE_URL": f"postgresql://u:pass{mark}word@h:5432/d"})
    (fault,) = refused.value.faults
    assert "%2F" in fault
    assert "pass" not in fault.replace("password", "")


def test_urls_of_several_servers_and_of_sockets_are_taken():
    for url in ("postgresql://u:p@h1:5432,h2:5433/d", "postgresql://u@[::1]:5432/d",
                "postgresql://u@/d?host=/run/postgresql"):  # fmt: skip
        assert read_settings({"FAREGATE_DATABASE_URL": url}).database_url == url


def test_the_settlement_folder_is_seen_from_the_data_folder():
    environment = {"FAREGATE_DATA_DIR": "/data"}
    assert read_settings(environment).settlement_dir == Path("/data/settlement")
    environment["FAREGATE_SETTLEMENT_DIR"] = "/elsewhere"
    assert read_settings(environment).settlement_dir == Path("/elsewhere")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3same@h/d",
        "postgresql://u:s3s@me@h/d",
        "postgresql:///d?password=s3same",
        "postgresql://h/d?sslkey=k&sslpassword=s3same",
    ],
)
def test_secrets_are_hidden_wherever_settings_are_shown(url: str):
    settings = read_settings({"FAREGATE_DATABASE_URL": url, "FAREGATE_GATE_MASTER_KEY": KEY.hex()})
    shown = repr(settings) + str(settings_table(settings))
    assert "s3s" not in shown
    assert KEY.hex() not in shown
    assert str(KEY) not in shown


def test_every_setting_is_documented():
    for row in settings_table(Settings()):
        assert row.meaning.endswith("."), row.name


def test_the_page_of_settings_is_true():
    page = Path(gateway.__file__).with_name("SETTINGS.md")
    assert page.read_text() == settings_page(), "the page is stale: run `make docs`"
