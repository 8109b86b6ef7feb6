"""Minimum Bayes risk keeps the draft that agrees most with the other drafts and the references."""

from hypothesis import given
from hypothesis import strategies as st

from gavamoe.language.mbr import mbr_select, select_draft
from gavamoe.language.rarity import Rarity

END = 0


def test_an_outlier_is_not_kept():
    assert mbr_select([[9, 8, 7, 6], [1, 2, 3, 4], [1, 2, 3, 5]]) in (1, 2)
    assert mbr_select([[1, 2, 3], [1, 2, 9], [1, 2, 3]]) in (0, 2)


def test_the_order_of_words_counts():
    assert mbr_select([[4, 3, 2, 1], [1, 2, 3, 4], [1, 2, 3, 5]]) == 1


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), max_size=3), st.permutations(range(7)))
def test_the_text_of_most_drafts_is_kept_at_any_position(odd, order):
    drafts = [[*odd, [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]][i] for i in order if i < len(odd) + 4]
    assert drafts[mbr_select(drafts)] == [1, 2, 3]


texts = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=6)


def test_references_can_outweigh_the_other_drafts():
    drafts = [[1, 2, 3], [1, 2, 3], [1, 2, 3, 7, 8]]
    assert mbr_select(drafts) in (0, 1)
    assert mbr_select(drafts, [[7, 8, 9], [3, 7, 8]]) == 2
    assert select_draft([[*draft, END] for draft in drafts], END, [[7, 8, 9], [3, 7, 8]]) == ([1, 2, 3, 7, 8], True)


def test_among_equally_similar_drafts_one_near_the_target_length_is_kept():
    drafts = [[11, 12], list(range(20, 26)), list(range(30, 40)), list(range(40, 60))]
    assert mbr_select(drafts, [list(range(10))]) == 1
    assert mbr_select(drafts, [list(range(10))], [list(range(30 + 10 * i, 50 + 10 * i)) for i in (5, 6)]) == 2
    assert mbr_select([[], [11]], [[], []]) in (0, 1)


@given(texts)
def test_without_references_the_drafts_alone_decide(drafts):
    assert mbr_select(drafts, [], []) == mbr_select(drafts)


@given(texts, texts, texts)
def test_a_group_of_references_counts_the_same_whatever_its_size(drafts, user, item):
    assert mbr_select(drafts, user, item) == mbr_select(drafts, user * 2, item)


FORM, CONTENT, OTHER = [1, 2], [50, 51], [60, 61]  # tokens of every sentence, of one sentence, of another one
RARITY = Rarity.fit([[*FORM, *(CONTENT if n == 0 else OTHER if n == 1 else [n])] for n in range(100, 200)] + [CONTENT])


def test_with_rarity_a_shared_content_word_outweighs_shared_form():
    drafts = [[1, 2, 70, 71], [80, 81, 50, 51]]
    references = [[[1, 2, 90, 91], [83, 84, 50, 51]]]
    plain = [mbr_select([*order], *references) for order in (drafts, drafts[::-1])]
    assert plain == [0, 0]  # both agree alike, and the first of equals is kept
    by_content = [mbr_select([*order], *references, rarity=RARITY) for order in (drafts, drafts[::-1])]
    assert by_content == [1, 0]


def test_with_rarity_a_draft_that_repeats_a_content_word_loses():
    drafts = [[1, 50, 2, 50], [1, 50, 2, 60]]
    assert mbr_select(drafts) == 0
    assert mbr_select(drafts, rarity=RARITY) == 1
    assert RARITY.repeated_content([1, 50, 2, 50]) == 0.25
    assert RARITY.repeated_content([1, 2, 1, 2]) == RARITY.repeated_content([]) == 0


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=8), st.integers(1, 12))
def test_rarity_falls_with_the_number_of_sentences_and_is_never_negative(sentences, token):
    rarity = Rarity.fit(sentences)
    assert rarity.sentences == len(sentences)
    assert 0 <= Rarity.fit([*sentences, [token]])(token) <= rarity(token) + 1e-9 or rarity.frequency[token] == 0
    assert Rarity.fit([[token]] * 3)(token) == 0


def test_an_unfinished_draft_is_kept_only_if_all_are_unfinished():
    assert select_draft([[1, 2, 3, 4], [7, END, 5]], END) == ([7], True)
    assert select_draft([[1, 2], [1, 2], [3, 4]], END) == ([1, 2], False)


def test_with_several_drafts_a_pair_gets_one_of_them_whatever_its_batch(explainer):
    pairs = [(f"u{i:02d}", f"i{i % 9 + 1:02d}") for i in range(1, 13)]
    sampled = {"do_sample": True, "temperature": 1.0}
    together = [e.text for e in explainer.explain_batch(pairs, candidates=5, **sampled)]
    assert [explainer.explain_batch([pair], candidates=5, **sampled)[0].text for pair in pairs] == together
    single = [e.text for e in explainer.explain_batch(pairs, candidates=1, **sampled)]
    assert together != single
    assert any(one == other for one, other in zip(together, single, strict=True))


def test_with_content_words_a_text_depends_on_its_pair_alone(explainer):
    pairs = [(f"u{i:02d}", f"i{i % 9 + 1:02d}") for i in range(1, 13)]
    options = {"do_sample": True, "temperature": 1.0, "candidates": 5}
    plain, content = (
        [e.text for e in explainer.explain_batch(pairs, mbr_content_words=on, **options)] for on in (False, True)
    )
    alone = [explainer.explain_batch([pair], mbr_content_words=True, **options)[0].text for pair in pairs]
    assert content == alone
    assert content != plain
    assert "in their content words" in explainer.decoding.with_options(mbr_content_words=True, **options).describe()
