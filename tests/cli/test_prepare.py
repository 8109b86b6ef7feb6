"""`gavamoe prepare` from the command line."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

ROW = '{"user": "u%d", "item": "i%d", "rating": %d, "text": "the acting is great"}\n'


def gavamoe(*arguments: object, file_limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    command = [sys.executable, "-c", "from gavamoe.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)


def write(path: Path, rows: int = 40) -> Path:
    path.write_text("".join(ROW % (n % 8, n % 5, 1 + n % 5) for n in range(rows)))
    return path


def test_json_is_one_object_on_stdout_and_nothing_else(tmp_path: Path) -> None:
    done = gavamoe("prepare", write(tmp_path / "r.jsonl"), "--out", tmp_path / "out", "--json")
    card = json.loads(done.stdout)
    assert done.returncode == 0
    assert done.stderr == ""
    assert card["counts"]["reviews"] == 40
    assert card["scale"] == {"levels": 5, "values": [1, 2, 3, 4, 5]}


def test_guessed_columns_and_rating_levels_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("member_id,film,score\n" + "".join(f"u{n},i{n % 3},{n % 11}\n" for n in range(44)))
    done = gavamoe("prepare", path, "--out", tmp_path / "out", "--item-col", "film", "--seed", "3")
    assert "guessed user = member_id, rating = score" in done.stdout
    assert "11 levels: 0, 1, 2" in done.stdout


def test_the_files_of_item_metadata_are_printed(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("item,title\ni1,A film\n")
    done = gavamoe("prepare", write(tmp_path / "r.jsonl"), tmp_path / "films.csv", "--out", tmp_path / "out")
    assert "1 described by films.csv" in done.stdout


def test_a_csv_without_header_is_read_with_given_column_names(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("u1,x,i1,3\nu2,x,i1,4\n")
    done = gavamoe("prepare", path, "--out", tmp_path / "out", "--columns", "user,_,item,rating", "--json")
    assert json.loads(done.stdout)["counts"]["reviews"] == 2


def test_bad_input_is_one_line_and_exit_2_and_nothing_at_out(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(ROW % (1, 1, 3) + "oops\n")
    done = gavamoe("prepare", path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "line 2: not JSON" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


def test_an_invalid_seed_is_one_line_and_exit_2(tmp_path: Path) -> None:
    done = gavamoe("prepare", write(tmp_path / "r.jsonl"), "--out", tmp_path / "out", "--seed", "-1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--seed" in done.stderr


def test_a_full_disk_is_one_line_and_exit_2_and_nothing_at_out(tmp_path: Path) -> None:
    done = gavamoe("prepare", write(tmp_path / "r.jsonl", 60_000), "--out", tmp_path / "out", file_limit=20_000)
    assert done.returncode == 2, done.stderr
    assert "is full" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]
