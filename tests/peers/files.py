"""OpenSSH (SFTP), vsftpd (FTP and FTPS, LIST only) and pyftpdlib (FTP with MLSD)."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.adapters.certificates import Authority
from tests.peers.process import Server, need

__all__ = ["OpenSsh", "PyFtpd", "Vsftpd"]


class OpenSsh(Server):
    """SFTP for the account of the tests by the key ``client``; ``files`` is the folder."""

    package = "openssh-server"

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def account(self) -> str:
        return pwd.getpwuid(os.geteuid()).pw_name

    def prepare(self) -> None:
        self.files.mkdir()
        keygen = need("ssh-keygen", "openssh-client")
        for name in ("host", "client", "stranger"):
            self.run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        shutil.copy(self.folder / "client.pub", self.folder / "authorized")
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:* {kind} {key}\n")
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nForceCommand internal-sftp\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)

    def command(self) -> Sequence[str]:
        return [need("sshd", self.package), "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def _signal(self, number: signal.Signals) -> None:
        """Sessions are processes of their own, and their environment is not that of the server."""
        sessions = _descendants(self._process.pid) if self._process is not None else []
        super()._signal(number)
        for process in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    @property
    def fingerprint(self) -> str:
        listed = self.run(need("ssh-keygen", "openssh-client"), "-lf", str(self.folder / "host.pub"))
        return listed.split()[1]


def _descendants(process: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == process:
                    found += [int(entry.name), *_descendants(int(entry.name))]
    return found


class Vsftpd(Server):
    """User ``anonymous`` with password ``secret`` (others are refused); ``files`` is the folder ``up`` there."""

    package = "vsftpd"
    implicit = False

    @property
    def files(self) -> Path:
        return self.folder / "root" / "up"

    def prepare(self) -> None:
        account = pwd.getpwnam("ftp")
        self.files.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(self.files, account.pw_uid, account.pw_gid)
        for parent in self.files.resolve().parents:
            if parent.owner() == "root" and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        (self.folder / "empty").mkdir(mode=0o755)
        (self.folder / "passwords").write_text("secret\n")
        Authority(self.folder, "ca").issue("server", "127.0.0.1", "localhost")
        (self.folder / "vsftpd.conf").write_text(
            f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={self.port}\nbackground=NO\nwrite_enable=YES\n"
            "anonymous_enable=YES\nlocal_enable=NO\nsecure_email_list_enable=YES\nconnect_from_port_20=NO\n"
            f"email_password_file={self.folder / 'passwords'}\nanon_root={self.folder / 'root'}\n"
            "anon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n"
            "anon_world_readable_only=NO\nanon_umask=022\nseccomp_sandbox=NO\ndelay_failed_login=0\nanon_max_rate=40000000\n"
            f"secure_chroot_dir={self.folder / 'empty'}\nssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\n"
            f"force_anon_data_ssl=YES\nrequire_ssl_reuse=YES\nimplicit_ssl={'YES' if self.implicit else 'NO'}\n"
            f"rsa_cert_file={self.folder / 'server.pem'}\nrsa_private_key_file={self.folder / 'server.key'}\n"
        )

    def command(self) -> Sequence[str]:
        return [need("vsftpd", self.package), str(self.folder / "vsftpd.conf")]


_PYFTPD = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, ThrottledDTPHandler
from pyftpdlib.servers import FTPServer
users = DummyAuthorizer()
users.add_user("hub", "secret", sys.argv[2], perm="elradfmwMT")
class Handler(FTPHandler):
    authorizer = users
    encoding = sys.argv[3]
    auth_failed_timeout = 0
    dtp_handler = type("Slow", (ThrottledDTPHandler,), {"read_limit": 4_000_000})
    masquerade_address = "192.0.2.1"  # as behind NAT: an address nobody can reach
FTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class PyFtpd(Server):
    """User ``hub`` with password ``secret``, not encrypted, behind what looks like NAT."""

    package = "(pip) pyftpdlib"
    encoding = "utf-8"

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def prepare(self) -> None:
        self.files.mkdir()

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", _PYFTPD, str(self.port), str(self.files), self.encoding]
