"""Training of stage 2 with the transformers Trainer: steps of random rows, early stopping, best weights kept.

A step takes `batch_size` sequences, however many processes and accumulated batches share them. Which sequences those
are depends on seed and epoch only. So several processes, or a resumed run, take the steps of one uninterrupted process.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput

from gavamoe.checkpoint import copy_tensors
from gavamoe.config import ExplainerConfig
from gavamoe.distributed import all_reduce_sum, use_bf16, world_size
from gavamoe.errors import ConfigError, DivergenceError
from gavamoe.explainer.callbacks import (
    KeepBestAndLast,
    LogAtEpochEnd,
    OnValidation,
    ProgressBar,
    SaveWithinEpoch,
    StepCounter,
    tensorboard_callbacks,
)
from gavamoe.explainer.checkpoints import (
    check_sharding,
    epochs_if_early_stopped,
    find_complete_checkpoint,
    latest_complete_checkpoint,
)
from gavamoe.explainer.compiled import compiled_layers, should_compile
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.explainer.length_parts import START_COST, Batch, split_by_length
from gavamoe.explainer.rate_factors import set_rate_factors
from gavamoe.explainer.validation import validation_loss
from gavamoe.language.quiet import quiet_transformers
from gavamoe.preference.id_table import IdTable
from gavamoe.progress import track

LOGS_PER_EPOCH, MAX_STEPS_BETWEEN_LOGS = 5, 25
SECONDS_BETWEEN_SAVES = 15 * 60.0  # within an epoch


@quiet_transformers()
def fit_explainer(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    train: ExplanationDataset,
    valid: ExplanationDataset,
    config: ExplainerConfig,
    seed: int,
    checkpoints: Path,
    tensorboard: Path | None = None,
    keep_start: bool = False,
    on_validation: Callable[[int, float], None] | None = None,
) -> list[dict[str, Any]]:
    """Train stage 2 in place and return its loss records.

    Args:
        model: stage 2; with LoRA its PEFT model.
        tokenizer: the model's.
        train: training sequences.
        valid: validation sequences.
        config: with its defaults resolved (`resolve_defaults`).
        seed: of the order of rows, dropout and hiding.
        checkpoints: where the training state is saved, after every epoch and within a long one. Training resumes from
            the newest complete state there. The caller deletes the folder once the model is saved.
        tensorboard: where to write the losses too, if anywhere.
        keep_start: whether the weights at the start are kept if no epoch has a lower validation loss (an update).
        on_validation: called with the epoch and its validation loss; an exception that it raises ends the training.

    Returns:
        A record per logged training loss (`loss`) and per validation loss (`eval_loss`), with its epoch.

    Raises:
        ConfigError: The batch size cannot be shared, or tensorboard is not installed.
        DivergenceError: A loss is not a finite number; the last checkpoint is of a step before.
    """
    config = with_batches_of(len(train), config)
    _freeze_empty(model)
    steps = -(-len(train) // config.batch_size)
    start: _Start | None = None
    while True:
        trainer = _Trainer(
            gate_rate_factor=config.gate_rate_factor or 1.0,
            vector_rate_factor=config.vector_rate_factor or 1.0,
            model=model,
            args=training_arguments(config, seed, checkpoints, steps),
            train_dataset=train,
            eval_dataset=valid,
            data_collator=Collator(tokenizer.pad_token_id),
            callbacks=[
                EarlyStoppingCallback(early_stopping_patience=config.patience),
                *tensorboard_callbacks(tensorboard),
            ],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(KeepBestAndLast())
        trainer.add_callback(LogAtEpochEnd())
        trainer.add_callback(SaveWithinEpoch(SECONDS_BETWEEN_SAVES, steps))
        if on_validation is not None:
            trainer.add_callback(OnValidation(on_validation))
        if keep_start and start is None:
            start = _Start(trainer)
        compiled = compiled_layers(model) if should_compile(config, steps * config.epochs) else nullcontext()
        with compiled, _rows_of_ids_unsaved(model):
            finished = _train(trainer, checkpoints, steps * config.epochs)
        if finished:
            break
        config = with_smaller_batches(config)
    gather_sharded(model)
    records = [record for record in trainer.state.log_history if "loss" in record or "eval_loss" in record]
    return records if start is None else start.kept_if_best(records)


def _train(trainer: _Trainer, checkpoints: Path, steps: int) -> bool:
    """Train to the end, from the newest checkpoint on; return False if the memory is too small for the first step.

    The longest sequence comes first (`RandomRows`), so a batch that does not fit shows in the first step. The
    weights are then unchanged.
    """
    last = latest_complete_checkpoint(checkpoints)
    if last:
        check_sharding(last, trainer.is_fsdp_enabled)
    if last and (epochs := epochs_if_early_stopped(last)):
        trainer.args.num_train_epochs = epochs
    counter = StepCounter()
    trainer.add_callback(counter)
    try:
        with track("explainer", steps) as advance:
            trainer.add_callback(ProgressBar(advance))
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    except RuntimeError as error:
        if counter.steps or world_size() > 1 or not should_reduce_batch_size(error):
            raise
    else:
        return True
    trainer.model.zero_grad(set_to_none=True)
    clear_device_cache(garbage_collection=True)
    return False


def _freeze_empty(model: nn.Module) -> None:
    """Train no parameter without elements, such as the vectors of soft tokens of width 0.

    The gradient of an embedding of width 0 is an illegal memory access on a GPU (torch 2.11, pytorch issue 189668).
    """
    for parameter in model.parameters():
        if not parameter.numel():
            parameter.requires_grad_(False)


@contextmanager
def _rows_of_ids_unsaved(model: nn.Module) -> Iterator[None]:
    """Leave out of checkpoints which row an id has: training does not change it, and FSDP2 loads parameters only."""
    tables = [module for module in model.modules() if isinstance(module, IdTable)]
    for table in tables:
        table.save_rows(False)
    try:
        yield
    finally:
        for table in tables:
            table.save_rows(True)


def with_batches_of(rows: int, config: ExplainerConfig) -> ExplainerConfig:
    """Return the settings with steps of at most `rows` sequences, so that no step has a sequence twice."""
    divisor = config.accumulation * world_size()
    largest = max(rows // divisor, 1) * divisor
    return config if config.batch_size <= largest else config.model_copy(update={"batch_size": largest})


def with_smaller_batches(config: ExplainerConfig) -> ExplainerConfig:
    """Return the settings with each step divided into more batches; the steps take the same sequences.

    Raises:
        ConfigError: a batch is a single sequence already.
    """
    finer = (n for n in range(config.accumulation + 1, config.batch_size + 1) if config.batch_size % n == 0)
    accumulation = next(finer, None)
    if accumulation is None:
        raise ConfigError(
            "the memory is too small for one sequence of stage 2; set explainer.gradient_checkpointing=true, lower "
            "explainer.prompt_tokens, or choose a smaller --base-model"
        )
    logging.getLogger(__name__).warning(
        f"the memory is too small for {config.batch_size // config.accumulation} sequences at once; each step of "
        f"{config.batch_size} goes on in {accumulation} batches (explainer.accumulation={accumulation})"
    )
    return config.model_copy(update={"accumulation": accumulation})


def gather_sharded(model: nn.Module) -> None:
    """Gather parameters that are sharded over processes (FSDP2) into main memory; every process must call it."""
    gathered: dict[nn.Parameter, nn.Parameter] = {}  # tied parameters stay tied
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, DTensor):
                if parameter not in gathered:
                    gathered[parameter] = nn.Parameter(parameter.full_tensor().cpu(), parameter.requires_grad)
                setattr(module, name, gathered[parameter])


def training_arguments(config: ExplainerConfig, seed: int, checkpoints: Path, steps: int) -> TrainingArguments:
    """Return the Trainer's arguments.

    Args:
        config: with its defaults resolved.
        seed: of the training.
        checkpoints: where the Trainer saves its state.
        steps: optimizer steps per epoch.

    Raises:
        ConfigError: The batch size is not a multiple of processes times accumulated batches.
    """
    divisor = config.accumulation * world_size()
    if config.batch_size % divisor:
        raise ConfigError(
            f"explainer.batch_size={config.batch_size} cannot be shared by {world_size()} processes with "
            f"accumulation {config.accumulation}; choose a multiple of {divisor}"
        )
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_size // divisor,
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
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # early stopping's count of epochs without improvement
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=max(1, min(MAX_STEPS_BETWEEN_LOGS, steps // LOGS_PER_EPOCH)),
        disable_tqdm=True,
        report_to="none",
        seed=seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # buffers are constants
    )
    # Without torchrun one GPU is used: DataParallel's replicas are threads that would share one routing state.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class RandomRows(Sampler[int]):
    """The rows of an epoch in random order and in full steps; a function of (seed, epoch).

    The first step has the longest row, so that a batch that does not fit shows at once. The last step is filled up with
    the epoch's first rows, so that every step is full and can be shared.

    Args:
        dataset: the sequences.
        batch_size: sequences per step, over all processes and accumulated batches.
        seed: of the order.
    """

    def __init__(self, dataset: ExplanationDataset, batch_size: int, seed: int):
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.longest = max(range(len(dataset.lengths)), key=dataset.lengths.__getitem__)
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.dataset.lengths) // self.batch_size) * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of order and hiding; the data loader may call the sampler's or the dataset's method only."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        order = torch.randperm(len(self.dataset.lengths), generator=generator).tolist()
        place = order.index(self.longest)
        order[0], order[place] = order[place], order[0]
        return islice(cycle(order), len(self))


class _Trainer(Trainer):
    """The Trainer with steps of random rows, computed in parts, and the loss of `gavamoe.explainer.validation`.

    Args:
        gate_rate_factor: `args.learning_rate` times this is the rate of the gates.
        vector_rate_factor: `args.learning_rate` times this is the rate of the soft tokens' vectors.
        kwargs: those of the Trainer.
    """

    def __init__(self, *, gate_rate_factor: float, vector_rate_factor: float, **kwargs: Any):
        self.gate_rate_factor, self.vector_rate_factor = gate_rate_factor, vector_rate_factor
        super().__init__(**kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the optimizer, with learning rates of their own for gates and vectors."""
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if is_new:
            trained = self.model if model is None else model
            set_rate_factors(optimizer, trained, self.gate_rate_factor, self.vector_rate_factor)
        return optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * world_size()
        return RandomRows(train_dataset or self.train_dataset, size, self.args.seed)

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """Compute the gradient of a batch; a loss of any process that is not finite ends the training of all of them.

        The first batch is computed in one part, which takes most memory (`_train`).
        """
        cost = START_COST.get(self.args.device.type, 0) if self.state.global_step else 0
        parts = split_by_length(inputs, cost, self.args.device) if cost else [inputs]
        loss = torch.zeros((), device=self.args.device)
        for part in parts[:-1]:
            with self.accelerator.no_sync(model):
                loss += super().training_step(model, part, num_items_in_batch)
        loss += super().training_step(model, parts[-1], num_items_in_batch)
        self._check_finite(float(all_reduce_sum(loss)), f"the loss of step {self.state.global_step + 1}")
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: nobody reads the Trainer's estimate, and it counts all parameters in every step."""
        return 0

    def _check_finite(self, loss: float, what: str) -> None:
        """Raise `DivergenceError` if a loss that all processes agree on is not a finite number."""
        if math.isfinite(loss):
            return
        checkpoints = Path(self.args.output_dir)
        last = find_complete_checkpoint(checkpoints)
        kept = f"{last} is the last good state" if last else "no checkpoint was saved"
        raise DivergenceError(
            f"stage 2 diverged: {what} is {loss}; {kept}; delete {checkpoints.parent} and train stage 2 again "
            f"(--stage explainer) with a lower explainer.learning_rate (now {self.args.learning_rate:g})"
        )

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        rows, state = self.eval_dataset, self.accelerator
        loss = validation_loss(
            self.model, rows, self.data_collator, self.args.device, state.process_index, state.num_processes
        )
        self._check_finite(float(loss), "the validation loss")
        return EvalLoopOutput(None, None, {"eval_loss": loss}, len(rows))


class _Start:
    """The weights that an update starts from, and their validation loss, which counts as epoch 0."""

    def __init__(self, trainer: _Trainer):
        self.model = trainer.model
        self.weights = copy_tensors((name, p) for name, p in self.model.named_parameters() if p.requires_grad)
        rows, collate = trainer.eval_dataset, trainer.data_collator
        with trainer.accelerator.autocast():  # the Trainer adds it to the model only when it trains
            self.loss = validation_loss(self.model, rows, collate, trainer.args.device)

    @torch.no_grad()
    def kept_if_best(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Restore the weights if no epoch has a lower loss; return the records with that of epoch 0."""
        if self.loss <= min(record["eval_loss"] for record in records if "eval_loss" in record):
            for name, parameter in self.model.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])
        return [{"epoch": 0, "eval_loss": self.loss}, *records]
