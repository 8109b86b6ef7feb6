"""Counting of parameters: what is left out and what counts once."""

from torch import nn

from gavamoe.parameters import num_parameters


def test_parameters_of_several_modules_are_counted_and_a_shared_one_counts_once():
    tied = nn.ModuleDict({"first": nn.Linear(3, 2), "second": nn.Linear(3, 2, bias=False)})
    tied["second"].weight = tied["first"].weight
    assert num_parameters(tied) == 3 * 2 + 2
    assert num_parameters(tied, nn.Embedding(5, 4)) == 8 + 20
    assert num_parameters() == 0


def test_frozen_parameters_and_those_of_other_names_are_left_out():
    model = nn.ModuleDict({"experts": nn.Linear(3, 2), "gate": nn.Linear(3, 4, bias=False)})
    model["gate"].requires_grad_(False)
    assert num_parameters(model, only_trainable=True) == 8
    assert num_parameters(model, containing=[".gate."]) == 12
    assert num_parameters(model, containing=[".experts.", ".gate."]) == 20
    assert num_parameters(model, only_trainable=True, containing=[".gate."]) == 0
