"""Training of stage 2 through the transformers Trainer: length-grouped batches, best validation weights kept.

A step is `batch_size` sequences, however many processes and accumulated batches share them, and which sequences those
are depends on seed and epoch alone: several processes, or a resumed run, take the steps that one process would take.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
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
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging as transformers_logging

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer.examples import Collator, ExplanationDataset
from gavamoe.explainer.prompt import TRUTH
from gavamoe.explainer.resuming import epochs_if_stopped, newest_checkpoint
from gavamoe.explainer.validation import nats_per_token
from gavamoe.progress import Advance, track
from gavamoe.runtime import bf16_pays, processes


def fit(
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
    last = newest_checkpoint(checkpoints)
    if last and (done := epochs_if_stopped(last)):
        trainer.args.num_train_epochs = done
    with track("explainer", steps * config.epochs) as advance:
        trainer.add_callback(_Bar(advance))
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    make_whole(model)
    return [
        record | ({"conditions": TRUTH.to_dict()} if "eval_loss" in record else {})
        for record in trainer.state.log_history
        if "loss" in record or "eval_loss" in record
    ]


def make_whole(model: nn.Module) -> None:
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
    share = config.accumulation * processes()
    if config.batch_size % share:
        raise ConfigError(
            f"explainer.batch_size={config.batch_size} cannot be shared by {processes()} processes with "
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
        bf16=bf16_pays(config.precision),
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
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * processes()
        return GroupedByLength(train_dataset or self.train_dataset, size, self.args.seed)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        rows, state = self.eval_dataset, self.accelerator
        loss = nats_per_token(
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
