"""The zoo's real server, Hypha, on this machine alone: its artifact manager, and an S3 store that checks signatures.

    python serve.py S3RVER.js       prints one line of JSON once it is ready, and stops when its standard input ends

{"server", "tokens": {"uploader", "other", "expired"}}. The collection is like the zoo's: everybody reads, whoever has
logged in makes drafts. Run by the Python of an environment with tests/zoo/requirements.txt: `make test` makes one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

logging.basicConfig(stream=sys.stderr, level=logging.ERROR)  # before hypha_rpc, which would take standard output
SECRET = secrets.token_hex(16)
os.environ["HYPHA_JWT_SECRET"] = os.environ["JWT_SECRET"] = (
    SECRET  # before hypha is imported: tokens are signed with it
)
ROOT_TOKEN = "".join(secrets.choice("bcdfghjkmnpqrtvwxz") for _ in range(40))  # it refuses easy ones
NAMES = {
    "animal_adjective": ["affable", "brave", "calm", "dapper", "eager", "fancy", "gentle", "humble"],
    "animal": ["shark", "otter", "falcon", "lynx", "panda", "crab", "heron", "newt"],
}
ANYBODY = ["read", "get_file", "list", "list_files", "draft", "create"]


def main(s3rver: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hypha-") as folder:
        s3, server = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        children = [start_s3(s3rver, s3, folder), start_hypha(server, s3, folder)]
        try:
            wait(f"{server}/health/readiness", children)
            print(json.dumps({"server": server, "tokens": asyncio.run(settled(server))}), flush=True)
            sys.stdin.read()
        finally:
            for child in reversed(children):
                child.terminate()
                child.wait(20)


def start_s3(s3rver: str, url: str, folder: str) -> subprocess.Popen[bytes]:
    port = url.rpartition(":")[2]
    return started(["node", s3rver, "-d", f"{folder}/s3", "-a", "127.0.0.1", "-p", port], folder, "s3")


def start_hypha(url: str, s3: str, folder: str) -> subprocess.Popen[bytes]:
    options = {
        "host": "127.0.0.1", "port": url.rpartition(":")[2], "public-base-url": url, "root-token": ROOT_TOKEN,
        "endpoint-url": s3, "endpoint-url-public": s3, "access-key-id": "S3RVER", "secret-access-key": "S3RVER",
        "region-name": "us-east-1", "s3-admin-type": "generic", "cache-dir": f"{folder}/cache",
        "database-uri": f"sqlite+aiosqlite:///{folder}/hypha.db", "executable-path": f"{folder}/bin",
    }  # fmt: skip
    flags = ["--enable-s3", "--disable-agent-skills", *(f"--{name}={value}" for name, value in options.items())]
    return started([sys.executable, "-m", "hypha.server", *flags], folder, "hypha")


def started(command: list[str], folder: str, name: str) -> subprocess.Popen[bytes]:
    with (Path(folder) / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait(url: str, children: list[subprocess.Popen[bytes]]) -> None:
    for _ in range(600):
        if any(child.poll() is not None for child in children):
            raise SystemExit("a server ended before it was ready")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"{url} did not answer")


async def settled(url: str) -> dict[str, str]:
    """The zoo's workspace and collection, and tokens of three users."""
    from hypha_rpc import connect_to_server

    async with connect_to_server({"server_url": url, "token": ROOT_TOKEN}) as server:
        workspace = {"name": "bioimage-io", "description": "as the zoo's", "persistent": True, "owners": ["root"]}
        await server.create_workspace(workspace, overwrite=True)
        store = await server.get_service("public/artifact-manager")
        await store.create(
            alias="bioimage.io",
            workspace="bioimage-io",
            type="collection",
            manifest={"name": "as the zoo's", "description": "of a test"},
            config={"permissions": {"*": "r", "@": ANYBODY, "a-reviewer": "rw+"}, "id_parts": NAMES},
        )
    return {
        "uploader": await token("uploader"), "other": await token("other"), "expired": await token("uploader", 1),
    }  # fmt: skip


async def token(user: str, seconds: int = 3600) -> str:
    from hypha.core import UserInfo, UserPermission
    from hypha.core.auth import create_scope, generate_auth_token

    scope = create_scope(workspaces={f"ws-user-{user}": UserPermission.admin})
    email = f"{user}@example.org"
    who = UserInfo(id=user, is_anonymous=False, email=email, parent=None, roles=[], scope=scope, expires_at=None)
    return str(await generate_auth_token(who, seconds))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


if __name__ == "__main__":
    main(sys.argv[1])
