"""The prompt in words: a Jinja template that is part of the run, and what it may state.

    setting "natural" or FILE.jinja --from_setting--> PromptTemplate --save--> RUN/explainer/prompt.jinja, prompt.json

A template is data, not code: it is rendered in a sandbox, and a name that it misspells is an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gavamoe.errors import ConfigError
from gavamoe.files import reading, write_json
from gavamoe.language.prompt import PromptFields, Quotation
from gavamoe.run import PROMPT_TEMPLATE

FILE, SETTINGS = PROMPT_TEMPLATE, "prompt.json"
SUFFIX = ".jinja"


@dataclass(frozen=True)
class PromptTemplate:
    """A template with everything that turns the fields of a pair into a prompt of bounded length.

    Args:
        source: the text of the template.
        ratings: each rating level in words, lowest first.
        max_tokens: longest prompt, in tokens.
        chat: whether the base model's chat template wraps the prompt as a message of the user.
        soft_tokens: whether the prompt has the tokens of user and item; an untrained model has no vectors for them.
    """

    source: str
    ratings: tuple[str, ...]
    max_tokens: int
    chat: bool = False
    soft_tokens: bool = True

    @classmethod
    def from_setting(cls, setting: str, ratings: tuple[str, ...], max_tokens: int, chat: bool) -> PromptTemplate:
        """Read the template that `explainer.prompt_template` names, and check it.

        Args:
            setting: name of a template of the package, or path of a file.
            ratings: each rating level in words, lowest first.
            max_tokens: longest prompt, in tokens.
            chat: whether the base model's chat template wraps the prompt.

        Raises:
            ConfigError: there is no such template, or it cannot be rendered.
        """
        template = cls(read_source(setting), ratings, max_tokens, chat)
        template._check(setting)
        return template

    def render(self, fields: PromptFields, user_token: str, item_token: str) -> str:
        """Return the prompt of a pair; the tokens are where the vectors of user and item stand."""
        rendered = self._template.render(
            user_token=user_token if self.soft_tokens else "",
            item_token=item_token if self.soft_tokens else "",
            name=fields.name,
            categories=fields.categories,
            description=fields.description,
            evidence=fields.evidence,
            history=fields.history,
            rating=None if fields.level is None else self.ratings[fields.level - 1],
            level=fields.level,
            feature=fields.feature or None,
        )
        return rendered.strip()

    @cached_property
    def _template(self) -> Template:
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        return environment.from_string(self.source)

    def _check(self, setting: str) -> None:
        """Raise `ConfigError` unless the template renders with and without every field, and has both soft tokens."""
        quotation = Quotation("another item", "a sentence")
        full = PromptFields(1, "plot", ("a sentence",), "a name", ("a category",), "a description", (quotation,))
        for fields in (full, PromptFields()):
            try:
                prompt = self.render(fields, "<user>", "<item>")
            except TemplateSyntaxError as error:
                raise ConfigError(
                    f"explainer.prompt_template={setting}, line {error.lineno}: {error.message}"
                ) from None
            except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
                raise ConfigError(f"explainer.prompt_template={setting}: {' '.join(str(error).split())}") from None
            for token, variable in (("<user>", "user_token"), ("<item>", "item_token")):
                if prompt.count(token) != 1:
                    stated = "every field" if fields.name else "no field"
                    raise ConfigError(
                        f"explainer.prompt_template={setting} must write {{{{ {variable} }}}} once in every prompt, "
                        f"and writes it {prompt.count(token)} times for a pair that states {stated}"
                    )

    def save(self, directory: Path) -> None:
        """Write prompt.jinja and prompt.json."""
        (directory / FILE).write_text(self.source, encoding="utf-8")
        settings = {"ratings": list(self.ratings), "max_tokens": self.max_tokens, "chat": self.chat}
        write_json(directory / SETTINGS, settings)

    @classmethod
    def load(cls, directory: Path) -> PromptTemplate | None:
        """Read what `save` wrote; None if the prompts of the run consist of special tokens.

        Raises:
            RunError: a file is damaged or missing.
        """
        if not (directory / SETTINGS).is_file():
            return None
        with reading(directory / SETTINGS):
            settings = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
            ratings, max_tokens, chat = (settings[name] for name in ("ratings", "max_tokens", "chat"))
        with reading(directory / FILE):
            return cls((directory / FILE).read_text(encoding="utf-8"), tuple(ratings), int(max_tokens), bool(chat))


def template_names() -> list[str]:
    """Return the names of the templates that come with the package, sorted."""
    entries = files("gavamoe.language").joinpath("prompts").iterdir()
    return sorted(entry.name.removesuffix(SUFFIX) for entry in entries if entry.name.endswith(SUFFIX))


def read_source(setting: str) -> str:
    """Return the text of the template that a setting names."""
    if setting in template_names():
        return files("gavamoe.language").joinpath("prompts", setting + SUFFIX).read_text("utf-8")
    try:
        return Path(setting).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"explainer.prompt_template={setting} cannot be read ({reason}); give the path of a Jinja file, or one of "
            f"special-tokens, {', '.join(template_names())}"
        ) from None
