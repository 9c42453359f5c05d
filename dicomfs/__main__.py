"""`python -m dicomfs`, the same as the command `dicomfs`."""

from dicomfs.cli import main

main(prog_name="dicomfs")
