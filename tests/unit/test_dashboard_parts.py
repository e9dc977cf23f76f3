"""The small pure parts: ring, what a snapshot keeps, figures, alert groups, likeness, monitoring, lines for people."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from broker.contracts.incident import IncidentReported
from broker.contracts.registry import CONTRACTS
from dashboard.api.core.alerts import Firing, incident_name, incident_text
from dashboard.api.core.entry import Entry, incident_of
from dashboard.api.core.figures import Run, figures
from dashboard.api.core.kept import SHOWN_INCIDENTS, Kept
from dashboard.api.core.likeness import likeness, similar
from dashboard.api.core.monitoring import connections, consumers, last_heard_us, span_s, streams
from dashboard.api.core.ring import Ring
from dashboard.api.core.said import _WORDS, MAX_LINE, said
from dashboard.api.core.view import IncidentView, View


class TestRing:
    def test_gives_what_is_behind_a_sequence_in_order_and_no_more_than_asked(self) -> None:
        ring = Ring()
        for seq in (2, 5, 9):
            ring.append(seq, b"%d" % seq)
        assert ring.after(2, 10) == [(5, b"5"), (9, b"9")]
        assert ring.after(0, 2) == [(2, b"2"), (5, b"5")]
        assert ring.after(9, 10) == []

    def test_tells_who_is_too_far_behind(self) -> None:
        ring = Ring(max_bytes=30)
        for seq in range(1, 11):
            ring.append(seq, b"x" * 10)
        assert ring.floor == 7
        assert ring.after(6, 10) is None
        assert [seq for seq, _ in ring.after(7, 10) or ()] == [8, 9, 10]

    def test_a_ring_that_began_later_does_not_pretend_to_know_what_was_before(self) -> None:
        ring = Ring(floor=100)
        ring.append(101, b"x")
        assert ring.after(99, 10) is None
        assert ring.after(100, 10) == [(101, b"x")]

    def test_stays_within_its_bytes_however_much_comes(self) -> None:
        ring = Ring(max_bytes=10_000)
        for seq in range(1, 20_001):
            ring.append(seq, b"x" * 100)
        assert ring.size_bytes <= 10_000
        assert len(ring._seqs) < 3_000, "what was given up is let go"
        assert [seq for seq, _ in ring.after(19_998, 10) or ()] == [19_999, 20_000]


def entry(seq: int, subject: str, *, verified: bool = True) -> Entry:
    return Entry(
        seq=seq,
        time_us=seq,
        subject=subject,
        type=None,
        sender=None,
        tag=None,
        key_version=1,
        cause=0,
        hmac="",
        verified=verified,
        refusal=None if verified else "bad_mac",
        message="",
        payload=None,
    )


class TestKept:
    def test_the_newest_incidents_stay_and_old_ones_only_while_they_are_open(self) -> None:
        open_ = IncidentView(incident="inc-0", text="", source="operator", reported_us=0, seq=1)
        view = View(incidents={"inc-0": open_})
        kept = Kept()
        for number in range(SHOWN_INCIDENTS + 5):
            kept.add(entry(number + 1, f"triage.incident.inc-{number}.reported"), view)
        names = [incident_of(item.subject) for item in kept.entries()]
        assert names[0] == "inc-0"
        assert len(names) == SHOWN_INCIDENTS + 1

    def test_of_telemetry_only_the_newest_of_each_device_and_no_timers(self) -> None:
        kept = Kept()
        subjects = ["triage.telemetry.orders", "triage.telemetry.catalog", "triage.telemetry.orders"]
        for seq, subject in enumerate([*subjects, "triage.due.scheduler.t1"], start=1):
            kept.add(entry(seq, subject), View())
        assert [item.seq for item in kept.telemetry()] == [2, 3]
        assert kept.entries() == []

    def test_a_forged_message_of_an_incident_is_shown_and_makes_no_room_for_itself(self) -> None:
        kept = Kept()
        for seq in range(1, 1_000):
            kept.add(entry(seq, f"triage.incident.forged-{seq}.reported", verified=False), View())
        kept.add(entry(1_000, "triage.incident.inc-1.reported"), View())
        assert kept.entries()[-1].seq == 1_000
        assert len(kept.entries()) <= 401


@pytest.mark.parametrize(
    ("subject", "incident"),
    [
        ("triage.incident.inc-1.reported", "inc-1"),
        ("triage.task.log.inc-1.v1-t1.a1", "inc-1"),
        ("triage.control.halt", None),
        ("triage.agent.log-agent-1.up", None),
        ("garbage", None),
    ],
)
def test_a_subject_tells_its_incident(subject: str, incident: str | None) -> None:
    assert incident_of(subject) == incident


class TestFigures:
    def test_nothing_ran(self) -> None:
        today = figures([])
        assert (today.injected, today.recovered) == (0, 0)
        assert today.success_rate is today.mean_replan_latency_s is today.median_recovery_s is None

    def test_a_fault_that_nobody_noticed_counts_as_injected(self) -> None:
        runs = [
            Run(True, "recovered", {"success": True, "time_to_recover_s": 12.0, "replans": []}),
            Run(True, "not_recovered", {"success": False, "time_to_recover_s": None, "replans": []}),
            Run(False, "recovered", {"success": True, "time_to_recover_s": None, "replans": []}),
        ]
        today = figures(runs)
        assert (today.injected, today.recovered, today.median_recovery_s) == (2, 1, 12.0)
        assert today.success_rate == pytest.approx(2 / 3)

    def test_replan_latency_is_weighted_by_how_much_the_plan_changed(self) -> None:
        replans = [
            {"t_trigger": 0.0, "t_replan_complete": 1.0, "tged": 3.0},
            {"t_trigger": 0.0, "t_replan_complete": 5.0, "tged": 1.0},
        ]
        assert figures([Run(True, "recovered", {"replans": replans})]).mean_replan_latency_s == 2.0


class TestAlerts:
    FIRING = Firing(
        {"alertname": "ShopDown", "severity": "page"}, {"summary": "orders\x1b[31m fails\nnow"}, "2026-01-01T00:00:00Z"
    )

    def test_its_words_are_cleaned_and_one_line_each(self) -> None:
        assert incident_text([self.FIRING]) == "Prometheus alert ShopDown (severity page): orders [31m fails now"

    def test_its_text_is_always_taken_as_a_report(self) -> None:
        long = Firing({"alertname": "x" * 9_000, "job": "\udcff\x00"}, {"description": "y" * 99_999}, "")
        text = incident_text([long] * 1_000)
        assert IncidentReported(incident="alert-1", text=text, source="operator").text == text

    def test_the_same_outage_has_one_name_and_the_next_another(self) -> None:
        later = Firing(self.FIRING.labels, {}, "2026-01-02T00:00:00Z")
        assert incident_name("g", [self.FIRING]) == incident_name("g", [later, self.FIRING])
        assert incident_name("g", [self.FIRING]) != incident_name("g", [later])
        assert incident_name("g", [self.FIRING]) != incident_name("h", [self.FIRING])


def past(name: str, text: str, target: str, fault_class: str) -> IncidentLike:
    return IncidentLike(name, text, target, fault_class)


class IncidentLike:
    def __init__(self, incident: str, text: str, target: str, fault_class: str) -> None:
        self.incident, self.text, self.target, self.fault_class = incident, text, target, fault_class


def test_the_same_cause_comes_before_the_same_words() -> None:
    known = [
        past("inc-1", "the checkout is slow", "catalog", "network_latency"),
        past("inc-2", "nothing in common", "orders", "config_drift"),
        past("inc-3", "nothing in common", "shop-db", "disk_full"),
        past("inc-4", "the checkout is slow", "orders", "config_drift"),
    ]
    found = similar("inc-4", "the checkout is slow", "orders", "config_drift", known)
    assert [item.incident for _, item in found] == ["inc-2", "inc-1"]
    assert likeness("the checkout is slow", "Slow CHECKOUT: the is") > 0.5
    assert likeness("", "") == 0.0


class TestMonitoring:
    JSZ: ClassVar[dict[str, Any]] = {
        "account_details": [
            {
                "stream_detail": [
                    {
                        "name": "TRIAGE",
                        "state": {"messages": 7, "bytes": 9, "first_seq": 1, "last_seq": 8},
                        "consumer_detail": [{"name": "w-log", "num_pending": 2, "num_redelivered": 1}],
                    }
                ]
            }
        ]
    }

    def test_streams_and_consumers(self) -> None:
        assert streams(self.JSZ)[0]["last_seq"] == 8
        [consumer] = consumers(self.JSZ)
        assert (consumer["pending"], consumer["redelivered"], consumer["waiting"]) == (2, 1, 0)

    def test_connections_and_when_each_was_last_heard(self) -> None:
        connz = {
            "connections": [
                {
                    "name": "log-agent-1",
                    "authorized_user": "log",
                    "rtt": "312µs",
                    "idle": "1m2s",
                    "last_activity": "2026-01-01T00:00:01.5000001Z",
                }
            ]
        }
        [row] = connections(connz)
        assert (row["rtt_ms"], row["idle_s"], row["user"]) == (0.312, 62.0, "log")
        assert last_heard_us(connz) == {"log-agent-1": 1_767_225_601_500_000}

    @pytest.mark.parametrize("answer", [None, {}, {"account_details": None}, {"connections": None}])
    def test_a_server_that_says_nothing_gives_no_rows(self, answer: object) -> None:
        assert streams(answer) == consumers(answer) == connections(answer) == []
        assert last_heard_us(answer) == {}

    def test_spans(self) -> None:
        assert span_s("1h2m3.5s") == 3_723.5
        assert span_s("soon") is None


def test_every_type_of_message_has_words_of_its_own() -> None:
    assert set(_WORDS) == set(CONTRACTS.values())


def test_a_line_is_one_line_and_bounded() -> None:
    line = said(IncidentReported(incident="inc-1", text="a\nb " + "x" * 5_000, source="operator"))
    assert line.startswith("reported by operator: a b")
    assert "\n" not in line
    assert len(line) == MAX_LINE
