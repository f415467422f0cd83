"""Trying, step by step, all that Waybill needs of a WebDAV server, with the remedy for each step that fails."""

from __future__ import annotations

import secrets
from contextlib import suppress

from adapters.base import Adapter, CheckStep, WriteMode
from adapters.errors import AccessDenied, AdapterError, AlreadyExists
from adapters.web_check import Trial, reach, run
from adapters.web_client import WebClient
from adapters.web_errors import translated
from adapters.webdav_look import WebDavLook

_CONTENT = b"Waybill was here"


def check(adapter: Adapter, client: WebClient, look: WebDavLook) -> list[CheckStep]:
    """As ``Adapter.check``. Leaves nothing there."""
    trial = _Trials(adapter, client, look)
    try:
        return run(
            (
                *reach(client.origin),
                Trial(
                    "list",
                    trial.see_root,
                    "check the url and the credential; a server that does not answer PROPFIND has WebDAV off for this"
                    " folder (Apache: Dav On; nginx: dav_ext_methods PROPFIND of the module http-dav-ext)",
                ),
                Trial(
                    "write",
                    trial.write,
                    "check that this user may PUT below the url, that MKCOL and MOVE are allowed, and that there is"
                    " space; a server behind a proxy that ends TLS must take a Destination that begins with the url"
                    " (Apache: RequestHeader edit Destination)",
                ),
                Trial("read", trial.read, "check that no proxy in between changes what is read, or its ETag"),
                Trial("create", trial.create, "use a server that refuses a MOVE onto what exists with Overwrite: F"),
                Trial("replace", trial.replace, "allow PUT over what exists, and MOVE with Overwrite: T"),
                Trial("delete", trial.delete, "allow DELETE below the url"),
            )
        )
    finally:
        trial.clean_up()


class _Trials:
    def __init__(self, adapter: Adapter, client: WebClient, look: WebDavLook) -> None:
        self._adapter = adapter
        self._client = client
        self._look = look
        self._folder = f"waybill-check-{secrets.token_hex(8)}"
        self._key = f"{self._folder}/probe é%"
        self._wrote = False

    def see_root(self) -> str:
        self._look.refuse_lost_root()
        next(iter(self._look.list_keys("")), None)
        free = None
        with suppress(AdapterError):  # Not every server has a word for what it has no number of.
            free = self._look.free_bytes()
        return "PROPFIND lists the folder" + ("" if free is None else f"; {free} bytes are free")

    def write(self) -> str:
        self._wrote = True
        found = "a folder was made, and a file in it written"
        self._store(self._key, WriteMode.CREATE)
        hidden = f"{self._folder}/.hidden"
        self._store(hidden, WriteMode.CREATE)
        if hidden not in [item.key for item in self._adapter.scan(f"{self._folder}/")]:
            found += "; the server lists no name that begins with a dot, not even those of unfinished writes"
        try:
            self._store(f"{self._folder}/html", WriteMode.CREATE)
        except AccessDenied:
            found += (
                "; it refuses names that begin with 'ht', because it hides those of their partials"
                " (Apache: allow '.ht' names for this folder)"
            )
        return found

    def read(self) -> str:
        stat = self._adapter.stat(self._key)
        with self._adapter.open_read(self._key, 3, 9, version=stat.version) as stream:
            if stream.read() != _CONTENT[3:9]:
                raise AdapterError("what was read is not what was written", storage=self._adapter.name, key=self._key)
        how = "entity tags" if stat.version.startswith("e:") else "times and sizes, because PROPFIND tells no ETag"
        return f"a range of it was read back; versions are known by {how}"

    def create(self) -> str:
        with suppress(AlreadyExists):
            self._store(self._key, WriteMode.CREATE)
            raise AdapterError(
                "the server moves onto an existing name in spite of Overwrite: F", storage=self._adapter.name
            )
        return "MOVE with Overwrite: F refuses what exists; of two creators at the same moment the later one may win"

    def replace(self) -> str:
        self._store(self._key, WriteMode.REPLACE)
        if not self._adapter.traits.atomic_replace:
            return (
                "an object is replaced by MOVE, at least where its size is not known before: readers may miss it for a"
                " moment, and a server that crashes then leaves the new one as an unfinished write"
            )
        return "PUT replaces in one step, and a body that breaks off leaves what was there"

    def delete(self) -> str:
        self._adapter.delete(self._key)
        self._look.refuse_lost_root()
        if self._look.find(self._key) is not None:
            raise AdapterError("what was deleted is still there", storage=self._adapter.name, key=self._key)
        return "the file was deleted"

    def clean_up(self) -> None:
        """Remove the folder with all that is in it: it is of our own making."""
        if self._wrote:
            with suppress(AdapterError), translated(self._adapter.name):
                path = f"{self._client.origin.path(self._folder)}/"
                self._client.tell("DELETE", path, 200, 204, 404)

    def _store(self, key: str, mode: WriteMode) -> None:
        with self._adapter.open_write(key, size=len(_CONTENT), mode=mode) as session:
            session.write(_CONTENT)
            session.publish()
