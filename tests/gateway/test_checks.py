"""What the system checks say of settings that are read well and cannot work well."""

from typing import Any

import pytest

from gateway import checks


def test_a_misspelt_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_TREADS", "64")
    monkeypatch.setenv("WAYBILL_THREADS", "64")
    monkeypatch.setenv("WAYBILL_WORKERS", "1")
    monkeypatch.setenv("WAYBILL_URL", "http://127.0.0.1")
    assert [message.msg for message in checks.settings_are_known()] == ["WAYBILL_TREADS is no setting of Waybill."]


@pytest.mark.parametrize(
    ("check", "settings_", "expected"),
    [
        (checks.lifetimes_fit, {"ALIAS_LIFETIME_S": 10, "ALIAS_MAX_LIFETIME_S": 9}, ["waybill.E001"]),
        (checks.lifetimes_fit, {"ALIAS_LIFETIME_S": 9, "ALIAS_MAX_LIFETIME_S": 9}, []),
        (checks.threads_are_left, {"MAX_STREAMS": 64, "THREADS": 64}, ["waybill.E002"]),
        (checks.threads_are_left, {"MAX_STREAMS": 48, "THREADS": 64}, []),
        (checks.waiters_fit, {"WAIT_S": 61, "MAX_WAIT_S": 60}, ["waybill.E003"]),
        (checks.waiters_fit, {"MAX_STREAMS": 48, "MAX_WAITERS": 192, "THREADS": 255}, ["waybill.W003"]),
        (checks.waiters_fit, {"MAX_STREAMS": 48, "MAX_WAITERS": 192, "THREADS": 256}, []),
        (checks.waiters_fit, {"MAX_STREAMS": 48, "MAX_WAITERS": 8, "THREADS": 64}, []),
        (checks.tokens_travel_encrypted, {"PUBLIC_URL": "http://waybill.example.org"}, ["waybill.W001"]),
        (checks.tokens_travel_encrypted, {"PUBLIC_URL": "https://waybill.example.org"}, []),
        (checks.tokens_travel_encrypted, {"PUBLIC_URL": "http://127.0.0.1:8080"}, []),
    ],
)
def test_settings_that_do_not_fit_together_are_told(
    settings: Any, check: Any, settings_: dict[str, Any], expected: list[str]
) -> None:
    for name, value in settings_.items():
        setattr(settings, name, value)
    assert [message.id for message in check()] == expected
