"""A loaded run written to another directory or to the Hugging Face hub, and a run read from there.

    Explainer --save_run--> a directory with catalog/, preference/, explainer/ and run.yaml
              --push_run--> a repository of the hub with the same files --find_run--> a local copy

The directory differs from the run that was trained: LoRA factors are merged, and it has no predictions, no training
records and no paths of the machine.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from gavamoe.errors import RunError
from gavamoe.explainer.model_card import write_model_card
from gavamoe.files import real_path, staged_directory
from gavamoe.language.quiet import quiet_transformers
from gavamoe.run import RunCard, RunDirectory, check_outside_parts
from gavamoe.seal import check_replace

if TYPE_CHECKING:
    from gavamoe.explainer.explainer import Explainer

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_run(run: Path | str, revision: str | None = None) -> Path:
    """Return the directory of a run: a local one, or the copy of a repository of the hub.

    Args:
        run: a directory; a string that names no directory may be a hub id, `OWNER/NAME`.
        revision: branch, tag or commit of the repository.

    Raises:
        RunError: There is neither such a directory nor such a repository that can be read.
    """
    if isinstance(run, Path) or Path(run).exists() or not HUB_ID.fullmatch(run):
        return Path(run)
    try:
        return Path(snapshot_download(run, revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = "cannot be reached" if isinstance(error, LocalEntryNotFoundError) else "has no such run to read"
        raise RunError(
            f"there is no run at {run}, and the Hugging Face hub {reason}; check the path, or for a private "
            "repository log in with `hf auth login`"
        ) from None


@quiet_transformers()
def save_run(explainer: Explainer, directory: Path, name: str | None = None) -> None:
    """Write a run that `Explainer.from_pretrained` reads; one that was written so before is replaced.

    Args:
        explainer: the run.
        directory: where to write.
        name: what the card tells the reader to load; None is the directory's name.

    Raises:
        RunError: The directory holds something else, or a run with the records of its training, or lies in a run.
    """
    check_outside_parts(directory)
    if RunDirectory(directory).training.exists():
        raise RunError(
            f"{directory} is a run with the records of its training, which would be lost: choose another directory"
        )
    if directory.exists():
        check_replace(directory, "run", RunError, editable=(RunDirectory(directory).model_card.name,))
    with staged_directory(real_path(directory)) as staged:
        run = RunDirectory(staged)
        explainer.catalog.save(run.catalog)
        explainer.preference.save_pretrained(run.preference)
        run.explainer.mkdir()
        explainer.model.save_pretrained(run.explainer)
        explainer.tokenizer.save_pretrained(run.explainer)
        explainer.context.save(run.explainer)
        card = _public_card(explainer.card)
        run.write_card(card)
        write_model_card(run, explainer.catalog, card, name or directory.name)
        run.seal()


def push_run(explainer: Explainer, repo_id: str, **options: Any) -> str:
    """Write a run to a repository of the hub, which is created if needed, and return the commit's address.

    Args:
        explainer: the run.
        repo_id: `OWNER/NAME`.
        options: private, token, commit_message, revision and create_pr, as in transformers.
    """
    api, private = HfApi(token=options.pop("token", None)), options.pop("private", None)
    repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    message = options.pop("commit_message", None) or "Upload a run of gavamoe"
    with tempfile.TemporaryDirectory() as folder:
        save_run(explainer, Path(folder) / "run", name=repo)
        # Files of an earlier run that this run lacks would not belong to its manifest.
        stale = [f"{part}/*" for part in ("catalog", "preference", "explainer")]
        commit = api.upload_folder(
            repo_id=repo, folder_path=Path(folder) / "run", commit_message=message, delete_patterns=stale, **options
        )
    return str(commit.commit_url)


def _public_card(card: RunCard) -> RunCard:
    """Return the card of a run without paths of this machine; the saved model is whole."""
    settings, source = card.settings, card.updated_from
    template = settings.explainer.prompt_template
    changed = {"save": "merged", "prompt_template": None if template is None else Path(template).name}
    return replace(
        card,
        data=Path(card.data).name,
        base_model=card.public_base,
        config=settings.model_copy(update={"explainer": settings.explainer.model_copy(update=changed)}),
        updated_from=None if source is None else {**source, "run": Path(source["run"]).name},
    )
