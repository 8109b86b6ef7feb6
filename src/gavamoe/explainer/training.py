"""Training of stage 2 through the transformers Trainer: length-grouped batches, best validation weights kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
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
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

from gavamoe.config import ExplainerConfig
from gavamoe.explainer.examples import Collator, ExplanationDataset
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.progress import Advance, track

EVALUATION_BATCH = 128


def fit(
    model: GavamoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    train: ExplanationDataset,
    valid: ExplanationDataset,
    config: ExplainerConfig,
    seed: int,
    checkpoints: Path,
) -> list[dict[str, Any]]:
    """Train `model` in place and return the loss records (epoch, loss or eval_loss, ...).

    State is kept in `checkpoints` after every epoch; where one is found there, training goes on from it. The folder is
    the caller's to delete once the model is saved.
    """
    transformers_logging.disable_progress_bar()  # ours is the one that is shown
    trainer = Trainer(
        model=model,
        args=_arguments(config, seed, checkpoints),
        train_dataset=train,
        eval_dataset=valid,
        data_collator=Collator(tokenizer.pad_token_id),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=config.patience)],
    )
    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    steps = -(-len(train) // config.batch_size) * config.epochs
    with track("explainer", steps) as advance:
        trainer.add_callback(_Bar(advance))
        trainer.train(resume_from_checkpoint=last)
    return [record for record in trainer.state.log_history if "loss" in record or "eval_loss" in record]


def bf16_pays(precision: str) -> bool:
    """Whether to train in bf16: `auto` says yes on a GPU that has it, and no on a CPU.

    Measured: AVX512-bf16 multiplies faster, but at these sizes the casts and the backward's layouts eat the gain.
    """
    if precision != "auto":
        return precision == "bf16"
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _arguments(config: ExplainerConfig, seed: int, checkpoints: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=EVALUATION_BATCH,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        bf16=bf16_pays(config.precision),
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=25,
        disable_tqdm=True,
        report_to="none",
        seed=seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


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
