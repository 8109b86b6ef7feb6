"""The command line: one small file per command beside this one; here they meet and errors become exit codes.

Exit codes: 0 done; 2 bad input or usage, with one plain line on stderr; 1 anything else.
Modules that a command needs are imported inside the command, so that `gavamoe --help` stays instant.
"""

from __future__ import annotations

import sys

import typer

from gavamoe.errors import InputError

app = typer.Typer(
    name="gavamoe",
    help="Explainable recommendation: learn taste from reviews, and write why an item suits a user.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; every `InputError` becomes one line on stderr and exit code 2."""
    import gavamoe.cli.commands  # noqa: F401 - registers the commands

    try:
        app()
    except InputError as error:
        print(f"gavamoe: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("gavamoe: interrupted", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
