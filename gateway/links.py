"""The URLs that are given out, and the command lines that use them."""

import shlex
from urllib.parse import quote

from django.conf import settings

from staging import aliases
from staging.models import Alias
from staging.states import AliasMode

#: What makes curl persist on a flaky network and give up on a dead one (HTTP-CONTRACT, "What a wrapper runs").
CURL = (
    "curl -fsS --retry 10 --retry-all-errors --retry-connrefused --retry-max-time 3600"
    " --speed-limit 1024 --speed-time 120"
)


def alias_url(alias: Alias) -> str:
    """The alias's whole URL, secret included: for its owner only, never for a log."""
    slash = "/" if AliasMode(alias.mode).is_prefix else ""
    return f"{settings.PUBLIC_URL}/a/{aliases.token_of(alias)}/{quote(aliases.file_name(alias), safe='')}{slash}"


def curl_line(alias: Alias) -> str:
    """The command that a job runs, for pasting into a shell. It holds the URL, so it is as secret."""
    mode = AliasMode(alias.mode)
    if mode.is_prefix:
        url = alias_url(alias)
        return f"{CURL} -O {shlex.quote(f'{url}FILE')}" if mode.reads else f"{CURL} -T FILE {shlex.quote(url)}"
    name = aliases.file_name(alias)
    # A file called "-" would be standard input, and curl expands brackets in the name of a file to upload.
    path = f"./{name}" if name.startswith("-") else name
    expands = "--globoff " if set(name) & set("[]{}") else ""
    option = "-o" if mode.reads else "-T"
    return f"{CURL} {expands}{option} {shlex.quote(path)} {shlex.quote(alias_url(alias))}"
