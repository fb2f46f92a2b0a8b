"""`cosdd-zoo upload` against the zoo's own server, Hypha, started here with a store that checks signatures: every file
arrives byte for byte, what breaks off goes on, and the token is in nothing that is printed or written.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from exported import changed, contents, described, zipped
from typer.testing import CliRunner

from cosdd_zoo.cli import app
from cosdd_zoo.errors import ConfigError, CosddError, PackageError, UploadError
from cosdd_zoo.zoo.login import log_in
from cosdd_zoo.zoo.store import COLLECTION, SERVICE, Hypha, Interrupted, checked_server
from cosdd_zoo.zoo.upload import journal_path, upload

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".hypha" / "venv" / "bin" / "python"
S3RVER = ROOT / ".hypha" / "node_modules" / "s3rver" / "bin" / "s3rver.js"


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, Any]]:
    """A running server: {"server", "tokens": {"uploader", "other", "expired"}}."""
    if not (PYTHON.exists() and S3RVER.exists()):
        pytest.skip("the zoo's server is not installed: `make .hypha/ready` does it, and needs npm")
    process = subprocess.Popen(
        [PYTHON, "-W", "ignore", ROOT / "tests" / "zoo" / "serve.py", S3RVER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout and process.stdin
    line = process.stdout.readline()
    if not line:
        pytest.fail(f"the zoo's server did not start: {process.communicate()[1][-2000:]}")
    yield json.loads(line)
    process.communicate("", timeout=60)


@pytest.fixture
def store(zoo: dict[str, Any]) -> Iterator[Hypha]:
    with Hypha(zoo["tokens"]["uploader"], zoo["server"]) as opened:
        yield opened


@pytest.fixture
def model(package: Path, tmp_path: Path) -> Path:
    """A package with an account that could be somebody's."""
    return changed(package, tmp_path / "model.zip", {}, people)


@pytest.fixture
def few(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four files of it, taken for fit: what the check finds has tests of its own."""
    monkeypatch.setattr("cosdd_zoo.zoo.upload.check_for_the_zoo", lambda path: None)
    names = ("rdf.yaml", "weights.pt", "cover.png", "README.md")
    return zipped(tmp_path / "few.zip", {name: contents(model)[name] for name in names})


def people(rdf: dict[str, Any]) -> None:
    rdf["maintainers"] = [{"github_user": "ada-lovelace"}]


def staged(store: Hypha, artifact_id: str) -> dict[str, bytes]:
    """The files of a draft, as its reviewers get them."""
    found = {}
    for file in store.call("list_files", artifact_id=artifact_id, stage=True, limit=1000):
        url = store.call("get_file", artifact_id=artifact_id, file_path=file["name"], stage=True)
        found[file["name"]] = httpx.get(url).content
    return found


class BreaksOff(Hypha):
    """A connection that is lost at some files, for some of the times that they are sent."""

    def __init__(self, token: str, server: str, losses: dict[str, int]) -> None:
        super().__init__(token, server)
        self.losses, self.sent = losses, list[str]()

    def put(self, url: str, name: str, data: bytes, advance: Callable[[float], None]) -> None:
        if self.losses.get(name, 0):
            self.losses[name] -= 1
            super().put(url, name, data[: len(data) // 2], advance)  # half of it arrives
            raise Interrupted(f"{name} did not arrive (cable).")
        self.sent.append(name)
        super().put(url, name, data, advance)


def test_every_file_arrives_as_it_is_and_a_review_is_asked_for(store: Hypha, model: Path, few: Path) -> None:
    done = upload(model, store, quiet=True)
    assert done.status == "in-review"
    assert done.n_sent == done.n_files == len(contents(model))
    assert staged(store, done.artifact_id) == contents(model)
    found = store.call("read", artifact_id=done.artifact_id, stage=True)
    assert found["manifest"] == {**described(model), "status": "in-review"}
    assert found["config"]["permissions"]["a-reviewer"] == "rw+"
    assert found["staging"] is not None and not found["versions"]  # nothing is published by us
    assert done.page == f"https://bioimage.io/#/upload?artifact_id={done.artifact_id}&stage=true"


def test_a_draft_asks_for_no_review(store: Hypha, few: Path) -> None:
    done = upload(few, store, draft=True, quiet=True)
    assert store.call("read", artifact_id=done.artifact_id, stage=True)["manifest"]["status"] == "draft"


def test_a_file_that_does_not_get_through_is_sent_again(zoo: dict[str, Any], few: Path) -> None:
    with BreaksOff(zoo["tokens"]["uploader"], zoo["server"], {"weights.pt": 2}) as store:
        done = upload(few, store, quiet=True, pause_s=0)
        assert staged(store, done.artifact_id) == contents(few)


def test_an_upload_that_breaks_off_goes_on_where_it_was(zoo: dict[str, Any], few: Path) -> None:
    with BreaksOff(zoo["tokens"]["uploader"], zoo["server"], {"cover.png": 3}) as store:
        with pytest.raises(UploadError, match=r"cover.png did not arrive .*what has arrived is not sent twice"):
            upload(few, store, quiet=True, pause_s=0)
        first = list(store.sent)
        begun = json.loads(journal_path(few).read_text())
        assert begun["arrived"] == first and not begun["status"]
        done = upload(few, store, quiet=True, pause_s=0)
        assert done.artifact_id == begun["artifact_id"]
        assert sorted(store.sent) == sorted(contents(few))  # each of them once
        assert staged(store, done.artifact_id) == contents(few)


def test_what_was_uploaded_is_replaced_only_when_that_is_said(store: Hypha, few: Path, package: Path) -> None:
    done = upload(few, store, quiet=True)
    with pytest.raises(UploadError, match=rf"was uploaded already, as {done.artifact_id}: replace .* --id"):
        upload(few, store, quiet=True)
    files = {**contents(few), "notes.txt": b"to be gone"}
    upload(zipped(few, files), store, artifact_id=done.artifact_id, quiet=True)
    assert "notes.txt" in staged(store, done.artifact_id)
    zipped(few, {**contents(few), "README.md": b"# New"})
    again = upload(few, store, artifact_id=done.artifact_id, quiet=True)
    assert again.artifact_id == done.artifact_id
    assert staged(store, done.artifact_id) == contents(few)


def test_a_package_that_changed_since_its_upload_began_is_not_mixed_with_it(
    zoo: dict[str, Any], few: Path, package: Path
) -> None:
    with BreaksOff(zoo["tokens"]["uploader"], zoo["server"], {"cover.png": 3}) as store:
        with pytest.raises(UploadError):
            upload(few, store, quiet=True, pause_s=0)
        zipped(few, {**contents(few), "README.md": b"# New"})
        with pytest.raises(UploadError, match="has changed since its upload began, as bioimage-io/"):
            upload(few, store, quiet=True, pause_s=0)


def test_what_the_zoo_refuses_is_a_sentence(zoo: dict[str, Any], few: Path, tmp_path: Path) -> None:
    def refused(token: str, **arguments: Any) -> str:
        with Hypha(token, zoo["server"]) as store, pytest.raises(UploadError) as caught:
            upload(few, store, quiet=True, **arguments)
        assert not token or token not in str(caught.value)
        return str(caught.value)

    tokens = zoo["tokens"]
    assert "the token has expired. Log in again" in refused(tokens["expired"])
    assert "the token is not accepted" in refused("nonsense")
    assert "there is no such model" in refused(tokens["uploader"], artifact_id="bioimage-io/nobodys-yak")
    with Hypha(tokens["uploader"], zoo["server"]) as store:
        done = upload(few, store, quiet=True)
    journal_path(few).unlink()
    assert "may not do that" in refused(tokens["other"], artifact_id=done.artifact_id)
    journal_path(few).unlink()
    with (
        Hypha(tokens["uploader"], "http://127.0.0.1:9") as store,
        pytest.raises(UploadError, match="cannot be reached"),
    ):
        upload(few, store, quiet=True)


def test_what_the_zoo_would_not_take_is_never_sent(package: Path, tmp_path: Path) -> None:
    with Hypha("a-token", "http://127.0.0.1:9") as store:
        with pytest.raises(PackageError, match="its only github_user is octocat, GitHub's example account"):
            upload(package, store)
        other = changed(package, tmp_path / "b.zip", {}, lambda rdf: rdf.pop("tags"))
        with pytest.raises(PackageError, match=r"b.zip was not uploaded, since the zoo would not take it \(tags:"):
            upload(other, store)


def test_a_token_goes_nowhere_in_the_clear() -> None:
    assert checked_server("https://hypha.aicell.io/") == "https://hypha.aicell.io"
    assert checked_server("http://127.0.0.1:8000") == "http://127.0.0.1:8000"
    for server in ("http://hypha.aicell.io", "hypha.aicell.io", "https://", "ftp://127.0.0.1"):
        with pytest.raises(ConfigError, match="the token would be sent for anybody to read"):
            checked_server(server)


def test_the_command_uploads_and_never_prints_the_token(
    zoo: dict[str, Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = zoo["tokens"]["uploader"]
    monkeypatch.setenv("HYPHA_TOKEN", token)
    run = ["upload", str(model), "--server", zoo["server"]]
    asked = CliRunner().invoke(app, run)
    assert isinstance(asked.exception, ConfigError) and "say --yes" in str(asked.exception)
    assert not journal_path(model).exists()
    done = CliRunner().invoke(app, [*run, "--yes"])
    assert done.exit_code == 0, done.output
    assert "(in-review; 10 of 10 files sent)" in done.stdout
    for text in (done.output, asked.output, journal_path(model).read_text()):
        assert token not in text and token[:20] not in text


def test_without_a_token_the_command_says_where_one_comes_from(
    zoo: dict[str, Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HYPHA_TOKEN", "BIOIMAGEIO_HYPHA_UPLOAD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, ["upload", str(model), "--server", zoo["server"], "--yes"])
    assert isinstance(result.exception, CosddError)
    assert "put one into HYPHA_TOKEN" in str(result.exception)


def test_somebody_logs_in_on_the_zoos_page(zoo: dict[str, Any]) -> None:
    """The page reports the token that its user has been given; here the test is that page."""
    service, token = f"{zoo['server']}/public/services/hypha-login", zoo["tokens"]["uploader"]

    def page(url: str) -> None:
        key = url.partition("key=")[2].partition("&")[0]
        reported = httpx.post(f"{service}/report", json={"key": key, "token": token})
        assert reported.status_code == 200, reported.text

    assert log_in(zoo["server"], page, wait_s=20, pause_s=0.1) == token
    with pytest.raises(UploadError, match="Nobody logged in within 0 seconds"):
        log_in(zoo["server"], lambda url: None, wait_s=0.3, pause_s=0.1)
    with pytest.raises(UploadError, match="cannot be had"):
        log_in("http://127.0.0.1:9", lambda url: None)


def test_a_dry_run_shows_every_request_and_sends_none(model: Path) -> None:
    run = [sys.executable, "-m", "cosdd_zoo", "upload", str(model), "--dry-run"]
    done = subprocess.run(run, capture_output=True, text=True, env={"PATH": "", "HYPHA_TOKEN": "secret-token"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    requests = [line.rpartition("/")[2] for line in lines if line.startswith("POST ")]
    n = len(contents(model))
    assert requests == ["read", "create", "list_files", *["put_file"] * n, "list_files", "read", "edit"]
    assert all(f"https://hypha.aicell.io/{SERVICE}/" in line for line in lines if line.startswith("POST "))
    assert len([line for line in lines if line.startswith("PUT ")]) == n
    assert f'"parent_id": "{COLLECTION}"' in done.stdout and '"status": "in-review"' in done.stdout
    assert "secret-token" not in done.stdout + done.stderr
    assert not journal_path(model).exists()
