"""Credentials: sealed, rotated, shown to nobody."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet
from pytest_django import Settings

from staging import credentials, reading, storages
from staging.errors import InUse, InvalidRequest, NameTaken, StorageUnusable
from staging.models import Credential, Event, Project, Storage
from staging.storages import StorageSpec
from tests.place import Place
from tests.servers.sshd import Sshd
from tests.staging.bodies import KEY, put

SECRETS = {"password": "correct horse", "passphrase": "battery staple"}


def test_what_is_kept_is_sealed_and_only_names_are_readable(project: Project) -> None:
    credential = credentials.create(project, "login", SECRETS)
    row = repr(Credential.objects.values_list().get()) + repr(list(Event.objects.values_list()))
    assert not [secret for secret in SECRETS.values() if secret in row]
    assert credential.field_names == ["passphrase", "password"]
    assert credentials.unseal(Credential.objects.get()) == SECRETS


def test_a_credential_needs_a_free_name_and_a_secret(project: Project) -> None:
    credentials.create(project, "login", SECRETS)
    with pytest.raises(NameTaken):
        credentials.create(project, "login", SECRETS)
    for name, secrets in (("Not a name", SECRETS), ("empty", {})):
        with pytest.raises(InvalidRequest):
            credentials.create(project, name, secrets)
    assert Credential.objects.count() == 1


def test_the_newest_key_seals_and_the_older_ones_open_until_all_are_sealed_anew(
    project: Project, settings: Settings
) -> None:
    credential = credentials.create(project, "login", SECRETS)
    settings.SECRET_KEYS = [Fernet.generate_key().decode(), *settings.SECRET_KEYS]
    assert credentials.unseal(credential) == SECRETS
    assert credentials.reseal_all() == 1
    settings.SECRET_KEYS = settings.SECRET_KEYS[:1]
    credential.refresh_from_db()
    assert credentials.unseal(credential) == SECRETS
    settings.SECRET_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(InvalidRequest, match="login"):
        credentials.unseal(credential)


def test_a_rotation_reaches_adapters_that_are_in_use(sftp_place: Place, sshd: Sshd) -> None:
    put(sftp_place, b"before")
    before = storages.adapter_for(sftp_place.storage)
    credential = sftp_place.storage.credential
    assert credential
    storages.rotate(credential, {"private_key": sshd.locked_key_file.read_text(), "passphrase": sshd.passphrase})
    credential.refresh_from_db()
    assert (credential.revision, credential.rotated_at is None) == (2, False)
    sftp_place.storage.refresh_from_db()
    assert storages.adapter_for(sftp_place.storage) is not before
    assert put(sftp_place, b"before").replayed
    put(sftp_place, b"after", key="d/after")
    with pytest.raises(InvalidRequest):
        storages.rotate(credential, {"colour": "red"})
    credential.refresh_from_db()
    assert credentials.unseal(credential)["passphrase"] == sshd.passphrase


def test_a_rotation_breaks_no_stream_and_nothing_new_uses_the_old_secrets(sftp_place: Place, sshd: Sshd) -> None:
    def keys_used(since: int) -> set[str]:
        return set(re.findall(r"Accepted publickey for .* (SHA256:\S+)", sshd.log.read_text()[since:]))

    beginning = len(sshd.log.read_text())
    data = os.urandom(8_000_000)
    put(sftp_place, data)
    read_before = Storage.objects.select_related("credential").get(pk=sftp_place.storage.pk)
    found = reading.find(sftp_place.alias(KEY))
    with reading.open_stream(found, 0, found.size) as stream:
        begun = stream.read()
        before, rotation = keys_used(beginning), len(sshd.log.read_text())
        assert read_before.credential
        changed = {"private_key": sshd.locked_key_file.read_text(), "passphrase": sshd.passphrase}
        storages.rotate(Credential.objects.get(pk=read_before.credential.pk), changed)
        with ThreadPoolExecutor(4) as threads:
            new = storages.adapter_for(Storage.objects.get(pk=read_before.pk))
            stats = threads.map(lambda _: new.stat(found.copies[0].replica.key).size, range(8))
            assert set(stats) == {len(data)}
        assert storages.adapter_for(read_before) is new, "a row from before the rotation does not bring them back"
        assert begun + b"".join(iter(stream.read, b"")) == data
    after = keys_used(rotation)
    assert (len(before), len(after), before & after) == (1, 1, set())


def test_a_credential_in_use_stays(project: Project, sftp_place: Place) -> None:
    credential = sftp_place.storage.credential
    assert credential
    with pytest.raises(InUse, match="far"):
        credentials.delete(credential)
    free = credentials.create(project, "free", SECRETS)
    credentials.delete(free)
    assert not Credential.objects.filter(name="free").exists()


def test_secrets_of_another_project_cannot_be_used(project: Project, sftp_place: Place) -> None:
    other = Project.objects.create(name="other")
    spec = StorageSpec("theft", "sftp", sftp_place.storage.options, credential=sftp_place.storage.credential)
    with pytest.raises(InvalidRequest, match="credential"):
        storages.create(other, spec)
    assert not other.storages.exists()


def test_a_key_that_is_missing_from_the_ring_is_an_operators_trouble_and_no_jobs(
    sftp_place: Place, settings: Settings
) -> None:
    ring, settings.SECRET_KEYS = settings.SECRET_KEYS, [Fernet.generate_key().decode()]
    with pytest.raises(StorageUnusable, match="WAYBILL_SECRET_KEYS") as refused:
        put(sftp_place, b"x")
    assert refused.value.transient
    settings.SECRET_KEYS = ring
    assert not put(sftp_place, b"x").replayed
