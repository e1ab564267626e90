"""Adoptions."""

FIFTH = """
CREATE TABLE adoptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    what TEXT NOT NULL,            -- what is not ours, as the driver named it
    reason TEXT NOT NULL,
    person TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT NOT NULL,
    used_at TEXT,
    withdrawn_at TEXT,
    withdrawn_by TEXT
) STRICT;
"""
