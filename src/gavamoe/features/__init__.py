"""Features: the aspects of an item that texts mention, such as acting or breakfast, as one word or phrase each.

Text as arrays: language, cleaning, tokens, token_corpus. Word lists: lexicon. Features: mining learns them from a
corpus, extractor finds the feature of a text, sentences shortens a long review to its best sentence, predictor
predicts the feature of a (user, item) pair before any text exists.
"""
