"""The Typer app: every command is registered here, and errors become exit codes here.

    main ──> prepare, train, evaluate, ...   one plain function per command module
                     └──> options, output    what the commands share

Exit codes: 0 done; 2 bad input or usage, with one plain line on stderr; 3 a failed check (`diagnose --check`); 130 and
143 interrupted; 1 anything else.
A command imports the modules that it needs inside its function, so that `gavamoe --help` stays fast.
"""

from __future__ import annotations

import errno
import signal
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
    export,
    plan,
    prepare,
    recommend,
    score,
    serve,
    simulate,
    train,
    tune,
)
from gavamoe.errors import InputError

# Errors that the user can fix with another path, another permission or more space.
PATH_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
PATH_ERRORS |= {errno.ENAMETOOLONG, errno.ELOOP}
# A full disk; libraries in other languages (polars, safetensors, torch) report it in words only.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
MEMORY_TEXTS = ("OutOfMemoryError", "can't allocate memory")  # of a GPU and of a CPU
FULL_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "database or disk is full",  # SQLite
    "PytorchStreamWriter failed writing",
    "unexpected pos ",  # torch.save: the file is shorter than what was written
)
INTERRUPTED = 130
RESUME = "continue a training, a comparison, a search or a file of pairs with --resume"

app = typer.Typer(
    name="gavamoe",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(callback=data.data, invoke_without_command=True, rich_markup_mode=None)

# In the order in which `gavamoe --help` lists them.
app.command(epilog=prepare.EXAMPLE)(prepare.prepare)
app.command(epilog=train.EXAMPLE)(train.train)
app.command(epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command(epilog=score.EXAMPLE)(score.score)
app.command(epilog=explain.EXAMPLE)(explain.explain)
app.command(epilog=recommend.EXAMPLE)(recommend.recommend)
app.command(epilog=diagnose.EXAMPLE)(diagnose.diagnose)
app.command(epilog=compare.EXAMPLE)(compare.compare)
app.command(epilog=export.EXAMPLE)(export.export)
app.command(epilog=plan.EXAMPLE)(plan.plan)
app.command(epilog=tune.EXAMPLE)(tune.tune)
app.command(epilog=serve.EXAMPLE)(serve.serve)
app.command(epilog=simulate.EXAMPLE)(simulate.simulate)
app.command(epilog=demo.EXAMPLE)(demo.demo)
app.add_typer(data_app, name="data", epilog=data.GET_EXAMPLE)
data_app.command("list", epilog=data.LIST_EXAMPLE)(data.list_sets)
data_app.command("get", epilog=data.GET_EXAMPLE)(data.get)


@app.callback(invoke_without_command=True)
def gavamoe(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Explainable recommendation: learn preferences from reviews, and write why an item suits a user."""
    if version:
        from gavamoe import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


class _Terminated(BaseException):
    """The process was asked to end (SIGTERM): temporary copies are deleted on the way out."""


def main() -> None:
    """Run the command line.

    An `InputError`, wrong usage, an unusable path, a full disk and full memory print one line on stderr and exit with
    code 2. An interrupt exits with code 130, SIGTERM with 143, a closed pipe with 1. Any other exception is raised: it
    is a fault of the program.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        if code == INTERRUPTED:  # Typer catches the KeyboardInterrupt
            _fail(f"interrupted; {RESUME}", INTERRUPTED)
        sys.exit(code)
    except InputError as error:
        _fail(str(error), 2)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "gavamoe"
        _fail(f"{error.format_message()} (see `{command} --help`)", 2)
    except KeyboardInterrupt:
        _fail(f"interrupted; {RESUME}", INTERRUPTED)
    except _Terminated:
        _fail(f"terminated; {RESUME}", 128 + signal.SIGTERM)
    except typer.Abort as error:  # Typer makes one of every EOFError, which says nothing of the user
        raise error.__cause__ or error from None
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        line = _explain(error)
        if line is None:
            raise
        _fail(line, 2)


def _terminate(number: int, frame: object) -> NoReturn:
    raise _Terminated


def _explain(error: BaseException | None) -> str | None:
    """Return the line for an error of the machine, which the user can mend; None for a fault of the program."""
    if error is None:
        return None
    text = str(error)
    if getattr(error, "errno", None) in FULL or any(words in text for words in FULL_TEXTS):
        place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return f"the disk is full{place}: free some space, or write elsewhere; {RESUME}"
    if isinstance(error, MemoryError) or any(words in f"{type(error).__name__}: {text}" for words in MEMORY_TEXTS):
        return "the memory is full: raise explainer.accumulation, lower preference.batch_size, or use a smaller model"
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"{error.object[:40]!a} is not valid UTF-8; write the name as the reviews have it"
    if isinstance(error, OSError) and error.filename is not None and error.errno in PATH_ERRORS:
        return f"{error.filename}: {error.strerror}; choose another path, or make this one usable"
    return _explain(error.__cause__ or error.__context__)


def _fail(message: str, code: int) -> NoReturn:
    """Print the message as one line on stderr and exit."""
    print(f"gavamoe: {' '.join(str(InputError(message)).split())}", file=sys.stderr)
    sys.exit(code)
