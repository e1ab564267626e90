"""Pull requests: what the daemon shows on them, proposes by them, is told by them, and reports to a forge."""
