"""The files of environments that follow one another: every one pins api, at a port of its own."""

from __future__ import annotations

FILE = "environments/{name}.yaml"
PLACE = """\
environment: {name}
driver: {{kind: process}}
{more}pins:
  api: {{version: "{version}", port: {port}}}   # {name}'s own
"""
