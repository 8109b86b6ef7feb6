"""The sentences of reviews, under the name by which scripts that work on prepared data import them.

The code is in `gavamoe.features.sentences`, because finding features needs it and features is a lower layer than data.
"""

from gavamoe.features.sentences import MAX_REVIEW_WORDS, annotate_reviews, split_sentences

__all__ = ["MAX_REVIEW_WORDS", "annotate_reviews", "split_sentences"]
