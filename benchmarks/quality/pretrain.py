"""Pretrain a small dense LM on the training texts of a prepared dataset, for use as a base model.

    python benchmarks/quality/pretrain.py DATA --out LM [--epochs 5]

It writes a Llama checkpoint of the size of the `tiny` preset with its tokenizer, for experiments on pretrained LMs:
`gavamoe train DATA --base-model LM`,
`gavamoe compare ... --config configs/compare/initialisations.yaml --base-model LM`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForLanguageModeling,
    LlamaConfig,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from gavamoe.data.dataset import ReviewDataset
from gavamoe.language.tokenizer import train_tokenizer

WIDTH, LAYERS, HEADS, VOCABULARY, MAX_TOKENS = 96, 2, 4, 2000, 64
BATCH, RATE = 32, 2e-3


class Texts(Dataset[dict[str, list[int]]]):
    """Token ids of texts, each followed by the end token."""

    def __init__(self, texts: list[str], tokenizer: PreTrainedTokenizerFast):
        encoded = tokenizer([" " + text for text in texts], add_special_tokens=False)["input_ids"]
        self.ids = [[*ids[:MAX_TOKENS], tokenizer.eos_token_id] for ids in encoded]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        return {"input_ids": self.ids[row]}


def main() -> None:
    """Train the LM and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dataset = ReviewDataset.load(options.data)
    train, valid = (
        [text for text in dataset.interactions(split)["text"].fill_null("").to_list() if text]
        for split in ("train", "valid")
    )
    # A base model does not know GaVaMoE's special tokens, so this one has only the end and padding tokens.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(train, VOCABULARY).backend_tokenizer, eos_token="<|end|>", pad_token="<|pad|>"
    )
    set_seed(options.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=WIDTH**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = AutoModelForCausalLM.from_config(config)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(options.out),
            disable_tqdm=True,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=128,
            num_train_epochs=options.epochs,
            learning_rate=RATE,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            weight_decay=0.05,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            seed=options.seed,
        ),
        train_dataset=Texts(train, tokenizer),
        eval_dataset=Texts(valid, tokenizer),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    for record in trainer.state.log_history:
        if "eval_loss" in record:
            print(f"epoch {record['epoch']:g}: validation loss {record['eval_loss']:.3f} nats per token")
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)


if __name__ == "__main__":
    main()
