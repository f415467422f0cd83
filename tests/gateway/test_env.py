"""Settings: a bad value stops the start with its name, and secrets come from files that only their owner reads."""

import stat
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from gateway import env, secrets_file
from gateway.env import SettingInvalid

NAME = "WAYBILL_TEST_SETTING"


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test declares is forgotten after it."""
    monkeypatch.setattr(env, "DECLARED", {})
    monkeypatch.delenv(NAME, raising=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", 5), (" 7 ", 7), ("1", 1), ("9", 9), ("0", None), ("10", None), ("x", None), ("1.5", None)],
)
def test_a_number_lies_within_its_bounds(monkeypatch: pytest.MonkeyPatch, value: str, expected: int | None) -> None:
    monkeypatch.setenv(NAME, value)
    if expected is None:
        with pytest.raises(SettingInvalid, match=f"{NAME}=.*a whole number from 1 to 9"):
            env.number(NAME, 5, least=1, most=9)
    else:
        assert env.number(NAME, 5, least=1, most=9) == expected
    assert env.DECLARED[NAME].default == "5"


@pytest.mark.parametrize(
    ("value", "expected"), [("", False), ("YES", True), ("on", True), ("0", False), ("maybe", None)]
)
def test_a_flag_is_yes_or_no(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool | None) -> None:
    monkeypatch.setenv(NAME, value)
    if expected is None:
        with pytest.raises(SettingInvalid, match="true or false"):
            env.flag(NAME, False)
    else:
        assert env.flag(NAME, False) is expected


def test_a_choice_is_one_of_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.choice(NAME, "a", ("a", "b")) == "a"
    monkeypatch.setenv(NAME, "c")
    with pytest.raises(SettingInvalid, match="one of a, b"):
        env.choice(NAME, "a", ("a", "b"))


def test_words_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, " a, ,b ")
    assert env.words(NAME) == ["a", "b"]


def test_a_folder_is_made_for_its_owner_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = env.folder(NAME, str(tmp_path / "new" / "folder"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    monkeypatch.setenv(NAME, str(tmp_path / "file" / "below"))
    with pytest.raises(SettingInvalid, match=NAME):
        env.folder(NAME, "")


def test_a_secret_comes_from_its_file_and_is_declared_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv(NAME, "from the environment")
    assert env.secret(NAME, expected="a secret") == "from the environment"
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "secret"))
    assert env.secret(NAME, expected="a secret") == "from the file"
    assert set(env.DECLARED) == {NAME, f"{NAME}_FILE"}
    monkeypatch.setenv(f"{NAME}_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingInvalid, match=f"{NAME}_FILE"):
        env.secret(NAME, expected="a secret")


def test_a_setting_that_is_wrong_ends_the_process_with_a_sentence() -> None:
    assert str(SettingInvalid("PORT", "x", "a number")) == (
        "Waybill cannot start: PORT='x' is not usable, expected a number"
    )


def test_the_key_ring_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    made = secrets_file.load("", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets_file.load("", path) == made
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_start_at_once_agree_on_the_key_ring(tmp_path: Path) -> None:
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(secrets_file.load("", tmp_path / "keys"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({tuple(ring) for ring in found}) == 1


def test_a_ring_of_several_keys_keeps_its_order(tmp_path: Path) -> None:
    keys = [Fernet.generate_key().decode() for _ in range(3)]
    assert secrets_file.load(", ".join(keys), tmp_path / "keys") == keys
    (tmp_path / "keys").write_text("\n".join(keys))
    assert secrets_file.load("", tmp_path / "keys") == keys


@pytest.mark.parametrize("ring", ["not a key", "a" * 44, ","])
def test_a_ring_that_is_none_stops_the_start_and_is_not_shown(ring: str, tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid) as stopped:
        secrets_file.load(ring, tmp_path / "keys")
    assert "WAYBILL_SECRET_KEYS" in str(stopped.value)
    assert "not a key" not in str(stopped.value)


def test_a_derived_secret_tells_nothing_of_the_key_and_differs_by_purpose() -> None:
    key = Fernet.generate_key().decode()
    assert secrets_file.derive(key, "a") != secrets_file.derive(key, "b")
    assert secrets_file.derive(key, "a") == secrets_file.derive(key, "a")
    assert key not in secrets_file.derive(key, "a")
