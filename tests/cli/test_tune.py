"""`gavamoe tune`, `train --update` and drift as commands: one JSON object, one line per error."""

import json

import yaml
from helpers.streams import with_newcomers


def test_tune_prints_one_object(gavamoe, dataset_path, tiny_config, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(tiny_config.model_dump(mode="json")))
    arguments = ["tune", dataset_path, "--out", tmp_path / "out", "--config", file, "--trials", 1, "--limit", 60]
    code, out, err = gavamoe(*arguments, "--stage", "preference", "--json")
    assert code == 0, err
    printed = json.loads(out)
    assert printed.keys() == {"out", "best", "preference"}
    assert printed["preference"]["trials"]["complete"] == 1
    code, _, err = gavamoe(*arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_update_and_drift_work_from_the_command_line(gavamoe, dataset_path, rating_run_path, ratings_path, tmp_path):
    newer = with_newcomers(dataset_path, tmp_path / "newer", {f"n{u}": f"u{u:02d}" for u in range(1, 30)}, {})
    code, out, err = gavamoe("diagnose", rating_run_path, "--data", newer, "--out", tmp_path / "drift", "--json")
    assert code == 0, err
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["cold_users"]["status"] == "fail"
    assert checks["cold_users"].keys() >= {"name", "status", "value", "threshold", "advice"}
    assert json.loads((tmp_path / "drift" / "drift.json").read_text())["n"] == json.loads(out)["n"]

    update = ["train", newer, "--out", tmp_path / "run", "--update", rating_run_path, "--stage", "preference"]
    code, _, err = gavamoe(*update, "--preset", "tiny")
    assert code == 2
    assert "leave out --preset" in err
    code, _, err = gavamoe(*update, "--set", "preference.clusters=7")
    assert code == 2
    assert "preference.clusters=7" in err
    assert len(err.strip().splitlines()) == 1
    code, out, err = gavamoe(*update, "--set", "preference.update_epochs=2", "--json")
    assert code == 0, err
    assert "29 new users" in err
    card = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert card["config"]["preference"]["update_epochs"] == 2
    assert card["updated_from"]["new_users"] == 29
    code, out, err = gavamoe("diagnose", tmp_path / "run", "--data", newer, "--out", tmp_path / "own", "--json")
    assert code == 0, err
    assert "clusters" in json.loads(out)
