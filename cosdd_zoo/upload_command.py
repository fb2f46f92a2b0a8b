"""`cosdd-zoo upload`: a package to the BioImage Model Zoo, after a look at what will be sent and to whom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cosdd_zoo.options import Quiet

ID_HELP = "The draft whose files are replaced, as bioimage-io/affable-shark; by default a new one is made."
DRAFT_HELP = "Leave it a draft: ask for no review yet."
DRY_HELP = "Print every request instead of sending it; needs no account and no network."
SERVER_HELP = "The zoo's server, for a copy of it."


def upload(
    package: Annotated[Path, typer.Argument(help="The package (.zip) to upload.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help=DRY_HELP)] = False,
    draft: Annotated[bool, typer.Option("--draft", help=DRAFT_HELP)] = False,
    artifact: Annotated[str, typer.Option("--id", help=ID_HELP, show_default=False)] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before sending.")] = False,
    server: Annotated[str | None, typer.Option(help=SERVER_HELP)] = None,
    quiet: Quiet = False,
) -> None:
    """Upload a package to the BioImage Model Zoo and ask for its review. A second call goes on where one broke off.

    The token is taken from HYPHA_TOKEN or BIOIMAGEIO_HYPHA_UPLOAD_TOKEN; without one, a page to log in on is shown.
    """
    from cosdd_zoo import api
    from cosdd_zoo.zoo.store import SERVER, Rehearsal, checked_server
    from cosdd_zoo.zoo.upload import upload as send

    address = checked_server(server or SERVER)
    if dry_run:
        send(package, Rehearsal(address, typer.echo), artifact_id=artifact, draft=draft)
        return
    done = api.upload(
        package, token=_token(address), artifact_id=artifact, draft=draft, server=address, quiet=quiet,
        confirm=None if yes else lambda: _confirm(package, address),
    )  # fmt: skip
    typer.echo(f"{done.artifact_id}  ({done.status}; {done.n_sent} of {done.n_files} files sent)")
    typer.echo(f"Look at it and go on there: {done.page}")


def _confirm(package: Path, server: str) -> None:
    """Raises ConfigError where nobody can answer."""
    from cosdd_zoo.errors import ConfigError
    from cosdd_zoo.export.archive import open_archive

    with open_archive(package) as archive:
        rdf, size = archive.description(), package.stat().st_size / 1e6
    authors = ", ".join(str(a.get("name")) for a in rdf["authors"])
    typer.echo(f"{rdf['name']}, by {authors}, {rdf['license']}, {size:.1f} MB, to {server}.", err=True)
    if not sys.stdin.isatty():
        raise ConfigError("Nobody can be asked whether to send it: say --yes, or look at it with --dry-run.")
    typer.confirm("The zoo's reviewers will see it, and once it is published everybody. Send it?", abort=True, err=True)


def _token(server: str) -> str:
    """Raises ConfigError where there is none and nobody could log in."""
    from cosdd_zoo.errors import ConfigError
    from cosdd_zoo.zoo.login import VARIABLES, log_in, token_of_environment

    if token := token_of_environment():
        return token
    if not sys.stderr.isatty():
        raise ConfigError(f"There is no token: put one into {VARIABLES[0]}; https://bioimage.io gives them.")
    return log_in(server, lambda page: typer.echo(f"Log in on this page, then come back:\n{page}", err=True))
