"""Where instances are reached from here, and whether it is their node that does not answer."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from reconciler.drivers.base import Endpoint
from reconciler.drivers.docker import NOWHERE
from reconciler.drivers.docker.body import ROOT, inner_port, values_of
from reconciler.drivers.swarm.body import is_published
from reconciler.drivers.swarm.slots import Slot
from reconciler.drivers.swarm.wire import Node, Task
from reconciler.model.target import Workload

GOSSIP_PORT = 7946
"""Open on every node of a swarm, for the others: where it is not, the engine there is gone, or the node."""
CONNECT_S = 0.5


def endpoints_of(work: Workload, slots: list[Slot], nodes: Mapping[str, Node]) -> tuple[Endpoint, ...]:
    """Each instance at the published port of the node that it is on; where none is published, at its own address in
    the first of its networks."""
    heads = [head for slot in slots if (head := slot.head(work.target))]
    at = [_address(work, head, nodes) for head in heads] + [(NOWHERE, NOWHERE)] * work.instances
    return tuple(_endpoint(work, index, *at[index]) for index in range(work.instances))


def lost_node(endpoint: Endpoint) -> str:
    """A sentence when neither the instance nor its node answers: then the service has proved nothing by its silence.

    It takes the others a while to give a node up, and for so long its instances are said to run.
    """
    host, node = endpoint.values["host"], endpoint.values["node"]
    if NOWHERE in (host, node) or endpoint.port is None:
        return ""  # nothing is there to be asked, and that is what the probe says
    if _answers(host, endpoint.port) or _answers(node, GOSSIP_PORT):
        return ""
    return f"the node {node} does not answer"


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def _address(work: Workload, task: Task, nodes: Mapping[str, Node]) -> tuple[str, str]:
    """(where the instance is reached, where its node is)."""
    found = nodes.get(task.node_id)
    node = (found.host if found else "") or NOWHERE
    if is_published(work):
        return node, node
    addresses = [address for one in task.attachments or () for address in one.addresses or ()]
    return (addresses[0].partition("/")[0] if addresses else NOWHERE), node


def _endpoint(work: Workload, index: int, host: str, node: str) -> Endpoint:
    values = values_of(work, index, host) | {"node": node}
    port = work.port if is_published(work) else inner_port(work)
    if port is not None:
        values["port"] = str(port)
    return Endpoint(index, port, ROOT, values)
