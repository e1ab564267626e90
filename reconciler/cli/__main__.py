"""`python -m reconciler.cli` is `ugs`."""

from reconciler.cli import main

main()
