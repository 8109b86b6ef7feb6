"""A small dataset for every baseline."""

import pytest
import torch

from gavamoe.baselines.data import TextData
from gavamoe.data.dataset import ReviewDataset


@pytest.fixture(scope="session")
def data(dataset_path, tiny_config):
    config = tiny_config.explainer.model_copy(update={"epochs": 2})
    return TextData.from_dataset(ReviewDataset.load(dataset_path), config)


@pytest.fixture
def batch(data):
    return next(data.corpus_vocabulary.training_batches(seed=0, epoch=0))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
