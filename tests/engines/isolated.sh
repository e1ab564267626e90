#!/usr/bin/env bash
# Runs a command in network, mount and PID namespaces of its own (needs root): when it ends, the kernel ends every
# process that it left, and drops its interfaces, rules and mounts. Only loopback is there: install packages before.
#
#   tests/engines/isolated.sh .venv/bin/python -m pytest tests/engines
set -euo pipefail
(($#)) || { echo "usage: $0 COMMAND [ARGUMENT...]" >&2; exit 2; }
exec unshare --net --mount --propagation private --pid --fork --kill-child=SIGKILL --mount-proc bash -c '
  ip link set lo up
  mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns  # names from `ip netns add` stay in here too
  "$@"
  exit $?  # no exec: this shell stays the first process, and reaps orphans that would look alive as zombies
' isolated "$@"
