"""The stand-in's process: ``python -m tests.servers.irods SETTINGS``, with a thread for each connection."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.servers.irods.agent import Agent
from tests.servers.irods.faults import Meeting
from tests.servers.irods.frames import Frame, Gone, Refused, receive, send
from tests.servers.irods.login import Login, start
from tests.servers.irods.store import Store

_FILE_ERROR = -510_000


def main(settings: Mapping[str, Any]) -> None:
    folder = Path(settings["folder"])
    store = Store(folder, settings["zone"], settings["resource"])
    for path in settings["collections"]:
        with suppress(Refused):  # It is there since an earlier start.
            store.make_collection(path, recursive=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(settings["certificate"])
    meeting = Meeting(folder)
    with socket.create_server(("127.0.0.1", settings["port"]), backlog=64) as listener:
        while True:
            line, _ = listener.accept()
            work = (line, settings, store, tls, meeting)
            threading.Thread(target=serve, args=work, daemon=True).start()


def serve(
    line: socket.socket, settings: Mapping[str, Any], store: Store, tls: ssl.SSLContext, meeting: Meeting
) -> None:
    agent = Agent(store)
    try:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line, name = start(line, settings, tls)
        login = Login(settings, name, encrypted=isinstance(line, ssl.SSLSocket))
        while (frame := receive(line)).kind == "RODS_API_REQ":
            _answer(line, frame, login, agent, meeting)
    except (Gone, OSError):
        pass  # Clients go as they please.
    finally:
        agent.leave()
        line.close()


def _answer(line: socket.socket, frame: Frame, login: Login, agent: Agent, meeting: Meeting) -> None:
    fault = meeting.meet(frame.number)
    act = fault.act if fault else ""
    if act == "cut":
        raise Gone
    try:
        if fault and act == "refuse":
            raise Refused(fault.code)
        if fault and act == "wait":
            time.sleep(fault.seconds)
        if login.is_in:
            number, body, data = agent.answer(frame, fault if act == "lie" else None)
        else:
            number, body, data = 0, login.call(frame), b""
            if login.is_in:
                print("let in", flush=True)
    except Refused as exc:
        number, body, data = exc.code, "", b""
    except OSError as exc:
        number, body, data = _FILE_ERROR - (exc.errno or 0), "", b""
    if act == "lose":
        raise Gone
    send(line, "RODS_API_REPLY", number, body, data)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
