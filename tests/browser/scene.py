"""A small fleet as a team would have it: two environments, real services, windows, a freeze, a change that waits."""

from __future__ import annotations

from tests.world import World

SERVICES = ("api", "billing", "search", "web", "worker")
PATIENT = "60s"
"""For so long a service may take to answer: the machine may be busy with a browser."""
STAGING = """\
environment: staging
timezone: Europe/Berlin
driver: {kind: process}
pins:
"""
PRODUCTION = """\
timezone: Europe/Berlin
windows:
  major: [{cron: "0 2 * 1,4,7,10 6#1", duration: 4h}]
  minor: [{cron: "0 2 * * 6#1", duration: 3h}]
freezes:
  - {from: 2026-12-20, until: 2027-01-02, reason: "year end"}
  - {from: 2027-12-20, until: 2028-01-02, reason: "year end"}
policy: {approvals: {major: 1}}
flags:
  new-checkout:
    rules:
      - {when: {email: {ends_with: "@example.org"}}, value: true}
      - {value: true, percent: 20}
"""
FLAGS = """\
flags:
  new-checkout: {default: false, live: true, description: "The checkout in one page."}
  workers: {default: 4, description: "How many orders are worked on at once."}
"""
NOTES = """\
notes: |
  Orders are found by their number again.
  <script>alert("hostile")</script> is only text.
"""
MORE = {"api": NOTES, "worker": FLAGS}
HOSTILE = 'Bump search to 2.0.0 <img src=x onerror="alert(1)"> & "quotes"'


def build(world: World, port: int) -> None:
    """Write and merge it all; the daemon listens on the port."""
    world.settings_more = f'listen: "127.0.0.1:{port}"\n'
    world.more = PRODUCTION
    world.driver_yaml = "{kind: process}"
    for service in SERVICES:
        world.release("1.4.0", service=service, more=MORE.get(service, ""), deadline=PATIENT)
        world.pin("1.4.0", service)
    staged = "".join(
        f'  {service}: {{version: "1.4.0", port: {world.port(f"{service} in staging")}}}\n'
        for service in SERVICES[:4]
    )
    world.files["environments/staging.yaml"] = STAGING + staged
    world.merge("Start with 1.4.0")


def let_one_wait(world: World) -> None:
    """A major release of search, which needs an approval and the window of its class."""
    world.release("2.0.0", service="search", more=NOTES, deadline=PATIENT)
    world.pin("2.0.0", "search")
    world.merge(HOSTILE)
