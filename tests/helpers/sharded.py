"""Run by two processes (test_sharding.py): a model that FSDP2 shards has the gradients of the whole model."""

import sys

import torch
from helpers.soft_tokens import random_vectors
from helpers.weights import assert_same_weights
from helpers.worlds import TINY
from torch.distributed import destroy_process_group, get_rank, init_process_group
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.trainer import gather_sharded

CONFIG = ExplainerConfig(**TINY["explainer"] | {"dropout": 0.0})


def build_model() -> GavamoeForCausalLM:
    torch.manual_seed(0)
    return build.from_scratch(["a fine film", "a dull plot"] * 20, CONFIG, 3, random_vectors())[0]


ids = torch.arange(24).view(4, 6) + 10
batch = {"input_ids": ids, "labels": ids} | {
    name: torch.tensor([0, 1, 2, 1]) for name in ("user_ids", "item_ids", "cluster_ids")
}
scored = torch.tensor(20)
whole = build_model().train()
whole(**batch, num_items_in_batch=scored).loss.backward()  # before the process group exists

init_process_group("gloo")
sharded, mesh = build_model().train(), init_device_mesh("cpu", (2,))
for layer in sharded.lm.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(sharded, mesh=mesh)
own = {name: tensor[2 * get_rank() :][:2] for name, tensor in batch.items()}
(2 * sharded(**own, num_items_in_batch=scored).loss).backward()  # FSDP averages over two processes
for (name, parameter), (_, expected) in zip(sharded.named_parameters(), whole.named_parameters(), strict=True):
    torch.testing.assert_close(parameter.grad.full_tensor(), expected.grad, rtol=1e-4, atol=1e-6, msg=name)

gather_sharded(sharded)
if get_rank() == 0:
    sharded.save_pretrained(sys.argv[1])
    loaded = GavamoeForCausalLM.from_pretrained(sys.argv[1])
    assert_same_weights(loaded.state_dict(), whole.state_dict())
destroy_process_group()
