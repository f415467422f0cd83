"""How a client of the stand-in begins: start-up, the agreement on TLS, and logins of both generations."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from tests.servers.irods.frames import Frame, Gone, Refused, element, receive, send

INVALID_PASSWORD, INVALID_USER, PAM_FAILED = -826_000, -827_000, -993_000
NOT_LOGGED_IN, NEGOTIATION_FAILED = -13_000, -1_832_000
#: Passwords that PAM gave out; a client of an old release uses its own on another connection.
_temporary: set[str] = set()


def start(line: socket.socket, settings: Mapping[str, Any], tls: ssl.SSLContext) -> tuple[socket.socket, str]:
    """The line to go on with, encrypted where both sides want it, and the user and zone that the client named."""
    frame = receive(line)
    if frame.kind != "RODS_CONNECT":
        raise Gone
    name = f"{frame.text('clientUser')}#{frame.text('clientRcatZone')}"
    policy, encrypt = settings["tls_policy"], False
    if "request_server_negotiation" in frame.text("option"):
        send(line, "RODS_CS_NEG_T", 0, element("CS_NEG_PI", status=1, result=policy))
        result = receive(line).text("result")
        if "CS_NEG_FAILURE" in result:
            raise Gone
        encrypt = "CS_NEG_USE_SSL" in result
    elif policy == "CS_NEG_REQUIRE":
        send(line, "RODS_VERSION", NEGOTIATION_FAILED)
        raise Gone
    version = {"status": 0, "relVersion": f"rods{settings['release']}", "apiVersion": "d"}
    more = {"reconnPort": 0, "reconnAddr": "", "cookie": 400}
    send(line, "RODS_VERSION", 0, element("Version_PI", **version, **more))
    if encrypt:
        line = tls.wrap_socket(line, server_side=True)
        receive(line)  # how the client would encrypt parallel transfers
        if receive(line).kind != "SHARED_SECRET":
            raise Gone
    return line, name


class Login:
    """Whether a connection is logged in, and the calls with which it becomes so."""

    def __init__(self, settings: Mapping[str, Any], name: str, *, encrypted: bool) -> None:
        self._settings = settings
        self._name = name
        self._encrypted = encrypted
        self._challenge = secrets.token_hex(32)
        self.is_in = False

    def call(self, frame: Frame) -> str:
        """The body of the answer to a call that belongs to a login."""
        match frame.number:
            case 110_000:
                return self._step(frame)
            case 703:
                challenge = base64.b64encode(self._challenge.encode()).decode()
                return element("authRequestOut_PI", challenge=challenge)
            case 704:
                self._prove(base64.b64decode(frame.text("response")), f"{frame.text('username')}#{self._zone()}")
                return ""
            case 1201:
                given = dict(pair.split("=", 1) for pair in frame.text("context_").split(";"))
                return element("authPlugReqOut_PI", result_=self._temporary(given["a_pw"]))
        raise Refused(NOT_LOGGED_IN)

    def _zone(self) -> str:
        return self._name.partition("#")[2]

    def _step(self, frame: Frame) -> str:
        request = json.loads(base64.b64decode(frame.text("buf")))
        answer = dict(request)
        if request["next_operation"] == "auth_agent_auth_response":
            self._prove(base64.b64decode(request["digest"]), f"{request['user_name']}#{request['zone_name']}")
        elif request["scheme"] == "pam_password":
            answer["request_result"] = self._temporary(request["a_pw"])
        else:
            answer["request_result"] = self._challenge
        packed = json.dumps(answer).encode() + b"\0"
        return element("BinBytesBuf_PI", buflen=len(packed), buf=base64.b64encode(packed).decode())

    def _temporary(self, password: str) -> str:
        """A password for one native login, in exchange for the one that PAM knows."""
        if not self._encrypted or password != self._settings["password"]:
            raise Refused(PAM_FAILED)
        fresh = secrets.token_hex(8)
        _temporary.add(fresh)
        return fresh

    def _prove(self, response: bytes, name: str) -> None:
        if name != self._name or name != f"{self._settings['user']}#{self._settings['zone']}":
            raise Refused(INVALID_USER)
        if response not in map(self._digest, (str(self._settings["password"]), *_temporary)):
            raise Refused(INVALID_PASSWORD)
        self.is_in = True

    def _digest(self, password: str) -> bytes:
        padded = password.encode().ljust(50, b"\0")
        return hashlib.md5(self._challenge.encode() + padded).digest().replace(b"\0", b"\1")
