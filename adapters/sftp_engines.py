"""Choosing who speaks SSH: the ssh program of this machine, or paramiko."""

from __future__ import annotations

from adapters.errors import AdapterError
from adapters.sftp_endpoint import Endpoint, Engine, Session
from adapters.sftp_openssh import OpensshSession
from adapters.sftp_paramiko import ParamikoSession
from adapters.sftp_program import obstacle


def start_session(endpoint: Endpoint) -> Session:
    """A session of the engine that ``chosen_engine`` says; raises what that and making the session raise."""
    if chosen_engine(endpoint) is Engine.OPENSSH:
        return OpensshSession(endpoint)
    return ParamikoSession(endpoint)


def chosen_engine(endpoint: Endpoint) -> Engine:
    """PARAMIKO or OPENSSH. Raises AdapterError where OPENSSH is demanded and this machine does not allow it."""
    if endpoint.engine is Engine.PARAMIKO or endpoint.private_key is None:
        return Engine.PARAMIKO
    hindered = obstacle()
    if hindered is None:
        return Engine.OPENSSH
    if endpoint.engine is Engine.AUTO:
        return Engine.PARAMIKO
    detail = f"the engine openssh is demanded, but {hindered}; or set the engine to auto or paramiko"
    raise AdapterError(detail, storage=endpoint.storage)
