"""Search of names by prefix."""

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.service.search import PrefixIndex

NAMES = ["Caf\u00e9 Noir", "cafe", "\u00c5ngstr\u00f6m", "zebra"]


@given(st.sampled_from(NAMES), st.integers(1, 12), st.sampled_from(["NFC", "NFD"]), st.booleans())
def test_a_name_is_found_by_each_prefix_in_any_case_and_unicode_form(name, length, form, upper):
    index = PrefixIndex([[each] for each in NAMES], np.zeros(len(NAMES), int))
    prefix = name[:length].upper() if upper else name[:length]
    assert NAMES.index(name) in index.find(unicodedata.normalize(form, prefix), len(NAMES))
