"""Calls to the gateway of another node about one storage there: the question goes out, an answer or error comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adapters import peer_protocol
from adapters.errors import Unavailable
from adapters.peer_protocol import FAULT, PREFIX, QUESTION, SIGNATURE
from adapters.web_client import Exchange, WebClient
from adapters.web_errors import translated
from adapters.web_settings import Origin

#: No document is larger.
MOST_DOCUMENT_BYTES = 4 * 1024 * 1024
_OK = 200
_ANY = tuple(range(200, 600))


class PeerCalls:
    """One storage of one node, over bounded connections."""

    def __init__(self, origin: Origin, *, node: str, number: int, secret: str) -> None:
        self.storage = origin.storage
        self._root = f"{origin.root.rstrip('/')}{PREFIX}{number}/"
        self._prefix = f"{PREFIX}{number}/"
        self._node = node
        self._secret = secret
        self._client = WebClient(origin)

    def begin(self, operation: str, question: Mapping[str, object], *, body: str = "Content-Length: 0") -> Exchange:
        """Send the head of a call. Raises what connections raise, and Busy."""
        text = json.dumps(question)
        name, _, value = body.partition(": ")
        signature = peer_protocol.sign(self._secret, self._node, f"{self._prefix}{operation}", text)
        headers = {QUESTION: text, SIGNATURE: signature, name: value}
        return self._client.begin("POST", f"{self._root}{operation}", headers)

    def finish(self, exchange: Exchange, key: str) -> Exchange:
        """Wait for the answer; raises the AdapterError that it is."""
        exchange.finish(*_ANY)
        if exchange.status != _OK:
            raise peer_protocol.error_of(exchange.status, exchange.header(FAULT), storage=self.storage, key=key)
        return exchange

    def ask(self, operation: str, question: Mapping[str, object], *, key: str = "") -> dict[str, Any]:
        """A call whose answer is a small document. Raises only AdapterErrors."""
        with translated(self.storage, key), self.begin(operation, question) as exchange:
            return self.document(exchange, key)

    def document(self, exchange: Exchange, key: str) -> dict[str, Any]:
        """The answer's body, which is a document. Raises the AdapterError that it is."""
        self.finish(exchange, key)
        text = bytearray()
        while piece := exchange.read(MOST_DOCUMENT_BYTES):
            text += piece
            if len(text) > MOST_DOCUMENT_BYTES:
                raise self.nonsense(key)
        return self.parsed(text.decode(errors="replace"), key)

    def parsed(self, text: str, key: str) -> dict[str, Any]:
        """What the other gateway told. Raises Unavailable where that is nothing."""
        try:
            found = json.loads(text)
        except ValueError as exc:
            raise self.nonsense(key) from exc
        if not isinstance(found, dict):
            raise self.nonsense(key)
        return found

    def nonsense(self, key: str = "") -> Unavailable:
        """The error of an answer that is none of this protocol."""
        return Unavailable("the node's gateway answered something else", storage=self.storage, key=key)

    def close(self) -> None:
        self._client.close()
