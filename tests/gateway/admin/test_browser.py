"""The admin in a real browser, over a real gateway: from an empty project to a revoked alias."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect, sync_playwright

from staging import storages
from staging.models import Membership, Project
from staging.states import Role
from staging.storages import StorageSpec
from tests.servers.gateway import Gateway
from tests.servers.process import find_program

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: In milliseconds; a page may take its time on a busy machine.
_PATIENCE = 20_000
_PASSWORD = "a password of this test"
expect.set_options(timeout=_PATIENCE)


@pytest.fixture
def administrator(gateway: Gateway, settings: Any) -> Iterator[str]:
    """The name of somebody who administers a project in which nothing is yet."""
    # The gateway runs with Django's own hashers, not with the quick one of the tests.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    user = User.objects.create_user("ada", password=_PASSWORD, is_staff=True)
    Membership.objects.create(project=Project.objects.create(name="lab"), user=user, role=Role.ADMIN)
    yield "ada"
    storages.close_adapters()


@pytest.fixture
def disks(administrator: str, tmp_path: Path) -> list[int]:
    """Two storages of the project, ``old`` and ``new``, by id."""
    made = []
    for name in ("old", "new"):
        root = Path(django_settings.LOCAL_ROOTS[0]) / tmp_path.name / name
        root.mkdir(parents=True)
        made.append(storages.create(Project.objects.get(), StorageSpec(name, "local", {"root": str(root)})).pk)
    return made


@pytest.fixture
def complaints() -> list[str]:
    """Errors of scripts, and answers that pages should not get."""
    return []


@pytest.fixture
def screen(administrator: str, gateway: Gateway, complaints: list[str]) -> Iterator[Page]:
    """A page of Debian's Chromium that is signed in. No test may ask the database while it is open."""
    chromium = find_program("chromium", package="chromium")
    with sync_playwright() as driver, driver.chromium.launch(executable_path=chromium, args=_FLAGS) as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(_PATIENCE)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=gateway.url)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{gateway.url}/admin")
        page.get_by_label("Username").fill(administrator)
        page.get_by_label("Password").fill(_PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{gateway.url}/admin/")
        yield page
        context.close()


def test_from_a_first_storage_to_a_revoked_alias(
    screen: Page, complaints: list[str], tmp_path: Path, gateway: Gateway
) -> None:
    root = Path(django_settings.LOCAL_ROOTS[0]) / tmp_path.name
    root.mkdir(parents=True)

    expect(screen.get_by_text("No storage yet.")).to_be_visible()
    screen.get_by_role("link", name="Add the first one").click()
    screen.get_by_role("link", name="Local folder").click()
    screen.get_by_role("textbox", name="Name").fill("disk")
    screen.get_by_label("Capacity").fill("1 GiB")
    screen.get_by_label("Root").fill("/nowhere")
    screen.get_by_role("button", name="Save").click()
    expect(screen.get_by_text("Below /")).to_be_visible()
    screen.get_by_label("Root").fill(str(root))
    screen.get_by_role("button", name="Save").click()

    expect(screen.get_by_text("Not tested yet.")).to_be_visible()
    screen.get_by_role("link", name="Test connection").click()
    screen.get_by_role("button", name="Run the test").click()
    expect(screen.get_by_text("The storage disk passed all")).to_be_visible()
    expect(screen.locator("#test .wb-step-ok").first).to_be_visible()

    screen.goto(f"{gateway.url}/admin/staging/bucket/add/")
    screen.get_by_role("textbox", name="Name").fill("runs")
    screen.get_by_role("button", name="Save").click()
    expect(screen.get_by_text("The bucket runs was created.")).to_be_visible()

    screen.goto(f"{gateway.url}/admin/staging/alias/add/")
    screen.get_by_label("Bucket").select_option(label="runs")
    screen.get_by_role("textbox", name="Key").fill("results/a table.csv")
    screen.get_by_label("Direction").select_option("write")
    screen.get_by_role("button", name="Save").click()
    copy_curl = screen.locator("[data-copy=alias-curl]")
    copy_curl.click()
    expect(copy_curl).to_have_text("Copied")
    line = screen.evaluate("navigator.clipboard.readText()")
    (tmp_path / "a table.csv").write_text("1,2,3\n")
    assert subprocess.run(line, shell=True, cwd=tmp_path, timeout=60).returncode == 0

    screen.get_by_role("link", name="Revoke").click()
    screen.get_by_role("button", name="Revoke").click()
    expect(screen.get_by_text("The alias was revoked.")).to_be_visible()
    # The line itself would try again for a while, as it does after every error.
    once = ["curl", "-fsS", "-T", "a table.csv", shlex.split(line)[-1]]
    assert subprocess.run(once, cwd=tmp_path, capture_output=True, timeout=60).returncode == 22

    screen.goto(f"{gateway.url}/admin/staging/object/?q=runs/results/")
    screen.get_by_role("link", name="runs/results/a table.csv").click()
    expect(screen.get_by_text("6 B", exact=True)).to_be_visible()
    expect(screen.locator(".field-state_badge", has_text="available").first).to_be_visible()
    assert complaints == []


def test_a_folder_is_browsed_copied_and_kept(
    disks: list[int], screen: Page, complaints: list[str], gateway: Gateway, tmp_path: Path
) -> None:
    """From a bucket's form, which asks only for what its write mode needs, to a page that follows what goes on."""
    screen.goto(f"{gateway.url}/admin/staging/bucket/add/")
    screen.get_by_label("Storage").first.select_option(label="new: tier 2")
    screen.get_by_role("textbox", name="Name").fill("runs")
    expect(screen.get_by_label("Flushed within")).to_be_hidden()
    screen.get_by_role("radio", name="Back:").check()
    expect(screen.get_by_label("Flushed within")).to_be_visible()
    screen.get_by_role("radio", name="Through:").check()
    screen.get_by_role("button", name="Save").click()
    screen.goto(f"{gateway.url}/admin/staging/alias/add/")
    screen.get_by_label("Bucket").select_option(label="runs")
    screen.get_by_role("textbox", name="Key").fill("in/x")
    screen.get_by_label("Direction").select_option("write")
    screen.get_by_role("button", name="Save").click()
    (tmp_path / "x").write_text("x")
    to = screen.locator("#alias-url").inner_text()
    assert subprocess.run(["curl", "-fsS", "-T", tmp_path / "x", to], capture_output=True, timeout=60).returncode == 0

    screen.goto(f"{gateway.url}/admin/staging/bucket/")
    screen.get_by_role("row", name="runs").get_by_role("link", name="Browse").click()
    screen.get_by_role("link", name="in/").click()
    folder = screen.url
    screen.get_by_role("link", name="Make a checkpoint").click()
    screen.get_by_role("textbox", name="Name").fill("kept")
    screen.get_by_role("button", name="Save").click()
    expect(screen.get_by_text("1 of 1 objects")).to_be_visible()
    screen.get_by_role("link", name="Restore").click()
    screen.get_by_role("button", name="Restore it").click()
    expect(screen.get_by_text("The restore is done")).to_be_visible()

    screen.goto(folder)
    screen.get_by_role("link", name="Copy or move this folder").click()
    screen.get_by_label("To the bucket").select_option(label="~old")
    screen.get_by_label("Key or folder").last.fill("out/")
    screen.get_by_role("button", name="Save").click()
    badge = screen.locator("[data-live^=state]")
    expect(badge).to_have_text("running")
    # Somebody else stops it.
    elsewhere = screen.context.new_page()
    elsewhere.goto(screen.url)
    elsewhere.get_by_role("link", name="Stop").click()
    elsewhere.get_by_role("button", name="Stop it").click()
    expect(elsewhere.get_by_text("The copy is cancelled.")).to_be_visible()
    expect(badge).to_have_text("cancelled")
    expect(screen.get_by_role("link", name="Go on")).to_be_visible()
    assert complaints == []


def test_a_drain_asks_where_to_in_its_dialog(
    disks: list[int], screen: Page, complaints: list[str], gateway: Gateway
) -> None:
    screen.goto(f"{gateway.url}/admin/staging/storage/{disks[0]}/change/")
    screen.get_by_role("link", name="Drain…").click()
    screen.get_by_label("To").select_option(label="new: tier 2")
    screen.get_by_label("Deadline").fill("soon")
    screen.get_by_role("button", name="Drain").click()
    expect(screen.get_by_text("Write a time like")).to_be_visible()
    screen.get_by_label("Deadline").fill("2 h")
    screen.get_by_role("button", name="Drain").click()
    expect(screen.get_by_text("The storage old is being drained to new.")).to_be_visible()
    expect(screen.locator("#drain")).to_contain_text("Nothing of managed buckets is left here.")
    assert complaints == []


def test_pages_fit_a_narrow_dark_screen(screen: Page, complaints: list[str], gateway: Gateway) -> None:
    screen.set_viewport_size({"width": 390, "height": 900})
    screen.emulate_media(color_scheme="dark")
    models = (
        "alias",
        "apikey",
        "bucket",
        "checkpoint",
        "copyjob",
        "credential",
        "event",
        "object",
        "project",
        "storage",
        "transfer",
        "upload",
    )
    forms = ("alias", "apikey", "bucket", "checkpoint", "copyjob")
    adds = (*(f"{form}/add/" for form in forms), "storage/add/?scheme=s3", "credential/add/?scheme=sftp")
    for address in ("", *(f"staging/{model}/" for model in models), *(f"staging/{add}" for add in adds)):
        screen.goto(f"{gateway.url}/admin/{address}")
        expect(screen.locator("html")).to_have_class("dark")
        assert screen.evaluate("document.documentElement.scrollWidth") <= 390, address
    assert complaints == []
