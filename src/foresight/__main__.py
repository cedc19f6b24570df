"""`python -m foresight`."""

from foresight.cli import main

main()
