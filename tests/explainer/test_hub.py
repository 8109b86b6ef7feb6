"""A loaded run is saved, loaded again, pushed to the hub and read from there."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers.weights import assert_same_weights
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AutoModelForCausalLM

from gavamoe import Explainer
from gavamoe.errors import RunError
from gavamoe.explainer import hub
from gavamoe.run import RunDirectory

PAIRS = [("u01", "i01"), ("u02", "i05"), ("nobody", "i02")]


def test_a_saved_run_is_the_run(explainer, run_path, tmp_path):
    explainer.save_pretrained(tmp_path / "saved")
    loaded = Explainer.from_pretrained(tmp_path / "saved", verify=True)
    assert_same_weights(explainer.model.state_dict(), loaded.model.state_dict())
    assert_same_weights(explainer.preference.state_dict(), loaded.preference.state_dict())
    assert loaded.explain_batch(PAIRS, experts=True, evidence=2) == explainer.explain_batch(
        PAIRS, experts=True, evidence=2
    )
    assert loaded.recommend("u01").equals(explainer.recommend("u01"))
    (tmp_path / "saved" / "README.md").write_text("my own card")
    loaded.save_pretrained(tmp_path / "saved")  # an earlier save is replaced
    assert Explainer.from_pretrained(str(tmp_path / "saved")).decoding == explainer.decoding


def test_transformers_loads_the_language_model_of_a_saved_run(explainer, tmp_path):
    explainer.save_pretrained(tmp_path / "saved")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", subfolder="explainer")
    assert_same_weights(explainer.model.state_dict(), model.state_dict())


def test_a_saved_run_tells_no_path_of_the_machine(explainer, run_path, tmp_path):
    explainer.save_pretrained(tmp_path / "saved")
    for name in ("run.yaml", "README.md", "explainer/config.json", "explainer/tokenizer_config.json"):
        content = (tmp_path / "saved" / name).read_text()
        assert str(run_path.parent) not in content, name
        assert str(tmp_path) not in content, name


def test_a_saved_update_with_a_template_of_its_own_tells_no_path_of_the_machine(run_path, tmp_path):
    explainer = Explainer.from_pretrained(run_path)
    changes = ("new_users", "new_items", "lost_users", "lost_items", "held_out", "held_out_seen")
    card, record = explainer.card, {"digest": "0", "reviews": 9, **dict.fromkeys(changes, 0)}
    own = card.settings.explainer.model_copy(update={"prompt_template": "/home/me/own.jinja"})
    explainer.card = replace(
        card,
        config=card.settings.model_copy(update={"explainer": own}),
        updated_from={"run": "/home/me/runs/first", **record},
    )
    explainer.save_pretrained(tmp_path / "saved")
    saved = RunDirectory(tmp_path / "saved").read_card()
    assert saved.updated_from == {"run": "first", **record}
    assert saved.settings.explainer.prompt_template == "own.jinja"
    page = (tmp_path / "saved" / "README.md").read_text()
    assert "An update of the run `first`" in page
    assert "/home/me" not in page


def test_a_directory_with_other_files_is_not_replaced(explainer, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match=r"mine\.txt, which is no part of a run"):
        explainer.save_pretrained(tmp_path / "notes")
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["mine.txt"]


def test_a_trained_run_is_not_replaced_by_a_save_of_it(explainer, run_path):
    before = sorted(run_path.rglob("*"))
    with pytest.raises(RunError, match="the records of its training, which would be lost"):
        explainer.save_pretrained(run_path)
    assert sorted(run_path.rglob("*")) == before


def test_a_run_is_pushed_to_the_hub_and_read_from_there(explainer, tmp_path, monkeypatch):
    calls = []

    def create_repo(self, repo_id, **options):
        calls.append(("create", repo_id, options, self.token))
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, *, repo_id, folder_path, **options):
        calls.append(("upload", repo_id, options))
        shutil.copytree(folder_path, tmp_path / "remote")
        return SimpleNamespace(commit_url="https://hub/commit/1")

    def snapshot_download(repo_id, revision=None):
        calls.append(("download", repo_id, revision))
        return str(tmp_path / "remote")

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    url = explainer.push_to_hub("me/film-texts", private=True, token="t", commit_message="first", revision="v1")
    assert url == "https://hub/commit/1"
    loaded = Explainer.from_pretrained("me/film-texts", revision="v1")
    assert loaded.explain_batch(PAIRS) == explainer.explain_batch(PAIRS)
    assert 'from_pretrained("me/film-texts")' in (tmp_path / "remote" / "README.md").read_text()
    stale = ["catalog/*", "preference/*", "explainer/*"]
    assert calls == [
        ("create", "me/film-texts", {"private": True, "exist_ok": True}, "t"),
        ("upload", "me/film-texts", {"commit_message": "first", "revision": "v1", "delete_patterns": stale}),
        ("download", "me/film-texts", "v1"),
    ]


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), OSError("disk")])
def test_a_name_that_is_neither_a_directory_nor_on_the_hub_is_one_line(error, monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(RunError, match="there is no run at me/nothing, and the Hugging Face hub") as refused:
        Explainer.from_pretrained("me/nothing")
    assert "\n" not in str(refused.value)


def test_a_path_is_never_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "snapshot_download", lambda *args, **options: pytest.fail("the hub was asked"))
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "none", tmp_path.relative_to(tmp_path) / "runs" / "none", str(tmp_path / "none")):
        with pytest.raises(RunError, match="there is no run at"):
            Explainer.from_pretrained(path)
