"""A package to the BioImage Model Zoo, as its own scripts do it: a staged draft, its files, a request for review.

    read    the collection                who reviews, and so may change the draft
    create  a draft                       under a name that the zoo draws; the manifest is rdf.yaml, its status `draft`
    put_file, PUT                         each file, byte for byte: no program writes rdf.yaml anew
    list_files                            all have arrived, in full
    edit    the status                    `in-review`; a curator publishes it

What has arrived is written down beside the package, so that an upload that breaks off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cosdd_zoo.data.beside import beside
from cosdd_zoo.errors import PackageError, UploadError
from cosdd_zoo.export.archive import Archive, open_archive
from cosdd_zoo.export.check import check
from cosdd_zoo.inference.progress import steps
from cosdd_zoo.zoo.store import COLLECTION, Interrupted, Rehearsal, Store

ALIAS = "{animal_adjective}-{animal}"
"""From which the zoo makes a model's name."""
DRAFT, IN_REVIEW = "draft", "in-review"
EXAMPLE_ACCOUNT = "octocat"
_KEPT = ("id", "id_emoji", "uploader")
"""What the zoo's page writes into a manifest, beside the description."""
_REVIEWS = ("rw", "rw+")
_TRIES = 3


class Uploaded(NamedTuple):
    artifact_id: str
    status: str  # draft or in-review
    n_sent: int  # files that were sent now
    n_files: int

    @property
    def page(self) -> str:
        """Where its maker looks at it and goes on with it."""
        return f"https://bioimage.io/#/upload?artifact_id={self.artifact_id}&stage=true"


class Journal(NamedTuple):
    """How far an upload has come, in a file beside the package."""

    server: str
    artifact_id: str
    package_sha256: str
    arrived: tuple[str, ...] = ()
    status: str = ""  # of a finished one


def upload(
    path: str | Path,
    store: Store,
    *,
    artifact_id: str = "",
    draft: bool = False,
    confirm: Callable[[], None] | None = None,
    quiet: bool = False,
    pause_s: float = 2.0,
) -> Uploaded:
    """Upload a package, or go on with it. artifact_id: a draft whose files are replaced; by default a new one is made,
    or that of an upload that broke off. draft: do not ask for a review yet. confirm: called once the package is found
    fit, before anything is sent. pause_s: before a file that did not get through is sent again.

    Raises PackageError for a package that the zoo would not take, and UploadError for what the store refuses.
    """
    path = Path(path)
    rehearsed = isinstance(store, Rehearsal)
    check_for_the_zoo(path)
    if confirm:
        confirm()
    with open_archive(path) as archive:
        rdf = archive.description()
        journal = _begun(path, store, artifact_id, rehearsed)
        if journal is None:
            journal = Journal(store.server, _created(store, rdf), _digest(path))
            _write(path, journal, rehearsed)
        journal, n_sent = _send_all(archive, store, journal, rehearsed, quiet, pause_s)
    status = DRAFT if draft else IN_REVIEW
    _describe(store, journal.artifact_id, rdf, status)
    _write(path, journal._replace(status=status), rehearsed)
    return Uploaded(journal.artifact_id, status, n_sent, len(journal.arrived))


def check_for_the_zoo(path: Path) -> None:
    """Raises PackageError for a package that the zoo's own tests or its reviewers would refuse."""
    report = check(path, ["zoo"])
    if not report.passed:
        said = "; ".join(dict.fromkeys(f"{f.rule}: {f.detail}" for f in report.failures)) or "it cannot be run here"
        raise PackageError(f"{path.name} was not uploaded, since the zoo would not take it ({said}).")
    with open_archive(path) as archive:
        rdf = archive.description()
    people = [*rdf.get("authors", []), *rdf.get("maintainers", [])]
    accounts = {str(p.get("github_user")).lower() for p in people if p.get("github_user")}
    if accounts == {EXAMPLE_ACCOUNT}:
        raise PackageError(
            f"{path.name} was not uploaded: its only github_user is {EXAMPLE_ACCOUNT}, GitHub's example account. Put "
            f"yours into the model card and export again."
        )


def journal_path(path: Path) -> Path:
    """The file beside a package that says how far its upload has come."""
    return path.with_name(f"{path.name}.upload.json")


def _begun(path: Path, store: Store, artifact_id: str, rehearsed: bool) -> Journal | None:
    """The upload to go on with: one that broke off, or the draft that was asked for. None: a new one is to be made."""
    known, digest = None if rehearsed else _read(path), _digest(path)
    if artifact_id:
        _restage(store, artifact_id)
        same = known is not None and known[:3] == (store.server, artifact_id, digest) and not known.status
        journal = known if same and known else Journal(store.server, artifact_id, digest)
        _write(path, journal, rehearsed)
        return journal
    if known is None:
        return None
    file = journal_path(path).name
    if known.server != store.server:
        raise UploadError(f"{file} tells of an upload to {known.server}: remove it to begin one to {store.server}.")
    if known.status or known.package_sha256 != digest:
        what = "was uploaded already" if known.status else "has changed since its upload began"
        raise UploadError(
            f"{path.name} {what}, as {known.artifact_id}: replace that one's files with --id {known.artifact_id}, or "
            f"remove {file} to upload a further model."
        )
    return known


def _created(store: Store, rdf: Mapping[str, Any]) -> str:
    """A draft of a name that the zoo draws, which its reviewers may change."""
    permissions = store.call("read", artifact_id=COLLECTION).get("config", {}).get("permissions") or {}
    reviewers = {who: "rw+" for who, what in permissions.items() if what in _REVIEWS and who not in ("*", "@")}
    made = store.call(
        "create",
        parent_id=COLLECTION,
        alias=ALIAS,
        type="model",
        manifest={**rdf, "status": DRAFT},
        config={"permissions": reviewers},
        stage=True,
        overwrite=False,
    )
    return str(made["id"])


def _restage(store: Store, artifact_id: str) -> None:
    """A published or discarded model takes files only once it is a draft again."""
    found = store.call("read", artifact_id=artifact_id, stage=True)
    if found.get("staging") is None:
        store.call("edit", artifact_id=artifact_id, stage=True, manifest={**found["manifest"], "status": DRAFT})


def _send_all(
    archive: Archive, store: Store, journal: Journal, rehearsed: bool, quiet: bool, pause_s: float
) -> tuple[Journal, int]:
    """Sends what has not arrived, takes away what the package does not have, and looks whether all is there."""
    sizes = {name: archive.zip.getinfo(name).file_size for name in archive.names}
    there = _listed(store, journal.artifact_id)
    done = [name for name in journal.arrived if there.get(name) == sizes.get(name)]
    wanted = [name for name in sizes if name not in done]
    journal = journal._replace(arrived=tuple(done))
    with steps("upload", sum(sizes[name] for name in wanted), quiet or rehearsed) as advance:
        for name in wanted:
            _send(store, journal.artifact_id, name, archive.read(name), advance, pause_s)
            journal = journal._replace(arrived=(*journal.arrived, name))
            _write(archive.path, journal, rehearsed)
    for name in set(there) - set(sizes):
        store.call("remove_file", artifact_id=journal.artifact_id, file_path=name)
    there = _listed(store, journal.artifact_id)
    if short := [name for name, size in sizes.items() if there.get(name) != size]:
        raise UploadError(f"{', '.join(short)} did not arrive in full: run the command again.")
    return journal, len(wanted)


def _send(
    store: Store, artifact_id: str, name: str, data: bytes, advance: Callable[[float], None], pause_s: float
) -> None:
    weight = int(name.startswith("weights."))
    for left in range(_TRIES - 1, -1, -1):
        sent = 0.0

        def counted(amount: float) -> None:
            nonlocal sent
            sent += amount
            advance(amount)

        try:
            url = store.call("put_file", artifact_id=artifact_id, file_path=name, download_weight=weight)
            store.put(str(url), name, data, counted)
        except Interrupted as error:
            advance(-sent)
            if not left:
                raise UploadError(f"{error} Run the command again: what has arrived is not sent twice.") from None
            time.sleep(pause_s)
        else:
            return


def _listed(store: Store, artifact_id: str) -> dict[str, int]:
    """Names and sizes of the files that have arrived; packages are flat."""
    found = store.call("list_files", artifact_id=artifact_id, stage=True, limit=1000)
    return {str(f["name"]): int(f["size"]) for f in found if f.get("type") == "file"}


def _describe(store: Store, artifact_id: str, rdf: Mapping[str, Any], status: str) -> None:
    """The draft's manifest: the description, and what the zoo itself has written there."""
    manifest = store.call("read", artifact_id=artifact_id, stage=True)["manifest"]
    kept = {key: manifest[key] for key in _KEPT if key in manifest}
    store.call("edit", artifact_id=artifact_id, stage=True, manifest={**kept, **rdf, "status": status})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> Journal | None:
    file = journal_path(path)
    if not file.exists():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return Journal(**{**values, "arrived": tuple(values["arrived"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise UploadError(f"{file.name} cannot be read: remove it to begin a new upload.") from None


def _write(path: Path, journal: Journal, rehearsed: bool) -> None:
    if rehearsed:
        return
    with beside(journal_path(path), overwrite=True) as part:
        part.write_text(json.dumps(journal._asdict(), indent=2), encoding="utf-8")
