"""The planner as a process: on a real broker, with signed messages, without any model, killed and started again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from broker.contracts.base import Contract
from broker.contracts.plan import PlanAnswered, PlanPrompted, PlanProposed, PlanRequested
from broker.envelope import Signer, open_frame
from broker.jetstream import JetStreamBroker, connect, ensure
from broker.keyring import derive_role_file
from broker.subjects import ADMIN_USER, Role
from tests.support.nats_server import NatsServer, free_port, running_server
from tests.support.planner_world import USERS_FAIL, Look, sample, shop
from tests.support.signing import gate, master, signer
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration
PASSPHRASE = "correct horse"
DRIFT: dict[str, Look] = {
    "orders": {"status": "ERROR", "note": "shop-db=gaierror", "error_code": "gaierror"},
    "loadgen": USERS_FAIL,
}


class Stage:
    """A broker, the planner's home, and who else speaks."""

    def __init__(self, server: NatsServer, home: Path) -> None:
        self.server = server
        self.home = home
        self.brokers: dict[Role, JetStreamBroker] = {}
        self.signers: dict[Role, Signer] = {}

    async def say(self, role: Role, message: Contract) -> None:
        if role not in self.brokers:
            password = self.server.passwords[role]
            self.brokers[role] = await connect(self.server.url, role=role, instance=f"{role}-t", password=password)
            self.signers[role] = signer(role, f"{role}-t")
        await self.brokers[role].publish(message.subject(), self.signers[role].seal(message))

    async def telemetry(self, looks: dict[str, Look] | None = None) -> None:
        for device in shop().names():
            await self.say("sensors", sample(device, time.time_ns() // 1_000, (looks or {}).get(device)))

    async def request(self, incident: str, attempt: int = 1) -> PlanRequested:
        request = PlanRequested(incident=incident, version=1, attempt=attempt, text="cant buy anything!!")
        await self.say("scheduler", request)
        return request

    async def said(self, request: PlanRequested, step: str) -> Contract | None:
        """Return the message of a step of a planning attempt, verified, or None."""
        subject = request.subject().removesuffix("requested") + step
        stored = await self.brokers["scheduler"].last(subject)
        if stored is None:
            return None
        assert open_frame(stored.data).role == "planner"
        return gate("scheduler").admit(stored).message

    async def proposal(
        self, request: PlanRequested, timeout_s: float = 20.0, *, meanwhile: dict[str, Look] | None = None
    ) -> PlanProposed:
        """Wait for the planner's proposal; `meanwhile` is what the sensors go on saying, as they do."""

        async def stands() -> bool:
            if meanwhile is not None:
                await self.telemetry(meanwhile)
            return await self.said(request, "proposed") is not None

        await eventually(stands, timeout_s)
        proposal = await self.said(request, "proposed")
        assert isinstance(proposal, PlanProposed)
        return proposal

    @contextmanager
    def planner(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the planner for a block; it is killed at the end if it still runs."""
        own = {
            "TRIAGE_HOME": str(self.home),
            "TRIAGE_NATS_URL": self.server.url,
            "TRIAGE_MODEL_URL": f"http://127.0.0.1:{free_port()}/v1",
            **environment,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")}
        with (self.home / "planner.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "planner_svc"], env={**inherited, **own}, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def open_stage(home: Path) -> AsyncIterator[Stage]:
    with running_server(home / "nats") as server:
        await ensure(server.url, server.passwords[ADMIN_USER])
        (home / "keys").mkdir()
        (home / "passphrase").write_text(PASSPHRASE)
        (home / "passphrase").chmod(0o600)
        await asyncio.to_thread(derive_role_file, master(), "planner", home / "keys" / "planner.keys", PASSPHRASE)
        (home / "inventory.json").write_bytes(shop().encode())
        stage = Stage(server, home)
        try:
            yield stage
        finally:
            for broker in stage.brokers.values():
                await broker.close()


@pytest.mark.asyncio
async def test_planner_without_a_model_asks_in_vain_and_the_rulebook_answers(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        for _ in range(3):
            await stage.telemetry(DRIFT)
        with stage.planner() as process:
            request = await stage.request("i1", attempt=2)
            proposal = await stage.proposal(request)
            assert (proposal.origin, proposal.plan.hypothesis.target) == ("rulebook", "orders")
            assert proposal.plan.hypothesis.fault_class == "config_drift"
            asked, answered = await stage.said(request, "prompted"), await stage.said(request, "answered")
            assert isinstance(asked, PlanPrompted)
            assert isinstance(answered, PlanAnswered)
            assert answered.outcome == "unreachable"
            process.terminate()
            assert await asyncio.to_thread(process.wait, 10) == 0


@pytest.mark.asyncio
async def test_planner_killed_between_request_and_plan_answers_after_its_restart(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        with stage.planner(TRIAGE_PLANNER_MODE="rulebook"):
            await stage.telemetry()
            first = await stage.request("calm", attempt=2)
            before = await stage.proposal(first)
            waiting = await stage.request("i2")
        assert await stage.said(waiting, "proposed") is None
        for _ in range(3):
            await stage.telemetry(DRIFT)
        with stage.planner(TRIAGE_PLANNER_MODE="rulebook"):
            proposal = await stage.proposal(waiting, meanwhile=DRIFT)
            assert proposal.plan.hypothesis.target == "orders"
            assert await stage.said(first, "proposed") == before
            assert await stage.said(waiting, "prompted") is None


@pytest.mark.asyncio
async def test_planner_whose_key_file_for_the_endpoint_is_missing_says_so_and_ends(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        with stage.planner(TRIAGE_MODEL_KEY_FILE=str(tmp_path / "nowhere")) as process:
            assert await asyncio.to_thread(process.wait, 20) != 0
        assert "key file" in (tmp_path / "planner.log").read_text()
