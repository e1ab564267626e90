"""The table of docs/performance.md: what grows with what changed, not with what exists."""
