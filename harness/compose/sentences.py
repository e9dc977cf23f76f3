"""What Docker says when something is wrong, as one sentence of ours. Pure; the texts are those of engines 25 to 28."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import ConflictError, DockerError, HarnessError

TAIL_LINES = 12
"""How many lines of a build or of a container's log are shown with its failure."""
START_IT = "start it, or name another with DOCKER_HOST"

_PORT = re.compile(
    r"(?:listen tcp\d? |Bind for |failed to bind host port (?:for )?)"
    r"(?:[\d.]*|\[[^\]]*\]):(?P<number>\d+)(?:: bind| failed|[:/]\S*: address already in use)"
)
_UNHEALTHY = re.compile(r"container (?P<name>\S+) (?P<what>is unhealthy|exited \(\d+\))")
_GONE = re.compile(r"dependency failed to start: container (?P<name>\S+) (?P<what>is unhealthy|exited \(\d+\))")
_STEP = re.compile(r"^#\d+ \[(?P<image>[\w.-]+)(?: [^\]]*)?\]", re.MULTILINE)
_TARGET = re.compile(r"target (?P<image>[\w.-]+): failed to solve")
_FAILED_STEP = re.compile(r"^ > \[(?P<image>[\w.-]+)(?: [^\]]*)?\]", re.MULTILINE)
_NO_SUCH_IMAGE = re.compile(
    r"(?P<image>\S+): failed to resolve source metadata|load metadata for (?:docker\.io/(?:library/)?)?(?P<step>\S+)"
)
_PULL = re.compile(r"failed to do request|failed to resolve|pull access denied|registry-1|no such host|TLS handshake")
_NOISE = re.compile(r"^(#\d+ (DONE|CACHED|transferring|sha256)|-+$|#\d+ \[internal\])")


def engine_failure(text: str) -> HarnessError:
    """Return the error of an engine that cannot be spoken to, by what the docker program wrote."""
    if "permission denied" in text:
        where = _socket(text)
        return DockerError(
            f"the Docker socket {where} may not be read by this user; be root or a member of its group (often: docker)"
        )
    if "Cannot connect" in text or "no such host" in text or "refused" in text or "timeout" in text:
        return DockerError(f"no Docker engine answers at {_socket(text)}; {START_IT}")
    return DockerError(f"the Docker engine does not answer: {last_line(text)}; {START_IT}")


def build_failure(output: str, errors: str) -> HarnessError:
    """Return the error of an image that does not build: its name and the last lines of its build."""
    everything = f"{output}\n{errors}"
    found = _FAILED_STEP.search(everything) or _TARGET.search(everything)
    steps = [match["image"] for match in _STEP.finditer(output)]
    image = found["image"] if found else steps[-1] if steps else "an image"
    missing = _NO_SUCH_IMAGE.search(errors) if _PULL.search(errors) else None
    if missing:
        return missing_image(missing["image"] or missing["step"])
    return DockerError(f"the image of {image} does not build; the end of its build:{_tail(everything)}")


def missing_image(image: str) -> HarnessError:
    """Return the error of an image that is not here and cannot be pulled."""
    return DockerError(
        f"the image {image} is not here and no registry gives it; without a registry, `make images` builds a stand-in"
    )


@dataclass(frozen=True, slots=True)
class Sick:
    """A container that kept the stack from coming up."""

    name: str
    what: str


def sick_container(errors: str) -> Sick | None:
    """Return the container on which `compose up --wait` gave up, if it named one."""
    found = _GONE.search(errors) or _UNHEALTHY.search(errors)
    return Sick(found["name"], found["what"]) if found else None


def up_failure(errors: str, log: str = "") -> HarnessError:
    """Return the error of a stack that did not come up.

    Args:
        errors: what compose wrote to standard error.
        log: the log of the container that `sick_container` names.
    """
    taken = _PORT.search(errors)
    if taken:
        return ConflictError(
            f"port {taken['number']}, which the stack publishes on 127.0.0.1, is in use; stop what holds it, "
            "or publish another (the variables stand in docker-compose.yml)"
        )
    if sick := sick_container(errors):
        return DockerError(f"{sick.name} did not come up: it {sick.what}; the end of its log:{_tail(log)}")
    if _PULL.search(errors):
        pulling = re.search(r"^\s*(\S+) Error", errors, re.MULTILINE)
        return missing_image(f"of {pulling[1]}" if pulling else "that the stack needs")
    if "is already in use by container" in errors:
        return ConflictError(f"another stack holds a name that this one needs: {last_line(errors)}")
    return DockerError(f"the stack did not come up: {last_line(errors)}")


def last_line(text: str) -> str:
    """Return the last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    return "".join(f"\n  {line}" for line in lines[-TAIL_LINES:]) or " (empty)"


def _socket(text: str) -> str:
    found = re.search(r"((?:unix|tcp|ssh|npipe|https?)://[^\s:]+(?::\d+)?)", text)
    return found[1].rstrip(".") if found else "its socket"
