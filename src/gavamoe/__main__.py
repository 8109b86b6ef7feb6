"""`python -m gavamoe`, the form that torchrun takes: `torchrun --nproc-per-node 2 -m gavamoe train ...`."""

from gavamoe.cli.main import main

main()
