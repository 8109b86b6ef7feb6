"""Training of stage 2 through the transformers Trainer: length-grouped batches, best validation weights kept.

A step is `batch_size` sequences, however many processes and accumulated batches share them, and which sequences those
are depends on seed and epoch alone: several processes, or a resumed run, take the steps that one process would take.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback
from transformers.trainer_pt_utils import get_length_grouped_indices
from transformers.trainer_utils import EvalLoopOutput, get_last_checkpoint
from transformers.utils import logging as transformers_logging

from gavamoe.conditions import TRUTH
from gavamoe.config import ExplainerConfig
from gavamoe.distributed import all_reduce_sum, main_process_first, use_bf16, world_size
from gavamoe.errors import ConfigError
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.language.encoding import IGNORED
from gavamoe.progress import Advance, track


def fit_explainer(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    train: ExplanationDataset,
    valid: ExplanationDataset,
    config: ExplainerConfig,
    seed: int,
    checkpoints: Path,
    tensorboard: Path | None = None,
) -> list[dict[str, Any]]:
    """Train `model` (with LoRA: its PEFT model) in place; return the loss records (epoch, loss or eval_loss, ...).

    A validation loss (eval_loss) comes with its conditions: the prompts hold true rating and feature, an oracle.

    config: settled. State is kept in `checkpoints` after every epoch; where one is found there, training goes on from
    it. The folder is the caller's to delete once the model is saved. tensorboard: where to write the losses too.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()  # ours is the one that is shown
    steps = -(-len(train) // config.batch_size)
    trainer = _Trainer(
        model=model,
        args=training_arguments(config, seed, checkpoints, steps),
        train_dataset=train,
        eval_dataset=valid,
        data_collator=Collator(tokenizer.pad_token_id),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=config.patience), *_tensorboard(tensorboard)],
    )
    trainer.remove_callback(PrinterCallback)
    last = latest_complete_checkpoint(checkpoints)
    if last and (done := epochs_if_early_stopped(last)):
        trainer.args.num_train_epochs = done
    with track("explainer", steps * config.epochs) as advance:
        trainer.add_callback(_Bar(advance))
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    gather_sharded(model)
    return [
        record | ({"conditions": TRUTH.to_dict()} if "eval_loss" in record else {})
        for record in trainer.state.log_history
        if "loss" in record or "eval_loss" in record
    ]


def gather_sharded(model: nn.Module) -> None:
    """Put parameters together that were sharded over processes (FSDP2), in main memory; every process calls it."""
    whole: dict[nn.Parameter, nn.Parameter] = {}  # tied ones stay tied
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, DTensor):
                if parameter not in whole:
                    whole[parameter] = nn.Parameter(parameter.full_tensor().cpu(), parameter.requires_grad)
                setattr(module, name, whole[parameter])


def training_arguments(config: ExplainerConfig, seed: int, checkpoints: Path, steps: int) -> TrainingArguments:
    """The Trainer's arguments from a settled configuration; `steps` in an epoch."""
    share = config.accumulation * world_size()
    if config.batch_size % share:
        raise ConfigError(
            f"explainer.batch_size={config.batch_size} cannot be shared by {world_size()} processes with "
            f"accumulation {config.accumulation}; choose a multiple of {share}"
        )
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_size // share,
        gradient_accumulation_steps=config.accumulation,
        activation_checkpointing=config.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        bf16=use_bf16(config.precision),
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # early stopping's count of epochs without a better loss
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=max(1, min(25, steps // 5)),
        disable_tqdm=True,
        report_to="none",
        seed=seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
    )
    # Without torchrun one GPU is used. DataParallel's replicas are threads that would share one routing state.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class GroupedByLength(Sampler[int]):
    """Rows in an order that puts like lengths into one step, made anew from (seed, epoch) for each epoch.

    The last step is filled up with the epoch's first rows, so that every step is whole and can be shared.
    """

    def __init__(self, dataset: ExplanationDataset, batch_size: int, seed: int):
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.lengths = dataset.lengths
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size) * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader, which tells the sampler or the dataset but not always both."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        return islice(cycle(order), len(self))


class _Trainer(Trainer):
    """The Trainer with our order of rows and our validation loss."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * world_size()
        return GroupedByLength(train_dataset or self.train_dataset, size, self.args.seed)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        rows, state = self.eval_dataset, self.accelerator
        loss = validation_loss(
            self.model, rows, self.data_collator, self.args.device, state.process_index, state.num_processes
        )
        return EvalLoopOutput(None, None, {"eval_loss": loss}, len(rows))


def _tensorboard(directory: Path | None) -> list[TrainerCallback]:
    if directory is None:
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("explainer.tensorboard needs its package: pip install 'gavamoe[tensorboard]'")
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(directory)))]


class _Bar(TrainerCallback):
    """Moves our progress bar with the Trainer's steps."""

    def __init__(self, advance: Advance):
        self.advance = advance

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.advance(1, "")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        record = state.log_history[-1] if state.log_history else {}
        for key in ("eval_loss", "loss"):
            if key in record:
                self.advance(0, f"{'validation' if key == 'eval_loss' else 'training'} loss {record[key]:.3f}")


STATE = "trainer_state.json"


def latest_complete_checkpoint(directory: Path) -> Path | None:
    """The newest whole checkpoint of `directory`, None without one; every process calls it."""
    with main_process_first() as leading:
        if leading:
            for checkpoint in directory.glob("checkpoint-*"):
                if not _whole(checkpoint):
                    shutil.rmtree(checkpoint)
    last = get_last_checkpoint(str(directory)) if directory.is_dir() else None
    return Path(last) if last else None


def epochs_if_early_stopped(checkpoint: Path) -> int | None:
    """How many epochs were trained where training was over when `checkpoint` was written; None where it was not.

    The Trainer, resumed there, would forget that it had stopped early, and train one epoch more.
    """
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    control = state.stateful_callbacks.get(TrainerControl.__name__, {})
    return round(state.epoch) if control.get("args", {}).get("should_training_stop") else None


def _whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


VALIDATION_BATCH = 128


MAX_LOGITS = 2**22  # at most so many for one place of each row: a base's vocabulary allows fewer rows than our own


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    dataset: ExplanationDataset,
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]],
    device: torch.device,
    process: int = 0,
    world_size: int = 1,
) -> float:
    """Cross-entropy of explanations and end tokens; every process calls it, with its number, and gets the same."""
    training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)  # nats, tokens
    # Rows of like length together: little padding, and the sum does not mind the order.
    order = sorted(range(len(dataset)), key=lambda row: dataset.lengths[row])
    config: Any = model.config
    step = world_size * max(1, min(VALIDATION_BATCH, MAX_LOGITS // config.vocabulary))
    for start in range(0, len(order), step):
        own = order[start : start + step][process::world_size]
        # Where none is left for this process it runs one that does not count: sharded models need all to take part.
        batch = collate([dataset[row] for row in own or order[:1]])
        loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        tokens = int((batch["labels"][:, 1:] != IGNORED).sum()) if own else 0
        sums += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
    nats, tokens = all_reduce_sum(sums.float().to(device)).tolist() if world_size > 1 else sums.tolist()
    model.train(training)
    return nats / max(tokens, 1)
