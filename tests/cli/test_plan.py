"""`gavamoe plan` prints what a training needs, as a table or as JSON."""

import json

from helpers.checkpoints import save_base


def test_the_command_prints_a_table_or_one_json_object(gavamoe, tmp_path):
    base = save_base(tmp_path / "base")
    options = ("--base-model", base, "--gpus", 2, "--memory", 24, "--reviews", 1000)
    code, printed, _ = gavamoe("plan", *options, "--json")
    result = json.loads(printed)
    assert (code, result["gpus"], result["reviews"]) == (0, 2, 1000)
    assert result["train"]["hours"] > 0
    code, printed, _ = gavamoe("plan", *options)
    assert code == 0
    assert "tokens/s" in printed
    code, printed, error = gavamoe("plan", "--base-model", tmp_path / "none")
    assert (code, printed, len(error.strip().splitlines())) == (2, "", 1)
