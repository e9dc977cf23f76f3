"""The stack's keys: list versions, rotate."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.subjects import CHANNELS, ROLES, channels_of
from harness import rotation
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, out
from harness.site import deployment

app = typer.Typer(help="Keys of the signed envelopes.", no_args_is_help=True)


@app.command(name="list")
def list_(json_: Json = False) -> None:
    """List key versions and which role holds which channel's key. Never shows a key."""
    ring = deployment(home()).ring()
    held = {role: list(channels_of(role)) for role in ROLES}
    if json_:
        emit_json({"current": ring.current, "versions": list(ring.versions), "roles": held})
        return
    out.print(f"current version {ring.current}; accepted: {', '.join(str(version) for version in ring.versions)}")
    if ring.versions[-1] > ring.current:
        out.print(f"version {ring.versions[-1]} signs nothing yet: finish its rotation with: triage keys rotate")
    for role, channels in held.items():
        held_by = "every channel" if set(channels) == set(CHANNELS) else ", ".join(channels)
        out.print(f"  {role:<10} {held_by}")


@app.command()
def rotate(
    json_: Json = False,
    force: Annotated[
        bool, typer.Option("--force", help="Drop the oldest version even if messages signed with it may be due.")
    ] = False,
    announce: Annotated[
        bool, typer.Option("--announce", help="Write nothing; tell the roles that their files were changed.")
    ] = False,
) -> None:
    """Make a new key version that every role signs with; the two before are still accepted. Takes some seconds."""
    rotated = run(lambda: rotation.announce(home()) if announce else rotation.rotate(home(), force=force))
    if json_:
        emit_json({"current": rotated.current, "told": rotated.told})
    else:
        end = "every role was told" if rotated.told else "nobody could be told, roles find it in their files"
        out.print(f"key version {rotated.current} is current; {end}")
