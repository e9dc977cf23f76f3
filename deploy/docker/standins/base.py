"""The stand-in's base: a minimal Debian 13 made by mmdebstrap from the machine's own package sources.

The certificates that the machine trusts go in, with the variables by which Python, curl and npm find them: what runs
in a container or in a build then reaches what the machine reaches. Addresses are read from apt's configuration when
this runs; none is written anywhere but into the image.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

SUITE = "trixie"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
VARIABLES = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    *(
        f"{name}={CERTIFICATES}"
        for name in (
            "SSL_CERT_FILE",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_cafile",
        )
    ),
)
_UNWANTED = ("man", "doc", "locale", "info", "lintian")
_SETTLE = (
    'mkdir -p "$1/usr/local/share/ca-certificates"; '
    'cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true; '
    'chroot "$1" update-ca-certificates >/dev/null',
    'printf "force-unsafe-io\\n" > "$1/etc/dpkg/dpkg.cfg.d/in-a-container"; '
    'printf "APT::Install-Recommends false;\\nAcquire::Languages none;\\nAcquire::Check-Valid-Until false;\\n'
    'Dir::Cache::pkgcache \\"\\";\\nDir::Cache::srcpkgcache \\"\\";\\n'
    'DPkg::Post-Invoke { \\"rm -f /var/cache/apt/archives/*.deb\\"; };\\n" '
    '> "$1/etc/apt/apt.conf.d/in-a-container"',
    'rm -rf "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/var/log/*',
)
BUILD_S = 900.0


class BaseError(Exception):
    """The base cannot be made; one sentence."""


def make_base(tag: str, folder: Path) -> None:
    """Make a minimal Debian and import it as the image `tag`.

    Raises:
        BaseError: no package source is configured, mmdebstrap failed, or the engine refused the import.
    """
    archive = folder / "base.tar"
    _run("the base system", _bootstrap(archive, package_sources()))
    changes = [f"ENV {' '.join(VARIABLES)}", 'CMD ["bash"]', 'LABEL triage.standin="true"']
    options = [option for change in changes for option in ("--change", change)]
    _run("the import of the base image", ["docker", "import", *options, str(archive), tag])


def package_sources() -> tuple[str, str]:
    """Return where this machine gets Debian's packages and Debian's security updates from.

    Raises:
        BaseError: apt has no source of Debian's packages.
    """
    known = _debian_sources()
    if not known:  # on a new machine apt has its configuration, but no lists yet
        _run("reading the package lists", ["apt-get", "update", "-qq"])
        known = _debian_sources()
    main = next((uri for uri in known if "security" not in uri), None)
    if main is None:
        raise BaseError("apt knows no source of Debian's packages; stand-ins can be made on Debian only")
    return main, next((uri for uri in known if "security" in uri), main)


def _debian_sources() -> list[str]:
    listing = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [row[1] for row in rows if len(row) == 2 and row[0] == "Debian"]


def _bootstrap(archive: Path, sources: tuple[str, str]) -> list[str]:
    main, security = sources
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _UNWANTED]
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--include=ca-certificates,netbase",
        "--aptopt=Acquire::Check-Valid-Until false",
        "--aptopt=Acquire::Languages none",
        "--aptopt=Apt::Install-Recommends false",
        "--dpkgopt=force-unsafe-io",
        *left_out,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *(f"--customize-hook={command}" for command in _SETTLE),
        SUITE,
        str(archive),
        f"deb {main} {SUITE} main",
        *([f"deb {security} {SUITE}-security main"] if security != main else []),
        f"deb {main} {SUITE}-updates main",
    ]


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BaseError(f"{what} failed ({command[0]} ended with {done.returncode}): {reason}")
