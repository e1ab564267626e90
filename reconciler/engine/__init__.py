"""Doing: one pass over an environment, one phase of an upgrade, and the daemon that keeps both going."""
