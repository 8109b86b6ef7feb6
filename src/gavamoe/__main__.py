"""Run the command line with `python -m gavamoe`.

torchrun needs this form: `torchrun --nproc-per-node 2 -m gavamoe train ...`.
"""

from gavamoe.cli.main import main

main()
