"""The Typer app: every command is registered here, and errors become exit codes here.

    main ──> prepare, train, evaluate, ...   one plain function per command module
                     └──> options, output    what the commands share

Exit codes: 0 done; 2 bad input or usage, with one plain line on stderr; 1 anything else.
A command imports the modules that it needs inside its function, so that `gavamoe --help` stays fast.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from gavamoe.cli import (
    compare,
    data,
    demo,
    diagnose,
    evaluate,
    explain,
    prepare,
    recommend,
    score,
    serve,
    simulate,
    train,
)
from gavamoe.errors import InputError

# Errors that the user can fix with another path, another permission or more space.
PATH_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOSPC}

app = typer.Typer(
    name="gavamoe",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

# In the order in which `gavamoe --help` lists them.
app.command(epilog=prepare.EXAMPLE)(prepare.prepare)
app.command(epilog=train.EXAMPLE)(train.train)
app.command(epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command(epilog=score.EXAMPLE)(score.score)
app.command(epilog=explain.EXAMPLE)(explain.explain)
app.command(epilog=recommend.EXAMPLE)(recommend.recommend)
app.command(epilog=diagnose.EXAMPLE)(diagnose.diagnose)
app.command(epilog=compare.EXAMPLE)(compare.compare)
app.command(epilog=serve.EXAMPLE)(serve.serve)
app.command(epilog=simulate.EXAMPLE)(simulate.simulate)
app.command(epilog=demo.EXAMPLE)(demo.demo)
app.add_typer(data_app, name="data", help="List and fetch the public review sets.")
data_app.command("list", epilog=data.LIST_EXAMPLE)(data.list_sets)
data_app.command("get", epilog=data.GET_EXAMPLE)(data.get)


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
    """Run the command line.

    An `InputError`, wrong usage or an unusable path prints one line on stderr and exits with code 2. An interrupt and a
    closed pipe exit with code 1. Any other exception is raised: it is a fault of the program.
    """
    try:
        sys.exit(app(standalone_mode=False))
    except InputError as error:
        _fail(str(error), 2)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "gavamoe"
        _fail(f"{error.format_message()} (see `{command} --help`)", 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; continue a training or a file of pairs with --resume", 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.filename is None or error.errno not in PATH_ERRORS:
            raise
        _fail(f"{error.filename}: {error.strerror}; choose another path, or make this one usable", 2)


def _fail(message: str, code: int) -> NoReturn:
    """Print the message as one line on stderr and exit."""
    print(f"gavamoe: {' '.join(str(InputError(message)).split())}", file=sys.stderr)
    sys.exit(code)
