"""The stack's keys: list versions, rotate."""

from __future__ import annotations

import typer

from broker import keyring
from broker.contracts.control import Rotate
from broker.subjects import CHANNELS, ROLES, channels_of
from deploy.embedded.layout import Layout, layout
from harness.cli.context import Json, home, run
from harness.cli.output import emit_json, out
from harness.control import connect, passphrase
from harness.errors import StackDownError

app = typer.Typer(help="Keys of the signed envelopes.", no_args_is_help=True)


@app.command(name="list")
def list_(json_: Json = False) -> None:
    """List key versions and which role holds which channel's key. Never shows a key."""
    place = _place()
    ring = keyring.load(place.master_keys, passphrase(place))
    held = {role: list(channels_of(role)) for role in ROLES}
    if json_:
        emit_json({"current": ring.current, "versions": list(ring.versions), "roles": held})
        return
    out.print(f"current version {ring.current}; accepted: {', '.join(str(version) for version in ring.versions)}")
    for role, channels in held.items():
        held_by = "every channel" if set(channels) == set(CHANNELS) else ", ".join(channels)
        out.print(f"  {role:<10} {held_by}")


@app.command()
def rotate(json_: Json = False) -> None:
    """Make a new key version; every role signs with it at once and still accepts the one before."""
    place = _place()
    secret = passphrase(place)
    master = keyring.rotate(place.master_keys, secret)
    for role in ROLES:
        if place.role_keys(role).exists():
            keyring.derive_role_file(master, role, place.role_keys(role), secret)
    told = True
    try:
        run(lambda: _tell(master.current))
    except StackDownError:
        told = False  # roles read their files when they start
    if json_:
        emit_json({"current": master.current, "told": told})
    else:
        end = "; every role was told" if told else "; no stack is up, roles will read it when they start"
        out.print(f"key version {master.current} is current{end}")


def _place() -> Layout:
    place = layout(home())
    if not place.master_keys.exists():
        raise StackDownError(f"there are no keys under {place.root}; make them and a stack with: triage up")
    return place


async def _tell(version: int) -> None:
    async with connect(home()) as control:
        await control.say(Rotate(key_version=version))
