"""What the exporter makes of a server's answers, canned and hostile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from deploy.nats.exporter import Exporter, LastLook, main, named
from deploy.nats.readings import FAMILIES, PATHS, Reading, readings
from tests.support.nats_server import free_port
from tests.support.prometheus import Asked, Reply, always, running_prometheus

VARZ = {
    "start": "2026-11-22T15:51:58.695280398Z",
    "mem": 18_563_072,
    "cpu": 150,
    "connections": 9,
    "total_connections": 12,
    "subscriptions": 121,
    "slow_consumers": 1,
    "in_msgs": 9,
    "in_bytes": 2_849,
    "out_msgs": 8,
    "out_bytes": 7_543,
}
CONNZ = {"num_connections": 1, "total": 11}
WORKER = {
    "stream_name": "TRIAGE",
    "name": "w-log",
    "config": {"durable_name": "w-log"},
    "delivered": {"consumer_seq": 4, "stream_seq": 40},
    "ack_floor": {"consumer_seq": 3, "stream_seq": 30},
    "num_ack_pending": 1,
    "num_redelivered": 2,
    "num_waiting": 3,
    "num_pending": 5,
}
PASSING = {"stream_name": "TRIAGE", "name": "lqfe2gXC", "config": {"name": "lqfe2gXC"}, "num_pending": 7}
STREAM = {
    "name": "TRIAGE",
    "state": {"messages": 50, "bytes": 9_000, "first_seq": 3, "last_seq": 52, "consumer_count": 2},
    "consumer_detail": [WORKER, PASSING],
}
JSZ = {
    "memory": 0,
    "storage": 9_000,
    "api": {"total": 9, "errors": 1},
    "config": {"max_storage": 60_857_097_216},
    "account_details": [{"name": "APP", "stream_detail": [STREAM]}],
}
ANSWERS = dict(zip(PATHS, (VARZ, CONNZ, JSZ), strict=True))


def values_of(answers: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {(item.family, *item.labels): item.value for item in readings("nats", answers)}


def test_a_servers_answers_become_metrics_in_base_units() -> None:
    found = values_of(ANSWERS)
    assert found["nats_cpu_cores", "nats"] == 1.5
    assert found["nats_connections", "nats"] == 11
    assert found["nats_start_time_seconds", "nats"] == pytest.approx(1_795_362_718.695, abs=0.01)
    assert found["nats_stream_messages", "nats", "TRIAGE"] == 50
    assert found["nats_consumer_pending_messages", "nats", "TRIAGE", "w-log"] == 5
    assert found["nats_consumer_ack_pending_messages", "nats", "TRIAGE", "w-log"] == 1
    assert found["nats_consumer_redelivered_messages", "nats", "TRIAGE", "w-log"] == 2
    assert found["nats_consumer_delivered_seq", "nats", "TRIAGE", "w-log"] == 40
    assert found["nats_jetstream_api_errors_total", "nats"] == 1


def test_every_family_but_up_has_a_value_in_a_whole_answer() -> None:
    assert {item.family for item in readings("nats", ANSWERS)} == {family.name for family in FAMILIES} - {"nats_up"}


def test_consumers_with_random_names_are_counted_and_never_a_label() -> None:
    found = values_of(ANSWERS)
    assert not any("lqfe2gXC" in key for key in found)
    assert found["nats_stream_durable_consumers", "nats", "TRIAGE"] == 1
    assert found["nats_stream_passing_consumers", "nats", "TRIAGE"] == 1


@pytest.mark.parametrize("odd", [None, "12", True, -1, float("nan"), float("inf"), 2**70, [], {}])
def test_a_value_that_is_no_count_is_left_out(odd: Any) -> None:
    found = values_of({PATHS[0]: VARZ | {"mem": odd, "start": odd}})
    assert ("nats_memory_bytes", "nats") not in found
    assert ("nats_start_time_seconds", "nats") not in found
    assert found["nats_subscriptions", "nats"] == 121


@pytest.mark.parametrize("name", ['x"} 1\nnats_up 1', "", "a" * 65, "a b", None, 7])
def test_a_stream_whose_name_is_none_is_left_out(name: Any) -> None:
    details = [{"stream_detail": [STREAM | {"name": name}]}]
    assert not [key for key in values_of({PATHS[2]: {"account_details": details}}) if key[0].startswith("nats_stream")]


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["account_details", "stream_detail", "state", "config", "name", "consumer_detail", "mem"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.fixed_dictionaries(dict.fromkeys(PATHS, JUNK)))
def test_answers_of_any_shape_make_readings_that_can_be_shown(answers: dict[str, Any]) -> None:
    last = LastLook()
    found = readings("nats", answers)
    last.set(found)
    assert sum(len(metric.samples) for metric in last.collect()) == len(found)
    labels = {family.name: family.labels for family in FAMILIES}
    assert all(len(item.labels) == len(labels[item.family]) and item.value >= 0 for item in found)


def answering(asked_paths: dict[str, bytes]) -> Any:
    def answer(asked: Asked) -> Reply:
        return Reply(200, [asked_paths[asked["path"]]])

    return answer


GOOD = {f"/{path.partition('?')[0]}": json.dumps(answer).encode() for path, answer in ANSWERS.items()}


def test_a_look_at_a_server_is_what_the_next_scrape_shows() -> None:
    with running_prometheus(answering(GOOD)) as server:
        exporter = Exporter({"nats": server.url})
        exporter.look()
        shown = generate_latest(exporter.registry).decode()
        exporter.close()
    assert 'nats_up{server="nats"} 1.0' in shown
    assert 'nats_slow_consumers_total{server="nats"} 1.0' in shown
    assert "# TYPE nats_slow_consumers_total counter" in shown
    assert 'nats_stream_bytes{server="nats",stream="TRIAGE"} 9000.0' in shown
    assert exporter.health.ready


@pytest.mark.parametrize(
    "answer",
    [
        always(b"not json"),
        always(b"[" * 100_000),
        always(b"{}", status=500),
        always(b"x" * 5_000_000),
        always(b"{}", status=302, headers=(("Location", "http://127.0.0.1:1/"),)),
    ],
    ids=["no json", "deep", "error", "long", "redirect"],
)
def test_a_server_that_answers_wrongly_is_down_and_shows_nothing_old(answer: Any) -> None:
    with running_prometheus(answering(GOOD)) as server:
        exporter = Exporter({"nats": server.url})
        exporter.look()
        server.answer = answer
        exporter.look()
        shown = generate_latest(exporter.registry).decode()
        exporter.close()
    assert 'nats_up{server="nats"} 0.0' in shown
    assert "nats_stream" not in shown
    assert not exporter.health.ready


def test_one_of_two_servers_being_away_hides_nothing_of_the_other() -> None:
    with running_prometheus(answering(GOOD)) as server:
        exporter = Exporter({"nats": server.url, "nats-2": f"http://127.0.0.1:{free_port()}"})
        exporter.look()
        shown = generate_latest(exporter.registry).decode()
        exporter.close()
    assert 'nats_up{server="nats"} 1.0' in shown
    assert 'nats_up{server="nats-2"} 0.0' in shown
    assert 'nats_stream_messages{server="nats",stream="TRIAGE"} 50.0' in shown
    assert exporter.health.ready


@pytest.mark.parametrize(
    "urls", [[], ["nats:8222"], ["https://nats:8222"], ["http://nats:1", "http://nats:2"], ["http://"]]
)
def test_addresses_that_are_none_are_refused(urls: list[str]) -> None:
    with pytest.raises(ValueError, match=r"address|called|one to"):
        named(urls)


def test_a_bad_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nats:8222"])
    assert ended.value.code == 2
    assert "is no address like http://nats:8222" in capsys.readouterr().err


def test_what_is_shown_is_only_the_last_look() -> None:
    last = LastLook()
    last.set((Reading("nats_up", ("a",), 1.0),))
    last.set((Reading("nats_up", ("b",), 1.0),))
    assert [sample.labels for metric in last.collect() for sample in metric.samples] == [{"server": "b"}]
