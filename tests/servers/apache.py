"""Apache with mod_dav on a free loopback port, plain or with TLS, and a temporary folder that it loses at the end."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.ports import free_port, is_listening
from tests.servers.process import Process, Server, find_program

#: Without the packages of the service, which nobody starts here.
APT_PACKAGES = ("apache2-bin",)

USER, PASSWORD = "waybill", "a password: with ümlauts"

_MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "dav", "dav_fs", "dir")
_MODULE_FOLDER = Path("/usr/lib/apache2/modules")

_CONFIG = """\
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/httpd.pid
DefaultRuntimeDir {folder}
Mutex pthread
ErrorLog {folder}/error.log
LogLevel warn
StartServers 1
ThreadsPerChild 32
MaxRequestWorkers 32
KeepAliveTimeout 60
{modules}
DocumentRoot {root}
DavLockDB {folder}/locks
{tls}
<Directory {root}>
    Dav {dav}
    AuthType Basic
    AuthName "tests"
    AuthUserFile {folder}/users
    {access}
</Directory>
{extra}
"""


@dataclass
class Apache(Server):
    """One Apache that serves its folder ``root``; ``url`` is the address of that.

    With ``password`` it asks for USER and PASSWORD. ``certificate`` is a PEM file with a key and its certificate, with
    which it speaks TLS. ``extra`` is more configuration, ``modules`` are those that it needs. Root starts it as an
    unprivileged user, who could perhaps not reach a folder of the caller's.
    """

    password: bool = False
    certificate: Path | None = None
    dav: str = "On"
    extra: str = ""
    modules: Sequence[str] = ()
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/"

    def launch(self) -> None:
        program = find_program("apache2", package="apache2-bin")
        self.folder = Path(tempfile.mkdtemp(prefix="apache-"))
        self.root = self.folder / "root"
        self.root.mkdir()
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        (self.folder / "users").write_text(f"{USER}:{{SHA}}{digest}\n")
        config = self.folder / "httpd.conf"
        config.write_text(self._config())
        command = [program, "-d", str(self.folder), "-f", str(config), "-D", "FOREGROUND"]
        if os.getuid() == 0:
            account = pwd.getpwnam("nobody")
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
            setpriv = find_program("setpriv", package="util-linux")
            identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            command = [setpriv, *identity, "--", *command]
        process = Process.start("apache2", command, log=self.folder / "apache.log")
        self.processes.append(process)
        process.wait_ready(lambda: is_listening(self.port), what=f"listening on port {self.port}")

    def stop(self) -> None:
        super().stop()
        self._remove()

    def kill(self) -> None:
        super().kill()
        self._remove()

    def _config(self) -> str:
        tls = ""
        modules = [*_MODULES, *self.modules]
        if self.certificate is not None:
            modules += ["socache_shmcb", "ssl"]
            copy = self.folder / "certificate.pem"
            shutil.copy(self.certificate, copy)
            tls = f"SSLEngine on\nSSLCertificateFile {copy}"
        return _CONFIG.format(
            folder=self.folder,
            port=self.port,
            root=self.root,
            dav=self.dav,
            extra=self.extra.replace("{root}", str(self.root)),
            tls=tls,
            access=f"Require user {USER}" if self.password else "Require all granted",
            modules="\n".join(f"LoadModule {name}_module {_MODULE_FOLDER}/mod_{name}.so" for name in modules),
        )

    def _remove(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)
