"""`triage --platform docker` on a host, against a docker program that says what we want: no engine needed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from harness.__main__ import command as specs_form
from harness.cli.app import guarded
from harness.compose import host, project
from tests.support.cli import Cli, cli_of
from tests.support.fake_docker import ENGINE_DOWN, NO_RIGHT, FakeDocker

BUILD_OUTPUT = """#4 [log-agent 1/2] FROM docker.io/library/python:3.13-slim
#4 CACHED

#5 [log-agent 2/2] RUN pip install nonsense
#5 0.270 ERROR: No matching distribution found for nonsense
------
 > [log-agent 2/2] RUN pip install nonsense:
0.270 ERROR: No matching distribution found for nonsense
------
"""
BUILD_ERROR = 'failed to solve: process "/bin/sh -c pip install nonsense" did not complete successfully: exit code: 1\n'
NO_BASE = (
    "failed to solve: python:3.13-slim: failed to resolve source metadata for docker.io/library/python:3.13-slim: "
    'failed to do request: Head "https://registry-1.docker.io/v2/library/python/manifests/3.13-slim": dial tcp: '
    "lookup registry-1.docker.io: no such host\n"
)
PORT_TAKEN = (
    " Container agentic-triage-prometheus-1  Starting\n"
    "Error response from daemon: driver failed programming external connectivity on endpoint x (a8): "
    "Error starting userland proxy: listen tcp4 127.0.0.1:9090: bind: address already in use\n"
)
PORT_TAKEN_28 = (
    "Error response from daemon: failed to set up container networking: driver failed programming external "
    "connectivity on endpoint agentic-triage-prometheus-1 (a8): failed to bind host port for "
    "127.0.0.1:9090:172.18.0.4:9090/tcp: address already in use\n"
)
PORT_TAKEN_28_3 = (
    "Error response from daemon: failed to set up container networking: driver failed programming external "
    "connectivity on endpoint agentic-triage-prometheus-1 (a8): failed to bind host port 127.0.0.1:9090/tcp: "
    "address already in use\n"
)
PORT_OF_A_CONTAINER = "Error response from daemon: Bind for 127.0.0.1:9090 failed: port is already allocated\n"
NO_PULL = (
    ' grafana Error Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host\n'
    'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: no such host\n'
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a compose file, which is ours."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / project.FILE).write_text("name: agentic-triage\nservices: {}\n")
    monkeypatch.setattr(project, "__file__", str(folder / "harness" / "compose" / "project.py"))
    return folder


@pytest.fixture
def docker(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    monkeypatch.setenv("TRIAGE_PLATFORM", "docker")
    for name in ("TRIAGE_PLATFORM_URL", "COMPOSE_PROJECT_NAME", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeDocker(tmp_path / "bin", monkeypatch)
    fake.healthy()
    return fake


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, docker: FakeDocker) -> Cli:
    return cli_of(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def up(docker: FakeDocker, root: Path) -> FakeDocker:
    """A stack of ours that is up."""
    docker.runs(root, "injector", "nats")
    return docker


HELD = ["compose", "exec", "-T", "-e", "TRIAGE_LEASH=1", "injector", "triage"]
"""How a command that reads nothing is run inside: it ends when we do."""
COMMANDS = [("status",), ("report", "it is down"), ("up",), ("down",), ("demo",), ("kill", "log-agent-1")]


class TestDockerItself:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_no_docker_program(self, cli: Cli, command: tuple[str, ...], tmp_path: Path) -> None:
        (tmp_path / "bin" / "docker").unlink()
        cli(*command).refused(7, "no docker program on PATH")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_an_engine_that_does_not_answer(self, cli: Cli, docker: FakeDocker, command: tuple[str, ...]) -> None:
        docker.says("version", "--format", err=ENGINE_DOWN, code=1)
        cli(*command).refused(7, "no Docker engine answers at unix:///var/run/docker.sock;")

    def test_a_socket_that_may_not_be_read(self, cli: Cli, docker: FakeDocker) -> None:
        docker.says("version", "--format", err=NO_RIGHT, code=1)
        cli("status").refused(7, "the Docker socket unix:///var/run/docker.sock may not be read", "group")

    @pytest.mark.parametrize("version", ["20.10.24+dfsg1", "24.0.9"])
    def test_an_engine_that_is_too_old(self, cli: Cli, docker: FakeDocker, version: str) -> None:
        docker.healthy(engine=version)
        cli("up").refused(7, f"engine is {version}; 25 or newer")

    def test_no_compose(self, cli: Cli, docker: FakeDocker) -> None:
        docker.says("compose", err="docker: 'compose' is not a docker command.\n", code=1)
        cli("up").refused(7, "docker has no compose")

    @pytest.mark.parametrize("version", ["2.17.3", "1.29.2"])
    def test_a_compose_that_is_too_old(self, cli: Cli, docker: FakeDocker, version: str) -> None:
        docker.healthy(compose=version)
        cli("up").refused(7, f"docker compose is {version}; 2.20 or newer")

    def test_no_compose_file(self, cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / project.FILE).unlink()
        monkeypatch.chdir(root)
        cli("up").refused(7, "there is no docker-compose.yml beside the package")


class TestUp:
    def test_builds_then_starts_and_says_how_it_is(self, cli: Cli, docker: FakeDocker, root: Path) -> None:
        docker.says("compose", "build")
        docker.says("compose", "up")
        program: dict[str, object] = {
            "name": "log-agent-1",
            "tier": "role",
            "state": "RUNNING",
            "pid": None,
            "healthy": True,
        }
        program |= {"detail": "", "rss_bytes": 50 * 2**20, "since": "2026-11-22T15:00:00+00:00", "restarts": 0}
        body = {"home": "/var/lib/triage/home", "port_base": None, "since": None, "programs": [program]}
        docker.says("exec", "status", "--json", out=json.dumps(body))
        real = docker.says

        # the stack is there once `up` was called
        real(
            "ps", "--all", out=f"{root}\tinjector\tFalse\tagentic-triage-injector-1\trunning\tUp 2 seconds (healthy)\n"
        )
        ran = cli("up", "--schedulers", "1")
        assert (ran.code, ran.out) == (0, "1 of 1 containers are healthy, 50 MiB\n")
        [started] = docker.called("compose", "up")
        assert started == ["compose", "up", "--detach", "--no-build", "--wait", "--scale", "scheduler=1"]

    def test_an_image_that_does_not_build_is_named_with_the_end_of_its_build(
        self, cli: Cli, docker: FakeDocker
    ) -> None:
        docker.says("compose", "build", out=BUILD_OUTPUT, err=BUILD_ERROR, code=17)
        cli("up").refused(7, "the image of log-agent does not build", "No matching distribution found for nonsense")
        assert not docker.called("compose", "up")

    def test_a_base_image_that_no_registry_gives_names_the_way_out(self, cli: Cli, docker: FakeDocker) -> None:
        docker.says("compose", "build", err=NO_BASE, code=17)
        cli("up").refused(7, "the image python:3.13-slim is not here", "make images")

    def test_an_image_that_cannot_be_pulled(self, cli: Cli, docker: FakeDocker) -> None:
        docker.says("compose", "build")
        docker.says("compose", "down")
        docker.says("compose", "up", err=NO_PULL, code=18)
        cli("up").refused(7, "the image of grafana is not here", "make images")

    @pytest.mark.parametrize("said", [PORT_TAKEN, PORT_TAKEN_28, PORT_TAKEN_28_3, PORT_OF_A_CONTAINER])
    def test_a_taken_port_is_named_and_what_was_started_is_stopped(
        self, cli: Cli, docker: FakeDocker, said: str
    ) -> None:
        docker.says("compose", "build")
        docker.says("compose", "down")
        docker.says("compose", "up", err=said, code=1)
        docker.says("ps", "--all", out="")
        cli("up").refused(4, "port 9090", "in use")
        assert docker.called("compose", "down")

    def test_a_container_that_does_not_come_up_is_named_with_the_end_of_its_log(
        self, cli: Cli, docker: FakeDocker, root: Path
    ) -> None:
        docker.says("compose", "build")
        docker.says("compose", "up", err="container agentic-triage-planner-1 is unhealthy\n", code=1)
        docker.says("logs", "agentic-triage-planner-1", out="one\nKeyringError: wrong passphrase\n")
        docker.runs(root, "injector")
        cli("up").refused(7, "agentic-triage-planner-1 did not come up: it is unhealthy", "KeyringError")
        assert not docker.called("compose", "down"), "a stack that was up before is not taken down"

    def test_what_takes_too_long_is_stopped_again(
        self, cli: Cli, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(host, "UP_TIMEOUT_S", 0.5)
        docker.says("compose", "build")
        docker.says("compose", "down")
        docker.says("compose", "up", hangs=True)
        cli("up").refused(7, "docker compose up did not end within 0.5 s")
        assert docker.called("compose", "down")

    @pytest.mark.asyncio
    async def test_what_its_caller_gives_up_is_stopped_again(self, docker: FakeDocker, tmp_path: Path) -> None:
        docker.says("compose", "build")
        docker.says("compose", "down")
        docker.says("compose", "up", hangs=True)
        starting = asyncio.create_task(host.ComposeHost(tmp_path).up(progress=lambda _name, _what: None))
        deadline = time.monotonic() + 10.0
        while not docker.called("compose", "up"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert docker.called("compose", "down")

    def test_what_cannot_be_stopped_again_is_said_beside_the_reason(self, cli: Cli, docker: FakeDocker) -> None:
        docker.says("compose", "build")
        docker.says("compose", "down", err="the network is in use\n", code=1)
        docker.says("compose", "up", err=PORT_TAKEN, code=1)
        cli("up").refused(4, "port 9090", "what was started could not be taken down: the network is in use")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_project_of_our_name_in_another_folder(
        self, cli: Cli, docker: FakeDocker, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        docker.runs(tmp_path / "elsewhere", "injector")
        cli(*command).refused(4, f"is that of {tmp_path / 'elsewhere'}", "COMPOSE_PROJECT_NAME")
        assert not docker.called("compose", "down")


class TestTheProjectsName:
    """Compose also reads it from `.env`, and from the file itself: whose stack it is, only compose can say."""

    @pytest.fixture
    def shop(self, docker: FakeDocker, root: Path) -> FakeDocker:
        """A stack that is up under another name than the file's."""
        docker.is_called("shop")
        row = f"{root}\tinjector\tFalse\tshop-injector-1\trunning\tUp 2 seconds (healthy)\n"
        docker.says("ps", "--all", "label=com.docker.compose.project=shop", out=row)
        return docker

    def test_a_failed_up_leaves_a_stack_that_was_up_alone(self, cli: Cli, shop: FakeDocker) -> None:
        shop.says("compose", "build")
        shop.says("compose", "up", err=PORT_TAKEN, code=1)
        cli("up").refused(4, "port 9090")
        assert not shop.called("compose", "down")

    def test_a_stack_that_is_up_is_found(self, cli: Cli, shop: FakeDocker) -> None:
        shop.says("exec")
        shop.says("compose", "down")
        assert cli("agents").code == 0
        assert cli("down").code == 0

    def test_is_what_a_person_is_told(self, cli: Cli, docker: FakeDocker) -> None:
        docker.is_called("shop")
        cli("status").refused(7, "no stack of the compose project shop is up")
        assert "no container of shop is there" in cli("doctor").out

    def test_a_file_that_compose_cannot_read_is_a_sentence(self, cli: Cli, docker: FakeDocker) -> None:
        docker.says("compose", "config", err="yaml: line 3: did not find expected key\n", code=15)
        cli("up").refused(7, "compose cannot read its file", "did not find expected key")
        assert "did not find expected key" in cli("doctor").out


class TestDown:
    def test_leaves_data(self, cli: Cli, up: FakeDocker) -> None:
        up.says("compose", "down")
        assert cli("down").code == 0
        assert up.called("compose", "down") == [["compose", "--profile", "*", "down", "--remove-orphans"]]

    def test_wipes_only_when_told(self, cli: Cli, up: FakeDocker) -> None:
        up.says("compose", "down")
        assert cli("down", "--wipe").code == 0
        assert "--volumes" in up.called("compose", "down")[0]

    def test_nothing_to_take_down(self, cli: Cli) -> None:
        cli("down").refused(7, "no stack of the compose project agentic-triage is up", "triage --platform docker up")


class TestHandingOn:
    @pytest.mark.parametrize(
        "command", [("status", "--json"), ("report", "a b", "--wait"), ("kill", "log-agent-1", "--signal", "STOP")]
    )
    def test_a_command_is_run_inside_as_it_is_with_its_exit_code(
        self, cli: Cli, up: FakeDocker, command: tuple[str, ...]
    ) -> None:
        up.says("exec", code=5)
        assert cli(*command).code == 5
        assert up.called("exec") == [[*HELD, *command]]

    def test_a_report_on_standard_input_is_handed_on(self, cli: Cli, up: FakeDocker) -> None:
        up.says("exec", reads=True)
        assert cli("report", "-").code == 0
        assert up.called("exec") == [["compose", "exec", "-T", "injector", "triage", "report", "-"]]

    def test_one_that_was_killed_inside_says_so(self, cli: Cli, up: FakeDocker) -> None:
        up.says("exec", code=137)
        cli("agents").refused(7, "triage agents was killed inside the injector container")

    def test_options_before_the_command_stay_here(self, cli: Cli, up: FakeDocker, tmp_path: Path) -> None:
        up.says("exec")
        assert cli("--platform", "docker", f"--home={tmp_path}", "agents").code == 0
        assert up.called("exec") == [[*HELD, "agents"]]

    @pytest.mark.parametrize("command", [("status",), ("report", "x"), ("keys", "rotate"), ("audit", "verify")])
    def test_without_a_stack_it_says_so(self, cli: Cli, command: tuple[str, ...]) -> None:
        cli(*command).refused(7, "no stack of the compose project agentic-triage is up")

    def test_what_needs_no_stack_is_done_here(self, cli: Cli, docker: FakeDocker) -> None:
        assert "db_conn_drift" in cli("scenarios").out
        assert "cache_poison" in cli("faults").out
        cli("replay", "/nowhere/x.recording").refused(3)
        assert cli("report", "--help").code == 0
        assert docker.calls == []

    def test_a_scenario_file_is_brought_in_and_the_recording_out(
        self, cli: Cli, up: FakeDocker, tmp_path: Path
    ) -> None:
        scenario, recording = tmp_path / "mine.json", tmp_path / "out" / "x.recording"
        scenario.write_text('{"name": "mine"}')
        up.says("triage", "run")
        up.says("sh", "-c", reads=True, out="the bytes of the recording")
        assert cli("run", str(scenario), "--seed", "7", f"--record={recording}").code == 0
        assert recording.read_text() == "the bytes of the recording"
        [inside] = up.called("triage", "run")
        inside = inside[4:]
        assert inside[5:] == ["run", inside[6], "--seed", "7", inside[9]]
        assert inside[6].startswith("/var/lib/triage/home/recordings/")
        assert inside[6].endswith("-mine.json")
        assert inside[9].startswith("--record=/var/lib/triage/home/recordings/")
        [sent, fetched] = up.called("sh", "-c")
        assert (sent[-1], fetched[-1]) == (inside[6], inside[9].removeprefix("--record="))

    def test_a_file_is_called_inside_what_its_owner_calls_it(self, cli: Cli, up: FakeDocker, tmp_path: Path) -> None:
        scenario, recording = tmp_path / "mine.json", tmp_path / "x.recording"
        scenario.write_text('{"name": "mine"}')
        up.says("triage", "run")
        up.says("sh", "-c", reads=True, out="recorded")
        assert cli("run", str(scenario), "--record", str(recording)).code == 0
        [inside] = up.called("triage", "run")
        [given] = [word for word in inside if word.startswith("TRIAGE_SHOWN_NAMES=")]
        names = json.loads(given.partition("=")[2])
        assert names == {inside[-3]: str(scenario), inside[-1]: str(recording)}

    @pytest.mark.parametrize("command", [("run", "no_fault", "--record"), ("audit", "export"), ("demo", "--record")])
    @pytest.mark.parametrize("name", ["folder", "file/x"])
    def test_a_file_that_cannot_be_written_here_is_refused_before_anything_is_done(
        self, cli: Cli, up: FakeDocker, tmp_path: Path, command: tuple[str, ...], name: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        cli(*command, str(tmp_path / name)).refused(1, str(tmp_path / name.partition("/")[0]))
        assert not up.called("exec")

    def test_a_run_that_failed_before_it_recorded_keeps_its_own_exit_code(
        self, cli: Cli, up: FakeDocker, tmp_path: Path
    ) -> None:
        up.says("triage", "run", code=7)
        up.says("sh", "-c", code=1)
        assert cli("run", "no_fault", "--record", str(tmp_path / "x.recording")).code == 7
        assert not [path for path in tmp_path.iterdir() if "recording" in path.name]

    def test_an_export_is_brought_out_and_one_to_verify_in(self, cli: Cli, up: FakeDocker, tmp_path: Path) -> None:
        path = tmp_path / "audit.jsonl"
        up.says("triage", "audit")
        up.says("sh", "-c", out="rows", reads=True)
        assert cli("audit", "export", str(path)).code == 0
        assert path.read_text() == "rows"
        assert cli("audit", "verify", "--export", str(path)).code == 0
        assert up.called("audit", "verify")[0][-1].endswith("-audit.jsonl")
        assert up.stdin == b"rows"

    def test_new_keys_are_written_by_setup_and_announced_by_the_operator(
        self, cli: Cli, up: FakeDocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.compose.host.SETTLE_S", 0.0)
        up.says("run", "setup", "begin-rotation", out="2\n")
        up.says("run", "setup", "finish-rotation", out="2\n")
        up.says("exec")
        assert cli("keys", "rotate", "--json").code == 0
        order = [call[1] for call in up.calls if call[1] in ("run", "exec")]
        assert order == ["run", "exec", "run", "exec"]
        assert up.called("run")[0][-1] == "begin-rotation"
        assert up.called("exec")[0][4:] == ["triage", "keys", "rotate", "--announce"]
        assert up.called("exec")[1] == [*HELD, "keys", "rotate", "--json", "--announce"]

    def test_a_version_too_young_to_be_dropped_is_dropped_by_force_only(
        self, cli: Cli, up: FakeDocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.compose.host.SETTLE_S", 0.0)
        up.says("run", "setup", "begin-rotation", err="setup: key version 1 cannot be dropped yet\n", code=4)
        cli("keys", "rotate").refused(4, "cannot be dropped yet")
        assert not up.called("exec")
        up.says("run", "setup", "--force", out="2\n")
        up.says("run", "setup", "finish-rotation", out="2\n")
        up.says("exec")
        assert cli("keys", "rotate", "--force").code == 0
        assert up.called("exec")[-1] == [*HELD, "keys", "rotate", "--announce"]

    def test_keys_that_could_not_be_written_are_not_announced(self, cli: Cli, up: FakeDocker) -> None:
        up.says("run", "setup", "begin-rotation", err="setup: the volume is read-only\n", code=1)
        cli("keys", "rotate").refused(7, "no new keys could be written", "read-only")
        assert not up.called("exec")

    def test_the_specs_own_form_runs_inside_too(
        self, up: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("TRIAGE_HOME", str(tmp_path / "home"))
        up.says("triage", "run", code=5)
        assert guarded(specs_form, ["--scenario", "no_fault", "--seed", "7", "--noise", "0.2"]) == 5
        assert up.called("triage", "run") == [[*HELD, "run", "no_fault", "--seed", "7", "--noise", "0.2"]]
        assert not up.called("compose", "up"), "a stack that was up is used"


class TestDemo:
    def test_runs_inside_and_its_recording_is_copied_out(self, cli: Cli, up: FakeDocker, tmp_path: Path) -> None:
        up.says("triage", "demo")
        up.says("sh", "-c", out="recorded", reads=True)
        assert cli("demo").code == 0
        [recording] = (tmp_path / "home" / "recordings").iterdir()
        assert recording.name.startswith("demo-")
        assert recording.read_text() == "recorded"
        assert not up.called("compose", "up")
        assert not up.called("compose", "down"), "a stack that was up stays up"

    def test_ends_with_the_exit_code_of_what_it_showed(self, cli: Cli, up: FakeDocker) -> None:
        up.says("triage", "demo", code=5)
        up.says("sh", "-c", code=1)
        assert cli("demo").code == 5


class TestDoctor:
    def test_a_machine_without_docker(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "bin" / "docker").unlink()
        ran = cli("doctor")
        assert ran.code == 1
        assert "no  docker: there is no docker program" in ran.out

    def test_an_engine_and_a_stack(self, cli: Cli, up: FakeDocker) -> None:
        ran = cli("doctor", "--json")
        found = {row["name"]: row for row in json.loads(ran.out)}
        assert found["docker"]["detail"] == "engine 26.1.5+dfsg1"
        assert found["compose"]["detail"] == "2.26.1-4"
        assert found["stack"] == {"name": "stack", "ok": True, "detail": "2 containers", "required": True}
        assert "model" not in found, "the planner's network must reach it, not the host's"
        assert ran.code == 0

    def test_a_sick_container_is_named(self, cli: Cli, docker: FakeDocker, root: Path) -> None:
        docker.runs(root, "injector", "auditor", status="Up 9 seconds (unhealthy)")
        ran = cli("doctor")
        assert ran.code == 1
        assert "agentic-triage-auditor-1 is Up 9 seconds (unhealthy)" in ran.out

    def test_no_stack_is_no_fault(self, cli: Cli) -> None:
        assert "no container of agentic-triage is there" in cli("doctor").out


def test_an_unknown_platform_is_wrong_usage(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = cli("--platform", "kubernetes", "status")
    assert ran.code == 2
    assert "Traceback" not in ran.err


class TestDashboard:
    def test_address_and_token_of_the_stacks_own_are_said(self, cli: Cli, up: FakeDocker) -> None:
        up.says("compose", "port", "dashboard", "17480", out="127.0.0.1:18480\n")
        up.says("compose", "exec", "cat", "/var/lib/triage/home/dashboard.token", out="a-token-of-some-length\n")
        result = cli("dashboard")
        assert result.code == 0
        assert result.out.splitlines() == ["http://127.0.0.1:18480/", "a-token-of-some-length"]

    def test_without_a_stack_there_is_none(self, cli: Cli, docker: FakeDocker) -> None:
        cli("dashboard").refused(7, "no stack of the compose project agentic-triage is up")

    def test_one_that_does_not_run_is_named(self, cli: Cli, up: FakeDocker) -> None:
        up.says("compose", "port", "dashboard", err="service is not running\n", code=1)
        cli("dashboard").refused(7, "the dashboard container does not run", "docker compose ps dashboard")

    @pytest.mark.parametrize("option", [("--host", "0.0.0.0"), ("--port", "0"), ("--token-file", "t")])  # noqa: S104
    def test_it_cannot_be_told_where_to_listen(self, cli: Cli, up: FakeDocker, option: tuple[str, str]) -> None:
        cli("dashboard", *option).refused(4, "serves its own dashboard", "TRIAGE_DASHBOARD_PORT")
