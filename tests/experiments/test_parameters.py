"""The number of parameters to which baselines are matched."""

import pytest

from gavamoe.baselines.data import TextData
from gavamoe.config import parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.experiments.gavamoe import count_parameters
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.train import train_run


@pytest.mark.parametrize(
    "changes",
    [{}, {"preference": {"user_rows": 20}}, {"explainer": {"gate_clusters": "one"}}],
    ids=["a row for each user", "shared rows", "one gate"],
)
def test_the_count_is_that_of_a_trained_run(changes, dataset_path, tiny_config, tmp_path):
    tree = tiny_config.model_dump()
    for stage, settings in changes.items():
        tree[stage] |= settings
    tree["explainer"]["epochs"] = 1
    config = parse_config(tree)
    train_run(dataset_path, tmp_path / "run", config)
    explainer = Explainer.from_pretrained(tmp_path / "run")
    trained = [*explainer.context.preference.parameters(), *explainer.model.parameters()]
    data = TextData.from_dataset(ReviewDataset.load(dataset_path), config.explainer)
    assert count_parameters(data, config) == sum(parameter.numel() for parameter in trained)
