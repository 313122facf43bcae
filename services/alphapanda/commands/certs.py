"""`alphapanda certs`: certificates for trying TLS, and what a certificate says."""

from __future__ import annotations

from pathlib import Path

import click

from alphapanda.commands.console import USAGE, fail, out


@click.group()
def certs() -> None:
    """Make certificates for trying TLS; show what a certificate says."""


@certs.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="how long they are valid"
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="another name or address of the servers; repeatable  [default: localhost, 127.0.0.1, ::1, this machine's]",
)
def dev(folder: Path, days: int, hosts: tuple[str, ...]) -> None:
    """Make a certificate authority in FOLDER, and certificates for servers, clients and each service.

    An authority that is there is used again, and its certificates are renewed: what runs takes them over.
    """
    from alphapanda.commands.making_certs import make_certificates
    from alphapanda.domain.errors import InvalidInput

    try:
        lines = make_certificates(folder.expanduser(), days, hosts)
    except InvalidInput as error:
        fail(str(error), USAGE)
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


@certs.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def show(file: Path) -> None:
    """Show whom a certificate (PEM) stands for, who signed it, and until when it is valid."""
    from alphapanda.domain.errors import InvalidInput
    from alphapanda.mesh.certificates import certificate_facts

    try:
        facts = certificate_facts(file.expanduser().read_bytes(), "FILE", str(file))
    except (InvalidInput, OSError) as error:
        fail(str(error), USAGE)
    for name, value in (
        ("subject", facts.subject or "-"),
        ("issuer", facts.issuer or "-"),
        ("names", ", ".join(facts.names) or "-"),
        ("URIs", ", ".join(facts.uris) or "-"),
        ("valid", f"{facts.not_before:%d %b %Y %H:%M} to {facts.not_after:%d %b %Y %H:%M} UTC"),
    ):
        out.print(f"{name:8} {value}", markup=False, soft_wrap=True)
