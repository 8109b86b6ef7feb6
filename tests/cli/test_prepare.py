"""`gavamoe prepare` from the command line."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path

from helpers.command_line import CommandLine

ROW = '{"user": "u%d", "item": "i%d", "rating": %d, "text": "the acting is great"}\n'


def write(path: Path, rows: int = 40) -> Path:
    path.write_text("".join(ROW % (n % 8, n % 5, 1 + n % 5) for n in range(rows)))
    return path


def test_json_is_one_object_on_stdout_and_nothing_else(gavamoe: CommandLine, tmp_path: Path) -> None:
    done = gavamoe("prepare", write(tmp_path / "r.jsonl"), "--out", tmp_path / "out", "--json")
    card = json.loads(done.stdout)
    assert done.returncode == 0
    assert done.stderr == ""
    assert card["counts"]["reviews"] == 40
    assert card["scale"] == {"levels": 5, "values": [1, 2, 3, 4, 5]}


def test_guessed_columns_and_rating_levels_are_printed(gavamoe: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("member_id,film,score\n" + "".join(f"u{n},i{n % 3},{n % 11}\n" for n in range(44)))
    done = gavamoe("prepare", path, "--out", tmp_path / "out", "--item-col", "film", "--seed", "3")
    assert "guessed user = member_id, rating = score" in done.stdout
    assert "11 levels: 0, 1, 2" in done.stdout


def test_the_files_of_item_metadata_are_printed(gavamoe: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("item,title\ni1,A film\n")
    done = gavamoe("prepare", write(tmp_path / "r.jsonl"), tmp_path / "films.csv", "--out", tmp_path / "out")
    assert "1 described by films.csv" in done.stdout


def test_a_csv_without_header_is_read_with_given_column_names(gavamoe: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("u1,x,i1,3\nu2,x,i1,4\n")
    done = gavamoe("prepare", path, "--out", tmp_path / "out", "--columns", "user,_,item,rating", "--json")
    assert json.loads(done.stdout)["counts"]["reviews"] == 2


def test_bad_input_is_one_line_and_exit_2_and_nothing_at_out(gavamoe: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(ROW % (1, 1, 3) + "oops\n")
    done = gavamoe("prepare", path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "line 2: not JSON" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


def test_an_invalid_seed_is_one_line_and_exit_2(gavamoe: CommandLine, tmp_path: Path) -> None:
    done = gavamoe("prepare", write(tmp_path / "r.jsonl"), "--out", tmp_path / "out", "--seed", "-1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--seed" in done.stderr


def test_a_full_disk_is_one_line_and_exit_2_and_nothing_at_out(tmp_path: Path) -> None:
    def limit() -> None:  # of a process of its own, since the limit cannot be lifted again
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    arguments = ["prepare", write(tmp_path / "r.jsonl", 60_000), "--out", tmp_path / "out"]
    command = [sys.executable, "-c", "from gavamoe.cli.main import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "is full" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


def test_dry_run_prints_how_each_column_is_understood_and_writes_nothing(gavamoe: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rows = (f"bob{n % 7},sku{n % 5},{1 + n % 5}/5,the pool was warm {n},{1 + n % 28:02}/03/2018\n" for n in range(60))
    path.write_text("Customer Name,sku,Your rating,Comments,Posted on\n" + "".join(rows))
    named = ("--rating-col", "Your rating")
    done = gavamoe("prepare", path, "--dry-run", *named)
    assert (done.returncode, done.stderr) == (0, "")
    assert "user      = Customer Name; guessed, 100.0% understood" in done.stdout
    assert "rating    = Your rating; 100.0% understood, out of 5, as 60 of 60 are written" in done.stdout
    assert "timestamp = Posted on; guessed, 100.0% understood, day first, told by" in done.stdout
    assert done.stdout.count("  row ") == 3
    assert "'2018-03-01 00:00:00'" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]
    shown = json.loads(gavamoe("prepare", path, "--dry-run", *named, "--json").stdout)
    assert shown["sample"][0]["item"] == "sku0"
    line = shown["command"]
    assert line in done.stdout
    words = shlex.split(line)
    words[words.index("--out") + 1] = str(tmp_path / "out")
    card = json.loads(gavamoe(*words[1:], "--json").stdout)
    assert (card["counts"]["reviews"], card["sources"][0]["guessed"]) == (35, [])
    assert card["notes"] == shown["notes"]


def test_the_command_of_a_dry_run_has_what_was_named_and_only_what_all_files_share(
    gavamoe: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("user,item,rating,text,feature\n" + "a1,i1,4,a fine pool,pool\n" * 3)
    (tmp_path / "b.csv").write_text("reviewer,item,rating,text,feature\n" + "b1,i1,4,a fine pool,pool\n" * 3)
    sources = (tmp_path / "a.csv", tmp_path / "b.csv")
    line = json.loads(gavamoe("prepare", *sources, "--feature-col", "none", "--dry-run", "--json").stdout)["command"]
    assert "--feature-col none" in line
    assert "--item-col item" in line
    assert "--user-col" not in line


def test_dry_run_counts_unusable_lines_and_needs_no_out(gavamoe: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(ROW % (1, 1, 3) + "oops\n" + ROW % (2, 1, 4))
    done = gavamoe("prepare", path, "--dry-run")
    assert "2 reviews; 1 lines cannot be used" in done.stdout
    assert "line 2: not JSON" in done.stdout
    without = gavamoe("prepare", path)
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "--out" in without.stderr


def test_what_the_values_mean_can_be_said(gavamoe: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    grades = ("A", "B", "F", "none given")
    path.write_text(
        "user,item,rating,text,date\n"
        + "".join(f"u{n},i{n % 3},{grades[n % 4]},fine {n},{1 + n % 9}/{2 + n % 9}/18\n" for n in range(40))
    )
    said = (
        "--ratings",
        "A=5,B=4,F=1,none given=0",
        "--unrated",
        "0",
        "--anonymous",
        "u7",
        "--time-format",
        "day-first",
    )
    card = json.loads(gavamoe("prepare", path, "--out", tmp_path / "out", *said, "--json").stdout)
    assert (card["reading"]["rows"], card["reading"]["not rated, dropped"]) == (30, 10)
    assert card["scale"]["values"] == [1, 2, 3, 4, 5]
    assert card["counts"]["with_time"] == 30
    done = gavamoe("prepare", path, "--out", tmp_path / "other", "--time-format", "sometimes")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--time-format sometimes: expected day-first" in done.stderr
