"""The command line as a function of its arguments, for all tests of commands."""

import sys

import pytest

from gavamoe.cli import main as cli


@pytest.fixture
def gavamoe(monkeypatch, capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gavamoe", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run
