"""Slots of FleetLock."""

SIXTH = """
CREATE TABLE slots (               -- given by this daemon's FleetLock server
    slot_group TEXT NOT NULL,
    client TEXT NOT NULL,
    taken_at TEXT NOT NULL,
    PRIMARY KEY (slot_group, client)
) STRICT;

CREATE TABLE held_slots (          -- that upgrades of this daemon hold, or asked for
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    operation TEXT NOT NULL,
    slot_group TEXT NOT NULL,
    url TEXT,                      -- of another server
    PRIMARY KEY (environment, service, operation)
) STRICT;
"""
