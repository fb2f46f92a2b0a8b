"""Who uploads: a token from the environment, or from the zoo's own page, on which its user logs in.

GET {server}/public/services/hypha-login/start     -> a page to open, and a key
GET {server}/public/services/hypha-login/check     -> the token, once somebody has logged in on that page
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import httpx

from cosdd_zoo.errors import UploadError
from cosdd_zoo.zoo.store import checked_server

VARIABLES = ("HYPHA_TOKEN", "BIOIMAGEIO_HYPHA_UPLOAD_TOKEN")
"""Where the zoo's scripts and bioimageio.spec look for a token."""
WAIT_S = 180
"""As long as the server keeps a key."""


def token_of_environment() -> str:
    """The token, or nothing."""
    return next((value for name in VARIABLES if (value := os.environ.get(name, "").strip())), "")


def log_in(server: str, show: Callable[[str], None], wait_s: float = WAIT_S, pause_s: float = 1.0) -> str:
    """Shows the page on which to log in and waits for the token. Raises UploadError when nobody does, or no page is."""
    service = f"{checked_server(server)}/public/services/hypha-login"
    try:
        with httpx.Client(timeout=30) as client:
            begun = client.get(f"{service}/start")
            begun.raise_for_status()
            page, key = begun.json()["login_url"], begun.json()["key"]
            show(page)
            ends = time.monotonic() + wait_s
            while time.monotonic() < ends:
                answer = client.get(f"{service}/check", params={"key": key, "timeout": 0})
                answer.raise_for_status()
                if token := answer.json():
                    return str(token)
                time.sleep(pause_s)
    except (httpx.HTTPError, KeyError, ValueError) as error:
        kind = type(error).__name__
        raise UploadError(
            f"The login page of {server} cannot be had ({kind}): try later, or put a token into {VARIABLES[0]}."
        ) from None
    raise UploadError(f"Nobody logged in within {wait_s:.0f} seconds: run the command again.")
