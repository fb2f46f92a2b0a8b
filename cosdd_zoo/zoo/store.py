"""The zoo's store of models: Hypha's artifact manager, by its HTTP interface.

    POST {server}/public/services/artifact-manager/{function}      arguments as a JSON object, the token as a header
    PUT  {address that put_file answered}                          a file's bytes as they are, of no stated type

A model in the store is an artifact: a manifest (its description and a status) and files. Until it is published it is
staged: a draft that its maker and the zoo's reviewers see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from cosdd_zoo.errors import ConfigError, UploadError

SERVER = "https://hypha.aicell.io"
COLLECTION = "bioimage-io/bioimage.io"
SERVICE = "public/services/artifact-manager"
_CHUNK_BYTES = 2**18
_SECONDS = httpx.Timeout(60, read=300)  # an answer can wait for the store's own disk
_EXPIRED = "Log in again: unset HYPHA_TOKEN, or put a new token of https://bioimage.io into it."
_ANSWERS = (
    (r"token has expired", f"the token has expired. {_EXPIRED}"),
    (r"decoding token|[Aa]uthentication|Invalid token", f"the token is not accepted. {_EXPIRED}"),
    (r"create a draft", "this account may not add models to the zoo. Ask its maintainers for the right to."),
    (r"does not have permission", "this account may not do that. Log in as the one who made the draft."),
    (r"already exists", "the name is taken already. Try again: the zoo draws another one."),
    (r"does not exist", "there is no such model. Look at its name, or leave --id out for a new one."),
)


class Interrupted(UploadError):
    """A request that did not get through, and may the next time."""


class Store(Protocol):
    """What an upload asks of the store; the real one, or a rehearsal that prints."""

    server: str

    def call(self, function: str, **arguments: Any) -> Any:
        """The answer of one of the artifact manager's functions."""

    def put(self, url: str, name: str, data: bytes, advance: Callable[[float], None]) -> None:
        """Sends a file's bytes to the address that was given for it."""


class Hypha:
    """The real store. Its token is in no text that it makes."""

    def __init__(self, token: str, server: str = SERVER) -> None:
        """Raises ConfigError for a server to which the token would go in the clear."""
        self.server = checked_server(server)
        self._client = httpx.Client(timeout=_SECONDS, headers={"Authorization": f"Bearer {token}"})
        self._files = httpx.Client(timeout=_SECONDS)  # their addresses are signed; the token is not for them

    def __enter__(self) -> Hypha:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        self._files.close()

    def call(self, function: str, **arguments: Any) -> Any:
        """Raises UploadError with what the store answered, and Interrupted where it did not."""
        try:
            answer = self._client.post(f"{self.server}/{SERVICE}/{function}", json=arguments)
        except httpx.TransportError as error:
            raise Interrupted(f"{self.server} cannot be reached ({_kind(error)}): look at the network.") from None
        if answer.status_code != 200:
            raise UploadError(_refusal(function, answer))
        return answer.json()

    def put(self, url: str, name: str, data: bytes, advance: Callable[[float], None]) -> None:
        """Raises Interrupted where the file did not arrive, or its address is no longer valid."""
        headers = {"Content-Type": "", "Content-Length": str(len(data))}  # both are part of what was signed, or wanted
        try:
            answer = self._files.put(url, content=_chunks(data, advance), headers=headers)
        except httpx.TransportError as error:
            raise Interrupted(f"{name} did not arrive ({_kind(error)}).") from None
        if not answer.is_success:
            raise Interrupted(f"{name} was not taken (HTTP {answer.status_code}).")


def checked_server(server: str) -> str:
    """The server's address without its last slash. Raises ConfigError where a token would be sent in the clear."""
    address = urlsplit(server)
    loopback = address.hostname in ("127.0.0.1", "localhost", "::1")
    if not (address.scheme == "https" or (address.scheme == "http" and loopback)) or not address.hostname:
        raise ConfigError(f"--server {server} is not https://...: the token would be sent for anybody to read.")
    return server.rstrip("/")


class Rehearsal:
    """Prints each request and answers it as the store would, so that an upload can be looked at beforehand."""

    def __init__(self, server: str, say: Callable[[str], None]) -> None:
        self.server, self.say = checked_server(server), say
        self.sizes: dict[str, int] = {}
        self.manifest: dict[str, Any] = {}

    def call(self, function: str, **arguments: Any) -> Any:
        self.say(f"POST {self.server}/{SERVICE}/{function}\n{json.dumps(arguments, indent=2, ensure_ascii=False)}\n")
        self.manifest = arguments.get("manifest", self.manifest)
        one = {
            "id": arguments.get("artifact_id", f"{COLLECTION.partition('/')[0]}/NEW-NAME"),
            "manifest": self.manifest,
        }
        answers: dict[str, Any] = {
            "read": {**one, "staging": [], "config": {"permissions": {"THE-ZOOS-REVIEWERS": "rw+"}}},
            "create": one,
            "put_file": f"ADDRESS-OF/{arguments.get('file_path')}",
            "list_files": [{"type": "file", "name": n, "size": size} for n, size in self.sizes.items()],
        }
        return answers.get(function)

    def put(self, url: str, name: str, data: bytes, advance: Callable[[float], None]) -> None:
        self.say(f"PUT {url}\n{len(data):,} bytes of {name}\n")
        self.sizes[name] = len(data)
        advance(len(data))


def _chunks(data: bytes, advance: Callable[[float], None]) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        chunk = data[start : start + _CHUNK_BYTES]
        yield chunk
        advance(len(chunk))


def _refusal(function: str, answer: httpx.Response) -> str:
    """What the store answered, as a sentence; its own words where they are not known."""
    try:
        detail = str(answer.json().get("detail", ""))
    except (ValueError, AttributeError):
        detail = ""
    words = detail.removeprefix("RemoteException: ").strip().splitlines()
    said = words[-1] if words else f"HTTP {answer.status_code}"
    known = next((sentence for pattern, sentence in _ANSWERS if re.search(pattern, detail)), "")
    return f"The zoo refused to {function.replace('_', ' ')}: {known or said}"


def _kind(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
