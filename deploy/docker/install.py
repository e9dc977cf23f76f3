"""`install.py SOURCE TARGET`: put the project's packages where an image's Python finds them, compiled.

What a package installer would do with a plain tree, without one in the image: sources, bytecode (the file system is
read-only at run time), the name and version that `importlib.metadata` reads, and the console scripts.
"""

from __future__ import annotations

import compileall
import shutil
import sys
import tomllib
from pathlib import Path

SCRIPT = """#!/opt/venv/bin/python
import sys
from {module} import {function}
sys.exit({function}())
"""


def install(source: Path, target: Path) -> None:
    """Install the packages below `source` into `target`, with scripts in `target/bin`.

    Raises:
        RuntimeError: a module does not compile.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package in sorted(path.parent for path in source.glob("*/__init__.py")):
        shutil.copytree(package, target / package.name)
    if not compileall.compile_dir(target, quiet=1):
        raise RuntimeError("the project's sources do not compile")
    _metadata(target, project["name"], project["version"])
    for name, entry in project["scripts"].items():
        _script(target / "bin" / name, *entry.split(":"))


def _metadata(target: Path, name: str, version: str) -> None:
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def _script(path: Path, module: str, function: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCRIPT.format(module=module, function=function), encoding="utf-8")
    path.chmod(0o755)


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
