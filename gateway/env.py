"""Reads settings from the environment; a bad value stops the start with its name and what was expected.

Every setting is declared once, by the call that reads it, and so lands in ``DECLARED``, which the operators' page in
``docs/settings.md`` is compared with. A secret may be given as a file: ``NAME_FILE`` holds the path.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class SettingInvalid(SystemExit):
    """A setting has a value that Waybill cannot start with."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Waybill cannot start: {name}={value!r} is not usable, expected {expected}")


@dataclass(frozen=True)
class Setting:
    """One declared setting, as the documentation lists it."""

    name: str
    default: str
    expected: str


DECLARED: dict[str, Setting] = {}


def _read(name: str, default: str, expected: str, parse: Callable[[str], T]) -> T:
    DECLARED[name] = Setting(name, default, expected)
    value = os.environ.get(name, "").strip() or default
    try:
        return parse(value)
    except (ValueError, OSError) as exc:
        raise SettingInvalid(name, value, expected) from exc


def text(name: str, default: str = "", *, expected: str = "text") -> str:
    """A string, stripped."""
    return _read(name, default, expected, str)


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of a few words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(value)
        return value

    return _read(name, default, "one of " + ", ".join(choices), parse)


def flag(name: str, default: bool) -> bool:
    """A yes or no."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def parse(value: str) -> bool:
        if value.lower() not in words:
            raise ValueError(value)
        return words[value.lower()]

    return _read(name, "true" if default else "false", "true or false", parse)


def number(name: str, default: int, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number within bounds."""

    def parse(value: str) -> int:
        found = int(value)
        if not least <= found <= most:
            raise ValueError(value)
        return found

    return _read(name, str(default), f"a whole number from {least} to {most}", parse)


def folder(name: str, default: str) -> Path:
    """An absolute path; made when it is missing, for its owner only."""

    def parse(value: str) -> Path:
        path = Path(value).expanduser().absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # permissions alone say nothing to root, or of a read-only mount
            return path

    return _read(name, default, "a folder that can be made or written", parse)


def words(name: str, default: str = "", *, expected: str = "words separated by commas") -> list[str]:
    """A list separated by commas."""
    return _read(name, default, expected, lambda value: [w.strip() for w in value.split(",") if w.strip()])


def secret(name: str, *, expected: str) -> str:
    """A secret from ``NAME`` or from the file that ``NAME_FILE`` names; empty when neither is set."""
    DECLARED[f"{name}_FILE"] = Setting(f"{name}_FILE", "", f"the path of a file that holds {name}")
    path = os.environ.get(f"{name}_FILE", "").strip()
    if not path:
        return _read(name, "", expected, str)
    DECLARED[name] = Setting(name, "", expected)
    try:
        return Path(path).read_text().strip()
    except OSError as exc:
        raise SettingInvalid(f"{name}_FILE", path, "a readable file") from exc
