"""The vectors that soft tokens start from."""

import polars as pl
import torch

from gavamoe.explainer.soft_tokens import item_lsa_vectors, soft_token_init


def reviews() -> pl.DataFrame:
    texts = {
        1: "space rocket alien space",
        2: "alien rocket space ship",
        3: "love wedding dance",
        4: "dance love song",
    }
    rows = [(item, f"{text} film") for item, text in texts.items() for _ in range(10)]
    return pl.DataFrame(rows, schema=["item_id", "text"], orient="row")


def test_items_with_similar_texts_start_close_together():
    vectors = item_lsa_vectors(reviews(), rows=6, width=2)
    distance = torch.cdist(vectors, vectors)
    assert distance[1, 2] < distance[1, 3]
    assert distance[3, 4] < distance[2, 4]
    assert (vectors[[0, 5]] == 0).all()  # the unknown, and an item without texts


def test_the_vector_of_an_item_with_few_texts_is_shrunk():
    many = item_lsa_vectors(reviews(), rows=5, width=2)
    few = item_lsa_vectors(reviews().unique("text", keep="first"), rows=5, width=2)
    assert few.norm() < 0.2 * many.norm()


def test_stage_1_comes_first_at_unit_variance_whatever_its_scale():
    stage1 = 50 * torch.randn(7, 3) + 4
    vectors = soft_token_init(stage1, item_lsa_vectors(reviews(), rows=7, width=5))
    assert vectors.shape == (7, 8)
    torch.testing.assert_close(vectors[:, :3].std(0), torch.ones(3))


def test_texts_without_a_common_word_give_zero_vectors():
    alone = pl.DataFrame({"item_id": [1, 2], "text": ["a", "b"]})
    assert (item_lsa_vectors(alone, rows=3, width=4) == 0).all()
