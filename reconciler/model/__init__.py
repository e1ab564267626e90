"""Deciding, and nothing else: no I/O, no clock, no log. Time and observations are arguments."""
