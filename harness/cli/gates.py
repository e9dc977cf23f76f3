"""How gates are shown, and what becomes of a command whose gates do not hold."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cli.output import out
from harness.errors import NotVerifiedError
from harness.gates import Held


def show_gates(held: Sequence[Held]) -> None:
    """Show for each gate whether it holds, and against which figure."""
    for one in held:
        word, style = ("holds", "green") if one.ok else ("does NOT hold", "red")
        out.print(f"gate {one.gate.name}={one.gate.bound:g} {word}: {one.sentence}", markup=False, style=style)


def refuse_broken(held: Sequence[Held]) -> None:
    """Return if every gate holds.

    Raises:
        NotVerifiedError: names those that do not.
    """
    broken = [one.sentence for one in held if not one.ok]
    if broken:
        raise NotVerifiedError(f"{len(broken)} of {len(held)} gates do not hold: {'; '.join(broken)}")
