"""What can be commanded: each a POST with an `Idempotency-Key`, carried out once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel

from dashboard.api import answers
from dashboard.api.answers import Done
from dashboard.api.commands import Commands
from dashboard.api.errors import problem_of
from dashboard.api.feed import Feed
from dashboard.api.idempotency import Once
from dashboard.api.stack import StackDoor

Key = Annotated[str | None, Header(description="8 to 64 of A-Za-z0-9_-: one for each intention of a person.")]


def router(commands: Commands, feed: Feed, stack: StackDoor, once: Once) -> APIRouter:
    """Return the commanding routes."""
    routes = APIRouter(prefix="/api")
    _words(routes, commands, once)
    _world(routes, feed, stack, once)
    return routes


async def _carried_out(
    once: Once, key: str | None, request: Request, body: BaseModel, act: Callable[[str], Awaitable[Done]]
) -> Done:
    async def foreseen(message_id: str) -> Done:
        try:
            return await act(message_id)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            raise problem from error

    asked = f"{request.url.path} {json.dumps(body.model_dump(mode='json'), sort_keys=True)}"
    return await once.carry_out(key, asked, foreseen)


def _words(routes: APIRouter, commands: Commands, once: Once) -> None:
    @routes.post("/incidents")
    async def report(request: Request, body: answers.Report, idempotency_key: Key = None) -> Done:
        """Report an incident in free text."""
        return await _carried_out(once, idempotency_key, request, body, lambda m: commands.report(body.text, m))

    @routes.post("/incidents/{incident}/answer")
    async def answer(request: Request, incident: str, body: answers.Reply, idempotency_key: Key = None) -> Done:
        """Answer the incident's open question."""
        return await _carried_out(
            once, idempotency_key, request, body, lambda m: commands.answer(incident, body.text, m)
        )

    @routes.post("/approvals/{incident}/{task_id}")
    async def decide(
        request: Request, incident: str, task_id: str, body: answers.Decision, idempotency_key: Key = None
    ) -> Done:
        """Grant or deny a task that waits for a person."""
        return await _carried_out(
            once, idempotency_key, request, body, lambda m: commands.decide(incident, task_id, body, m)
        )

    @routes.post("/halt")
    async def halt(request: Request, body: answers.Reason, idempotency_key: Key = None) -> Done:
        """Kill switch: nothing acts any more until `resume`."""
        return await _carried_out(once, idempotency_key, request, body, lambda m: commands.halt(body.reason, m))

    @routes.post("/resume")
    async def resume(request: Request, body: answers.Reason, idempotency_key: Key = None) -> Done:
        """End a halt."""
        return await _carried_out(once, idempotency_key, request, body, lambda m: commands.resume(body.reason, m))

    @routes.post("/alerts")
    async def alerts(body: answers.AlertGroup) -> Done:
        """Alertmanager's webhook as it is: what fires becomes an incident, once."""
        return await commands.alerts(body)


def _world(routes: APIRouter, feed: Feed, stack: StackDoor, once: Once) -> None:
    @routes.post("/agents/{instance}/kill")
    async def kill(request: Request, instance: str, body: answers.Kill, idempotency_key: Key = None) -> Done:
        """Kill a program of the stack for real."""

        async def act(_message_id: str) -> Done:
            done = await stack.kill(instance, body.signal)
            feed.notify("stack")
            return done

        return await _carried_out(once, idempotency_key, request, body, act)

    @routes.post("/faults")
    async def inject(request: Request, body: answers.Inject, idempotency_key: Key = None) -> Done:
        """Break something for real; it is in the world when this answers."""

        async def act(_message_id: str) -> Done:
            try:
                return await stack.inject(body)
            finally:
                feed.notify("faults")

        return await _carried_out(once, idempotency_key, request, body, act)

    @routes.post("/faults/{fault_id}/heal")
    async def heal(request: Request, fault_id: str, body: answers.Nothing, idempotency_key: Key = None) -> Done:
        """Mend an injected fault, whether or not it was repaired meanwhile."""

        async def act(_message_id: str) -> Done:
            try:
                return await stack.heal(fault_id)
            finally:
                feed.notify("faults")

        return await _carried_out(once, idempotency_key, request, body, act)
