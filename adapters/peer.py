"""A storage of another node, through that node's gateway: what lies on its disk or in its memory, from everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from adapters.base import (
    Adapter,
    CheckStep,
    Field,
    Listed,
    ObjectStat,
    Prefix,
    ReadStream,
    Traits,
    Unfinished,
    Unreachable,
    WriteMode,
    WriteSession,
)
from adapters.errors import AdapterError
from adapters.peer_calls import PeerCalls
from adapters.peer_protocol import TOLD, stat_of
from adapters.peer_write import PeerWrite
from adapters.tokens import WriteToken
from adapters.web_errors import translated
from adapters.web_read import WebRead
from adapters.web_settings import Origin, root_uri

#: Longer than the other gateway's own silence may be, and shorter than clients wait.
_STALL_TIMEOUT_S = 30
_MAX_CONNECTIONS = 64


class PeerAdapter(Adapter):
    """Each call is one to the node's gateway, whose own adapter does it: guarantees and versions are that one's.

    ``traits`` are those of local folders, the only storages that belong to nodes.
    """

    scheme = "peer"
    title = "Storage of another node"
    fields = (
        Field("url", "string", "The internal URL of the node's gateway", required=True),
        Field("node", "string", "The node's name", required=True),
        Field("number", "integer", "The storage's number in the catalog", required=True),
        Field("connect_timeout_s", "integer", "Seconds for connecting", default=5),
        Field("stall_timeout_s", "integer", "Seconds without any progress", default=_STALL_TIMEOUT_S),
        Field("secret", "text", "What gateways of one installation know each other by", required=True, secret=True),
    )
    traits = Traits(atomic_create=True, atomic_replace=True, resumes=True, strong_versions=True)

    def __init__(self, name: str, calls: PeerCalls) -> None:
        self.name = name
        self._calls = calls

    @classmethod
    def build(cls, name: str, options: Mapping[str, object], credential: Mapping[str, str]) -> Self:
        origin = Origin.read(name, {**options, "max_connections": _MAX_CONNECTIONS}, {})
        node, number, secret = str(options["node"]), int(str(options["number"])), credential["secret"]
        return cls(name, PeerCalls(origin, node=node, number=number, secret=secret))

    @classmethod
    def base_uri(cls, options: Mapping[str, object]) -> str:
        return root_uri(options)

    def stat(self, key: str) -> ObjectStat:
        return self._stat(self._calls.ask("stat", {"key": key}, key=key), key)

    def open_read(self, key: str, start: int = 0, stop: int | None = None, *, version: str | None = None) -> ReadStream:
        return self._open("read", {"key": key, "start": start, "stop": stop, "version": version}, key)

    def open_write(self, key: str, *, size: int | None, mode: WriteMode = WriteMode.CREATE) -> WriteSession:
        told = self._calls.ask("begin", {"key": key, "size": size, "mode": mode.value}, key=key)
        return PeerWrite(self._calls, key, self._text(told, "token"), 0, size)

    def resume_write(self, token: str) -> WriteSession:
        parsed = WriteToken.parse(token, storage=self.name)
        told = self._calls.ask("resume", {"token": token}, key=parsed.key)
        return PeerWrite(self._calls, parsed.key, token, self._number(told, "offset"), parsed.size)

    def read_unfinished(self, token: str) -> ReadStream:
        return self._open("read_unfinished", {"token": token}, WriteToken.parse(token, storage=self.name).key)

    def unfinished_writes(self, key: str) -> list[str]:
        found = self._calls.ask("unfinished_writes", {"key": key}, key=key).get("tokens")
        if not isinstance(found, list):
            raise self._calls.nonsense(key)
        return [str(token) for token in found]

    def scan_unfinished(self, folder: str) -> Iterator[Unfinished]:
        """The node's gateway tells of some hundred at most; what is behind these is found once they are gone."""
        told = self._calls.ask("scan_unfinished", {"folder": folder}, key=folder)
        for line in told.get("items", []):
            stat = self._stat(line, folder)
            yield Unfinished(stat.version, stat.key, stat.size, stat.modified)

    def abort_write(self, token: str) -> None:
        self._calls.ask("abort_write", {"token": token}, key=WriteToken.parse(token, storage=self.name).key)

    def delete(self, key: str) -> None:
        self._calls.ask("delete", {"key": key}, key=key)

    def scan(self, prefix: str = "", *, after: str = "", recursive: bool = True) -> Iterator[Listed]:
        """A page at a time: the connection is nobody's while the caller works."""
        while True:
            told = self._calls.ask("scan", {"prefix": prefix, "after": after, "recursive": recursive}, key=prefix)
            for line in told.get("items", []):
                item = self._item(line, prefix)
                after = item.key
                yield item
            if not told.get("more"):
                return

    def check(self) -> list[CheckStep]:
        try:
            steps = self._calls.ask("check", {})["steps"]
            return [CheckStep(str(one["step"]), bool(one["ok"]), str(one["detail"])) for one in steps]
        except AdapterError as exc:
            return [CheckStep("node", False, f"its gateway does not answer for it: {exc}")]
        except (KeyError, TypeError):
            return [CheckStep("node", False, "its gateway answered something else")]

    def close(self) -> None:
        self._calls.close()

    def free_bytes(self) -> int:
        return self._number(self._calls.ask("free_bytes", {}), "bytes")

    def copy_within(self, source: str, token: WriteToken) -> ObjectStat:
        told = self._calls.ask("copy_within", {"source": source, "token": str(token)}, key=source)
        return self._stat(told, token.key)

    def _open(self, operation: str, question: Mapping[str, object], key: str) -> ReadStream:
        with translated(self.name, key):
            exchange = self._calls.begin(operation, question)
            try:
                told = self._calls.parsed(self._calls.finish(exchange, key).header(TOLD), key)
                start, stop = self._number(told, "start"), self._number(told, "stop")
                if exchange.length() != stop - start:
                    raise self._calls.nonsense(key)
                return WebRead(self.name, self._stat(told, key), start, stop, exchange, skip=0)
            except BaseException:
                exchange.drop()
                raise

    def _item(self, told: Mapping[str, Any], prefix: str) -> Listed:
        if "unreachable" in told:
            return Unreachable(str(told["unreachable"]), str(told.get("why", "")))
        return Prefix(str(told["prefix"])) if "prefix" in told else self._stat(told, prefix)

    def _stat(self, told: Mapping[str, Any], key: str) -> ObjectStat:
        try:
            return stat_of(told)
        except (KeyError, TypeError, ValueError) as exc:
            raise self._calls.nonsense(key) from exc

    def _number(self, told: Mapping[str, Any], name: str) -> int:
        found = told.get(name)
        if not isinstance(found, int):
            raise self._calls.nonsense()
        return found

    def _text(self, told: Mapping[str, Any], name: str) -> str:
        found = told.get(name)
        if not isinstance(found, str):
            raise self._calls.nonsense()
        return found
