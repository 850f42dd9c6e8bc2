"""`python -m tinsmith` is the same as the `tinsmith` command."""

from tinsmith.cli import main

main()
