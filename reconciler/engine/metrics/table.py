"""Every metric that is exported: docs/monitoring.md has the same table, and a test compares the two."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Metric(Struct, frozen=True):
    """`name`: as Prometheus stores it. `labels`: in the order in which samples give their values."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class Sample(Struct, frozen=True):
    """One number, with the values of its metric's labels."""

    metric: str
    labels: tuple[str, ...]
    value: float


_BY_ENVIRONMENT = ("environment",)
_BY_SERVICE = ("environment", "service")
_BY_INSTANCE = ("environment", "service", "index")

TABLE = (
    Metric("ugs_build_info", "gauge", "1, with the version of UGS.", ("version",)),
    Metric("ugs_start_timestamp_seconds", "gauge", "When the daemon started."),
    Metric("ugs_needs_person", "gauge", "How many things do not go on until a person acts: see ugs status."),
    Metric("ugs_problems", "gauge", "How many errors the files of the commit in force have."),
    Metric("ugs_database_writable", "gauge", "1 unless the last write to the database was refused."),
    Metric("ugs_repository_state", "gauge", "1, with the state of the repository; ok is well.", ("state",)),
    Metric("ugs_git_fetched_timestamp_seconds", "gauge", "When the last fetch succeeded; 0: none yet."),
    Metric("ugs_git_max_stale_seconds", "gauge", "After so long without a fetch nothing starts."),
    Metric("ugs_outbox_pending", "gauge", "How much waits to be delivered.", ("channel",)),
    Metric(
        "ugs_outbox_oldest_seconds", "gauge", "For how long the oldest of it waits; 0 for none.", ("channel",)
    ),
    Metric(
        "ugs_webhooks_total",
        "counter",
        "Deliveries of webhooks since the daemon started, by what became of them.",
        ("forge", "outcome"),
    ),
    Metric(
        "ugs_environment_observed", "gauge", "1 unless the last look at its engine failed.", _BY_ENVIRONMENT
    ),
    Metric(
        "ugs_environment_safe_mode",
        "gauge",
        "1 while in safe mode: see ugs recover.",
        _BY_ENVIRONMENT,
    ),
    Metric("ugs_lease_held", "gauge", "1 while the environment is this daemon's to act on.", _BY_ENVIRONMENT),
    Metric(
        "ugs_changes_pending", "gauge", "How many services are not yet where their pins say.", _BY_ENVIRONMENT
    ),
    Metric(
        "ugs_gate_closed",
        "gauge",
        "How many changes the gate keeps waiting.",
        ("environment", "gate"),
    ),
    Metric(
        "ugs_window_opens_timestamp_seconds",
        "gauge",
        "When the windows of a class open next, or opened that are open.",
        ("environment", "class"),
    ),
    Metric(
        "ugs_window_closes_timestamp_seconds", "gauge", "When that opening ends.", ("environment", "class")
    ),
    Metric(
        "ugs_windows_missed_total",
        "counter",
        "Openings that passed unused while a change waited for them.",
        ("environment", "class"),
    ),
    Metric(
        "ugs_upgrades_total",
        "counter",
        "Upgrades that have ended, ever, by how.",
        ("environment", "class", "result"),
    ),
    Metric("ugs_upgrades_unfinished", "gauge", "Upgrades that have not ended.", ("environment", "phase")),
    Metric(
        "ugs_upgrade_oldest_timestamp_seconds",
        "gauge",
        "When the oldest of them was recorded.",
        ("environment", "phase"),
    ),
    Metric(
        "ugs_upgrade_phase_seconds",
        "histogram",
        "How long upgrades stayed in a phase that they have left, since the daemon started.",
        ("environment", "phase"),
    ),
    Metric(
        "ugs_pulls_total",
        "counter",
        "Pull requests of UGS's own, ever, by what became of them.",
        ("environment", "kind", "event"),
    ),
    Metric("ugs_pulls_open", "gauge", "Those that are open, or about to be.", ("environment", "kind")),
    Metric(
        "ugs_promotions_total",
        "counter",
        "Pins that were moved by commits of promotions, ever; and commits that the branch refused.",
        ("environment", "result"),
    ),
    Metric(
        "ugs_promotions_pending",
        "gauge",
        "Pins to which something newer comes from the environment before, now or later.",
        _BY_ENVIRONMENT,
    ),
    Metric("ugs_services", "gauge", "Services, by their health.", ("environment", "health")),
    Metric("ugs_services_left_out", "gauge", "Services without series of their own: see metrics.services."),
    Metric("ugs_service_health", "gauge", "1, with the service's health.", (*_BY_SERVICE, "health")),
    Metric(
        "ugs_service_info",
        "gauge",
        "1, with the versions that run and are pinned.",
        (*_BY_SERVICE, "running", "pinned"),
    ),
    Metric(
        "ugs_service_cpu_seconds_total",
        "counter",
        "Processor time of an instance, with all it started.",
        _BY_INSTANCE,
    ),
    Metric("ugs_service_resident_bytes", "gauge", "Its resident memory.", _BY_INSTANCE),
    Metric("ugs_service_threads", "gauge", "Its threads.", _BY_INSTANCE),
    Metric("ugs_service_open_files", "gauge", "Its open files.", _BY_INSTANCE),
)
METRICS = {metric.name: metric for metric in TABLE}
