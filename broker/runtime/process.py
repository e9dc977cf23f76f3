"""The life of a role's process, the same for all: settings, keys, broker, health, work, drain.

`machine_main`, `worker_main` and `service_main` are what each role's `__main__.py` calls. SIGTERM and SIGINT drain: a
worker finishes the order in hand or gives it back, a machine keeps a snapshot, and the process is gone within three
seconds. A start that cannot succeed says why in one sentence on standard error and ends with its exit code
(`exits.Exit`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from broker.contracts.control import Halt, Rotate
from broker.contracts.inventory import Inventory
from broker.contracts.machine import Machine
from broker.contracts.plan import DecisionTag
from broker.envelope import Signer
from broker.errors import BrokerClosedError, BrokerDownError, BrokerError, DivergenceError, SchemaError, SettingsError
from broker.gate import Gate
from broker.keyring import Keyring
from broker.port import Broker
from broker.runtime.control import ControlFollower, KillSwitch
from broker.runtime.exits import Exit, exit_code
from broker.runtime.keys import KEY_WATCH_S, Keys
from broker.runtime.logging import complain, configure
from broker.runtime.machine_host import MachineHost
from broker.runtime.metrics import Health, HealthMetrics, Metrics, MetricsServer
from broker.runtime.settings import Settings, load_settings
from broker.runtime.worker_host import Handler, WorkerHost
from broker.subjects import AGENTS, READERS, Role
from broker.tasks import until_any_ends

CONNECT_S: Final = 30.0
"""How long a starting role waits for the broker: at `triage up` all start at once."""
CONNECT_RETRY_S: Final = 0.25
BROKER_WATCH_S: Final = 3.0
FINISH_S: Final = 2.0
"""How long a worker may go on with the order in hand after SIGTERM."""
CLEAN_UP_S: Final = 0.8


class Connect(Protocol):
    """Opens a connection to the broker."""

    async def __call__(self, url: str, *, role: Role, instance: str, password: str) -> Broker: ...


@dataclass(frozen=True)
class Context:
    """What a shell may use: one of each per process."""

    settings: Settings
    inventory: Inventory
    """Empty for roles that were started with `needs_inventory=False`."""
    broker: Broker
    keys: Keys
    metrics: Metrics
    health: Health
    log: FilteringBoundLogger
    switch: KillSwitch
    stopping: asyncio.Event
    """Set when the process is to end."""

    @property
    def signer(self) -> Signer:
        """The process's signer; counts, and follows key rotation."""
        return self.keys.signer

    @property
    def keyring(self) -> Keyring:
        """The keys as of now."""
        return self.keys.keyring

    def gate(self) -> Gate:
        """Return a new gate with a memory of its own: one for each reader of the journal."""
        return self.keys.gate()

    def worker(
        self, durable: str, handler: Handler, *, tag: DecisionTag = "DETERMINISTIC", timeout_s: float = 60.0
    ) -> WorkerHost:
        """Return a host that works through a queue on this process's connection."""
        return WorkerHost(
            durable,
            handler,
            self.broker,
            self.signer,
            self.gate(),
            switch=self.switch,
            tag=tag,
            timeout_s=timeout_s,
            stopping=self.stopping,
            metrics=self.metrics,
            log=self.log,
        )


Body = Callable[[Context], Coroutine[Any, Any, None]]
HandlerT = TypeVar("HandlerT", bound=Handler)


def machine_main(
    role: Role,
    make_machine: Callable[[Settings, Inventory], Machine[Any]],
    background: Body | None = None,
    *,
    connect: Connect | None = None,
) -> int:
    """Run a role that is a machine; return its exit code.

    Args:
        background: runs beside the host, for what the machine cannot do; cancelled at the end. If it ends early or
            raises, so does the process.
    """

    async def body(context: Context) -> None:
        machine = make_machine(context.settings, context.inventory)
        host = MachineHost(
            machine,
            context.broker,
            context.signer,
            context.gate(),
            metrics=context.metrics,
            health=context.health,
            log=context.log,
        )
        try:
            await until_any_ends(host.run(), *([background(context)] if background is not None else []))
        except asyncio.CancelledError:
            if host.caught_up.is_set():
                await host.save()
            raise

    return _main(role, body, connect=connect)


def worker_main(
    role: Role,
    durable: str,
    make_handler: Callable[[Context], HandlerT],
    background: Callable[[Context, HandlerT], Coroutine[Any, Any, None]] | None = None,
    *,
    connect: Connect | None = None,
) -> int:
    """Run a role that works through a queue; return its exit code.

    Args:
        background: runs beside the work with the same handler; cancelled at the end. If it ends early or raises, so
            does the process.
    """

    async def body(context: Context) -> None:
        handler = make_handler(context)
        beside = [background(context, handler)] if background is not None else []
        await until_any_ends(context.worker(durable, handler).run(), *beside)

    return _main(role, body, finish_s=FINISH_S, connect=connect)


def service_main(
    role: Role,
    run: Body,
    *,
    needs_inventory: bool = True,
    connect: Connect | None = None,
) -> int:
    """Run a role that is neither machine nor worker; return its exit code.

    `run` is cancelled at the end of the process and may then take CLEAN_UP_S to clean up; if it returns by itself, the
    process ends with 0. It says by `context.health.set("...", True)` when it is ready.
    """
    return _main(role, run, needs_inventory=needs_inventory, connect=connect)


def _main(
    role: Role,
    body: Body,
    *,
    finish_s: float = 0.0,
    needs_inventory: bool = True,
    connect: Connect | None = None,
) -> int:
    try:
        settings = load_settings(role=role)
        inventory = load_inventory(settings) if needs_inventory else Inventory(devices=())
        log = configure(role, settings.instance, settings.log_level)
        asyncio.run(_live(settings, inventory, log, body, finish_s, connect or _connect))
    except asyncio.CancelledError:
        return Exit.OK
    except Exception as error:
        complain(_sentence(role, error))
        return exit_code(error)
    return Exit.OK


def _sentence(role: str, error: Exception) -> str:
    if isinstance(error, DivergenceError):
        return (
            f"{role} stopped: it decides otherwise than the journal says it did. {error}. "
            "Was its code or configuration changed without a new version?"
        )
    if isinstance(error, BrokerError | OSError):
        return f"{role} cannot go on: {error}"
    return f"{role} failed: {type(error).__name__}: {error}; see its log"


async def _live(
    settings: Settings,
    inventory: Inventory,
    log: FilteringBoundLogger,
    body: Body,
    finish_s: float,
    connect: Connect,
) -> None:
    """Run the body until it ends or a signal comes; raises what ended it."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    life = asyncio.create_task(_body_in_context(settings, inventory, log, body, stopping, connect))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not life.done():
            log.info("draining")
            await asyncio.wait({life}, timeout=finish_s)
            life.cancel()
            await asyncio.wait({life}, timeout=CLEAN_UP_S)
    finally:
        stop.cancel()
    if life.done():
        with suppress(asyncio.CancelledError):
            life.result()
    log.info("stopped")


async def _body_in_context(
    settings: Settings,
    inventory: Inventory,
    log: FilteringBoundLogger,
    body: Body,
    stopping: asyncio.Event,
    connect: Connect,
) -> None:
    try:
        async with _context(settings, inventory, log, stopping, connect) as context:
            tasks = [body(context), _watch_keys(context)]
            if settings.role in READERS | AGENTS:
                tasks += [_follow_control(context), _watch_broker(context)]
            else:
                context.switch.know()
            await until_any_ends(*tasks)
    except (BrokerError, OSError):
        raise
    except Exception:
        log.exception("failed")
        raise


@asynccontextmanager
async def _context(
    settings: Settings, inventory: Inventory, log: FilteringBoundLogger, stopping: asyncio.Event, connect: Connect
) -> AsyncIterator[Context]:
    metrics, health = Metrics(settings.role, settings.instance), Health(settings.role, settings.instance)
    metrics.registry.register(HealthMetrics(health))
    health.set("broker", False)
    async with AsyncExitStack() as stack:
        if settings.metrics_port is not None:
            stack.callback(_serve(settings.metrics_port, metrics, health, settings.metrics_host).close)
        keys = Keys(settings.keys_file, settings.passphrase_file, settings.role, settings.instance, metrics)
        broker = await _reach(settings, keys, log, connect)
        stack.push_async_callback(_close, broker)
        health.set("broker", True)
        yield Context(settings, inventory, broker, keys, metrics, health, log, KillSwitch(), stopping)


def _serve(port: int, metrics: Metrics, health: Health, host: str) -> MetricsServer:
    try:
        return MetricsServer(port, metrics, health, host)
    except OSError as error:
        text = f"{host}:{port} for /metrics cannot be used ({error.strerror}); is another one of this role running?"
        raise SettingsError(text) from error


async def _reach(settings: Settings, keys: Keys, log: FilteringBoundLogger, connect: Connect) -> Broker:
    """Connect, waiting for a broker that is still starting.

    Raises:
        BrokerDownError: none answered within CONNECT_S.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CONNECT_S
    while True:
        try:
            return await connect(
                settings.nats_url,
                role=settings.role,
                instance=settings.instance,
                password=keys.keyring.broker_password(),
            )
        except BrokerDownError as error:
            if loop.time() > deadline:
                text = f"no broker answers at {settings.nats_url}; is the stack up? `triage up` starts it ({error})"
                raise BrokerDownError(text) from error
            log.info("waiting_for_broker", url=settings.nats_url)
            await asyncio.sleep(CONNECT_RETRY_S)


async def _connect(url: str, *, role: Role, instance: str, password: str) -> Broker:
    from broker.jetstream import connect  # late: programs that only need the context's types do without nats

    return await connect(url, role=role, instance=instance, password=password)


async def _close(broker: Broker) -> None:
    with suppress(BrokerError, TimeoutError):
        await asyncio.wait_for(broker.close(), CLEAN_UP_S / 2)


async def _watch_keys(context: Context) -> None:
    while True:
        await asyncio.sleep(KEY_WATCH_S)
        _look_for_keys(context)


def _look_for_keys(context: Context) -> None:
    if context.keys.refresh():
        context.log.info("keys_rotated", key_version=context.keyring.current)


async def _watch_broker(context: Context) -> None:
    """Keep the check `broker` true to what a look at the journal says."""
    while True:
        await asyncio.sleep(BROKER_WATCH_S)
        try:
            await context.broker.last(Halt(reason="").subject())
            context.health.set("broker", True)
        except BrokerClosedError:
            raise  # nothing in this process brings it back; its process manager starts another
        except BrokerError as error:
            context.health.set("broker", False)
            context.log.warning("broker_unreachable", error=str(error))


async def _follow_control(context: Context) -> None:
    context.health.set("control", False)

    def on_rotate(_rotate: Rotate) -> None:
        _look_for_keys(context)

    follower = ControlFollower(
        context.broker,
        context.gate(),
        context.switch,
        on_rotate=on_rotate,
        on_read=lambda: context.health.set("control", True),
        log=context.log,
    )
    await follower.run()


def load_inventory(settings: Settings) -> Inventory:
    """Return the inventory that the settings name.

    Raises:
        FileNotFoundError: there is none.
        SettingsError: it cannot be read or is no inventory.
    """
    try:
        return Inventory.decode(settings.inventory_file.read_bytes())
    except FileNotFoundError as error:
        text = f"the inventory {settings.inventory_file} is missing; `triage up` writes it"
        raise FileNotFoundError(text) from error
    except (OSError, SchemaError) as error:
        raise SettingsError(f"the inventory {settings.inventory_file} cannot be used: {error}") from error
