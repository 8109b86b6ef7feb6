"""Stage 1 that reads: what it reconstructs of texts, its text block, its clusters, and what they say about texts."""

import copy
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from helpers.weights import assert_same_weights
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.errors import ConfigError, InputError
from gavamoe.preference import text_trainer
from gavamoe.preference.choose_k import choose_clusters
from gavamoe.preference.fold_in import infer_user, with_guests
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.posterior import user_log_likelihoods
from gavamoe.preference.text_target import TextTarget
from gavamoe.preference.trainer import fit_preference
from gavamoe.preference.warm_start import user_responsibilities
from gavamoe.preference.word_gain import WordCounts, text_gain

USERS, ITEMS, UNITS = 30, 20, 40
READS = PreferenceConfig(
    clusters=2,
    latent=4,
    embedding=8,
    hidden=8,
    text_latent=4,
    pretrain_epochs=4,
    epochs=12,
    warmup_epochs=2,
    restarts=2,
    reconstructs="ratings+words",
)


def topic_reviews(seed: int, count: int) -> InteractionArrays:
    """Return reviews whose units come from one half of the vocabulary for even items, and from the other for odd."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, USERS + 1, count), rng.integers(1, ITEMS + 1, count)
    units = rng.integers(1, UNITS // 2 + 1, (count, 6)) + (item % 2 * (UNITS // 2))[:, None]
    return InteractionArrays(user, item, rng.integers(1, 6, count), units.astype(np.int16))


def a_model() -> PreferenceModel:
    return PreferenceModel.from_config(USERS, ITEMS, 5, READS, seed=1, vocabulary=UNITS)


@pytest.fixture(scope="module")
def trained() -> PreferenceModel:
    model = a_model()
    fit_preference(model, topic_reviews(0, 800), topic_reviews(1, 200), READS, seed=3)
    return model.eval()


def test_clusters_of_a_model_that_reads_are_the_topics_that_ratings_cannot_show(trained):
    user, item = torch.randint(1, USERS + 1, (500,)), torch.randint(1, ITEMS + 1, (500,))
    cluster = trained.assign(user, item)
    agreement = (cluster == item % 2).float().mean()
    assert max(agreement, 1 - agreement) > 0.95


def test_clusters_that_are_topics_lower_the_loss_of_held_out_texts_and_random_clusters_do_not(trained):
    train, valid = topic_reviews(0, 800), topic_reviews(1, 200)

    def gain(assign):
        fitted, held_out = (assign(torch.from_numpy(a.user_id), torch.from_numpy(a.item_id)) for a in (train, valid))
        return text_gain(WordCounts.of_units(train.units, valid.units), fitted.numpy(), held_out.numpy()).nats

    assert gain(trained.assign) == pytest.approx(np.log(2), abs=0.05)
    assert abs(gain(lambda user, item: user % 2)) < 0.02


def test_the_ratings_do_not_depend_on_the_text_dimensions(trained):
    z = torch.randn(7, 8)
    moved = torch.cat([z[:, :4], torch.randn(7, 4)], dim=1)
    torch.testing.assert_close(trained.decoder(z), trained.decoder(moved), rtol=0, atol=0)


def test_without_units_of_texts_a_model_that_reads_cannot_be_trained():
    blind = [replace(topic_reviews(seed, 100), units=None) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="no units of texts"):
        fit_preference(a_model(), *blind, READS)


def test_a_model_that_reads_is_saved_and_loaded_to_the_bit(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    assert_same_weights(PreferenceModel.from_pretrained(tmp_path).state_dict(), trained.state_dict())


def test_a_model_that_reads_is_loaded_from_the_hub_with_its_units(trained, tmp_path, monkeypatch, capsys):
    reading = copy.copy(trained)
    reading.text_target = TextTarget("words", tuple(f"word{i}" for i in range(trained.text.decoder.out_features)))
    reading.save_pretrained(tmp_path)
    monkeypatch.setattr("gavamoe.preference.model.hf_hub_download", lambda repo, name, **_: tmp_path / name)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda *_, filename, **__: tmp_path / filename)
    loaded = PreferenceModel.from_pretrained("owner/name")
    assert_same_weights(loaded.state_dict(), trained.state_dict())
    assert loaded.text_target == reading.text_target
    assert capsys.readouterr().out == ""


def test_an_interrupted_text_phase_resumes_to_the_same_weights(tmp_path, monkeypatch):
    train, valid = topic_reviews(0, 200), topic_reviews(1, 50)
    uninterrupted = a_model()
    history = fit_preference(uninterrupted, train, valid, READS, seed=3)
    calls = []

    def save_twice(path, state, save=text_trainer.save_state):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path)
        save(path, state)

    monkeypatch.setattr(text_trainer, "save_state", save_twice)
    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit_preference(a_model(), train, valid, READS, seed=3, checkpoint=path)
    monkeypatch.undo()
    resumed = a_model()
    assert fit_preference(resumed, train, valid, READS, seed=3, checkpoint=path) == history
    assert_same_weights(resumed.state_dict(), uninterrupted.state_dict())


def test_the_kl_of_both_blocks_counts_once_per_side(trained):
    user, item = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])
    mu, log_var = trained.encode(user, item)
    losses = trained.losses_at(mu, mu, log_var, torch.tensor([0, 1, 2]))
    whole = trained.prior.kl(mu, log_var, trained.prior.log_responsibilities(mu))
    torch.testing.assert_close(losses.kl_user + losses.kl_item, whole)


def test_latent_means_hold_the_dimensions_of_both_blocks_of_each_side(trained):
    users, items = trained.latent_means()
    mu = trained.latent(torch.tensor([3]), torch.tensor([5]))[0]
    torch.testing.assert_close(torch.cat([users[3, :2], items[5, :2], users[3, 2:], items[5, 2:]]), mu)
    assert [table.shape[1] for table in trained.embedding_tables()] == [16, 16]


def test_a_guest_has_a_row_in_the_tables_of_both_blocks(trained):
    estimate = infer_user(trained, [1, 2, 3], [5, 4, 1])
    guest = with_guests(trained, [estimate])
    found = guest.latent(torch.tensor([USERS + 1]), torch.tensor([2]))
    assert torch.isfinite(found).all()
    for block in (guest.encoder, guest.text.encoder):
        torch.testing.assert_close(
            block.user.vectors(torch.tensor([USERS + 1]))[0] - block.user.typical_E,
            estimate.mean_row(block.user.offset.table.weight),
        )


def test_the_likelihood_of_texts_chooses_as_many_clusters_as_there_are_topics():
    config = READS.model_copy(update={"cluster_range": (1, 3)})

    def untrained(settings):
        return PreferenceModel.from_config(USERS, ITEMS, 5, settings, vocabulary=UNITS)

    found = choose_clusters(topic_reviews(0, 800), topic_reviews(1, 300), config, "text", 0, untrained)
    by_k = {candidate.clusters: candidate.cost for candidate in found}
    assert by_k[1] - by_k[2] > 0.6
    assert by_k[3] == pytest.approx(by_k[2], abs=0.05)


TEXTS = pl.DataFrame(
    {
        "text": ["The plot drags, the plot sags.", "A plot with wit!", None] * 5,
        "feature": ["plot", "wit", None] * 5,
        "sentiment": pl.Series([-1, 1, None] * 5, dtype=pl.Int8),
    }
)


def test_units_are_distinct_words_of_training_reviews_that_are_neither_rare_nor_everywhere(monkeypatch):
    monkeypatch.setattr("gavamoe.preference.text_target.MAX_SHARE", 0.5)
    target = TextTarget.fit("words", TEXTS)
    assert set(target.units) == {"the", "drags", "sags", "a", "with", "wit"}  # plot is in 10 of 15, and marks are none
    row = [target.units[unit - 1] for unit in target.encode(TEXTS)[0] if unit]
    assert row == ["the", "drags", "sags"]
    assert target.encode(TEXTS)[2].tolist() == [0, 0, 0]


def test_features_are_units_together_with_their_polarity():
    target = TextTarget.fit("features", TEXTS)
    assert set(target.units) == {"plot -", "wit +"}
    assert [target.units[row[0] - 1] if row[0] else None for row in target.encode(TEXTS[:3])] == [
        "plot -",
        "wit +",
        None,
    ]


def test_a_target_survives_saving_and_too_few_units_are_refused(tmp_path):
    target = TextTarget.fit("features", TEXTS)
    target.save(tmp_path)
    assert TextTarget.load(tmp_path) == target
    assert TextTarget.load(tmp_path / "elsewhere") is None
    (tmp_path / "vocabulary.json").write_text("[]")
    with pytest.raises(InputError, match=r"vocabulary\.json"):
        TextTarget.load(tmp_path)
    with pytest.raises(ConfigError, match="fewer than two words"):
        TextTarget.fit("words", TEXTS[:3])


@given(st.lists(st.lists(st.sampled_from(["plot", "wit", "cast", "tempo"]), max_size=6), min_size=8, max_size=20))
def test_an_encoded_review_has_each_of_its_known_words_once(rows):
    reviews = pl.DataFrame({"text": [" ".join(row) for row in rows]})
    target = TextTarget("words", ("plot", "wit", "cast"))
    for words, encoded in zip(rows, target.encode(reviews), strict=True):
        found = [target.units[unit - 1] for unit in encoded if unit]
        assert sorted(found) == sorted(set(words) & set(target.units))


def test_ratings_say_of_a_user_the_same_in_a_fold_in_and_in_the_likelihoods_of_many_users(trained):
    ratings = np.array([[7, 1, 5], [7, 2, 4], [7, 3, 1]])  # user, item, level
    likelihood = user_log_likelihoods(trained, ratings, np.array([7]), torch.arange(1, USERS + 1))
    estimate = infer_user(trained, ratings[:, 1].tolist(), ratings[:, 2].tolist())
    kept = likelihood.softmax(-1)[0, estimate.user_ids - 1]
    torch.testing.assert_close(kept / kept.sum(), estimate.weights)


def test_responsibilities_of_users_are_those_of_the_users_dimensions_of_both_blocks(trained):
    mean, var = trained.prior.mean_KD, trained.prior.log_var_KD.exp()
    mine = torch.tensor([True, True, False, False] * 2)
    density = torch.distributions.Normal(mean[:, mine], var[:, mine].sqrt())
    log_p = density.log_prob(trained.latent_means()[0][:, None]).sum(-1) + trained.prior.log_weight_K
    torch.testing.assert_close(user_responsibilities(trained), log_p.softmax(-1).detach())
