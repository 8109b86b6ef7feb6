"""The command line: one small file per command beside this one; here they meet and errors become exit codes.

Exit codes: 0 done; 2 bad input or usage, with one plain line on stderr; 1 anything else.
Modules that a command needs are imported inside the command, so that `gavamoe --help` stays instant.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gavamoe.errors import InputError

# What a person can mend by another path, or by making room.
UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOSPC}

app = typer.Typer(
    name="gavamoe",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def gavamoe(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Explainable recommendation: learn taste from reviews, and write why an item suits a user."""
    if version:
        from gavamoe import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line; an `InputError`, misuse, or a path of no use is one line on stderr and exit code 2."""
    import gavamoe.cli.commands  # noqa: F401 - registers the commands

    try:
        sys.exit(app(standalone_mode=False))
    except InputError as error:
        _fail(str(error), 2)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "gavamoe"
        _fail(f"{error.format_message()} (see `{command} --help`)", 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; a long work that was begun goes on with --resume", 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.filename is None or error.errno not in UNUSABLE:
            raise
        _fail(f"{error.filename}: {error.strerror}; choose another path, or make this one usable", 2)


def _fail(message: str, code: int) -> None:
    print(f"gavamoe: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
