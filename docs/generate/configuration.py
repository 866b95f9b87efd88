"""The configuration's reference, written from its models: keys, what is allowed, defaults; deviations; presets."""

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

import griffe
import mkdocs_gen_files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from limpet import Converter, Limits, Product, Section
from limpet.config._config import Config
from limpet.config._hardware_section import PartSection
from limpet.config._objective_section import OBJECTIVES
from limpet.config._preset import described_preset, preset_names
from limpet.config._run_sections import RobustnessSection, TensorboardSection
from limpet.config._schedule import SCHEDULES
from limpet.config._training_section import DynamicSection, FrozenSection, TrainingSection
from limpet.deviations._kinds import DEVIATIONS

HEAD = """\
# Configuration

A configuration says what a chip is (`hardware`), what training redraws (`training`), how networks are measured
(`robustness`) and where that is logged (`tensorboard`). YAML and TOML files are read by
[`limpet.load_config`][limpet.load_config]:

```python
config = limpet.load_config("configs/dynapse.yaml", "hardware.weights.sigma=0.2", "training.frozen=null")
print(config.describe())
```

Overrides follow the file; `null` takes an entry back. Unknown keys, NaN, infinities and numbers out of range are
refused, all at once, by key path:

```text
error: configs/dynapse.yaml: 2 problems
  hardware.weights.sigma = -0.1: allowed is a number >= 0
  robustness.chps: unknown key; did you mean 'chips'? Allowed are chips, every_steps, higher_is_better, ...
```

A file holds at most 500 kB, 20,000 keys and values (those that aliases repeat counted each time), 50 levels, 1,000
keys in a section, as many that `<<` merges, chains of 20 deviations and whole numbers of 300 digits. Keys of your own
stand under `train`; derive from `limpet.Config` to have them checked as strictly.
"""

SECTIONS: dict[str, type[BaseModel]] = {
    "the file": Config,
    "hardware.<part>": PartSection,
    "training": TrainingSection,
    "training.dynamic": DynamicSection,
    "training.frozen": FrozenSection,
    "robustness": RobustnessSection,
    "tensorboard": TensorboardSection,
}


def documented(cls: Any) -> tuple[str, dict[str, str]]:
    """The text of the docstring of a class or function, and what it says of each attribute or argument."""
    docstring = griffe.Docstring(inspect.getdoc(cls) or "")
    text, attributes = [], {}
    for section in docstring.parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            text.append(section.value)
        elif section.kind in (griffe.DocstringSectionKind.attributes, griffe.DocstringSectionKind.parameters):
            attributes |= {entry.name: " ".join(entry.description.split()) for entry in section.value}
    return "\n\n".join(text), attributes


def bounds(metadata: Any) -> dict[str, Any]:
    """Limits of a number or a length among an annotation's metadata."""
    found: dict[str, Any] = {}
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            found |= bounds(entry.metadata)
        found |= {name: getattr(entry, name) for name in ("ge", "gt", "le", "lt") if hasattr(entry, name)}
    return found


def allowed(annotation: Any, metadata: Any = ()) -> str:
    """An annotation in words; nothing where its own parser says what is allowed."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return allowed(arguments[0], (*metadata, *arguments[1:]))
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        words = [allowed(part, metadata) for part in arguments if part is not type(None)]
        return " or ".join(dict.fromkeys(word for word in words if word))
    if origin is tuple:
        return f"a list, each {allowed(arguments[0])}"
    if origin is dict:
        return "a mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a section"
    if annotation is bool:
        return "`true`, `false`"
    if annotation in (int, float):
        limits = bounds(metadata)
        low = f" >= {limits['ge']:,}" if "ge" in limits else f" > {limits['gt']:,}" if "gt" in limits else ""
        high = f" <= {limits['le']:,}" if limits.get("le", 2**31) < 2**31 - 1 else ""
        return f"{'an integer' if annotation is int else 'a number'}{low}{' and' if low and high else ''}{high}"
    return {str: "a text"}.get(annotation, "")


def default(field: FieldInfo) -> str:
    """A default as the file would write it."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, BaseModel):
        kind = getattr(value, "kind", None)
        return f"`{kind}`" if kind else ""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def table(cls: type[BaseModel], attributes: Mapping[str, str]) -> str:
    """A row for each key of a section."""
    lines = ["| key | what it says | allowed | default |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        if name == "kind":
            continue
        if name not in attributes:
            raise SystemExit(f"{cls.__name__}: its docstring says nothing of {name}")
        lines.append(
            f"| `{name}` | {escaped(attributes[name])} | {allowed(field.annotation, field.metadata)} "
            f"| {default(field)} |"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*/", "\\*/")


def kinds(members: Mapping[str, type[Section]]) -> str:
    """The sections that are told apart by `kind`; of an objective, its function says what the keys are."""
    parts = []
    for kind, cls in members.items():
        function = getattr(cls, "function", None)
        text, attributes = documented(function or cls)
        if function is not None:
            text = f"{text.partition(chr(10) * 2)[0]}"
            attributes["schedule"] = f"a factor on {cls.scheduled} over training steps"
            if function.__module__ != cls.__module__:
                text += f" See [`limpet.objectives.{function.__name__}`][limpet.objectives.{function.__name__}]."
        parts.append(f"#### `{kind}`\n\n{text}\n\n{table(cls, attributes)}\n")
    return "\n".join(parts)


def parameters(cls: type) -> str:
    """A row for each parameter of a class of the library."""
    _, attributes = documented(cls)
    lines = ["| parameter | what it says | default |", "|---|---|---|"]
    for parameter in inspect.signature(cls).parameters.values():
        given = "needed" if parameter.default is parameter.empty else f"`{parameter.default}`"
        given = "" if given == "`None`" else given
        lines.append(f"| `{parameter.name}` | {escaped(attributes.get(parameter.name, ''))} | {given} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def deviations() -> str:
    """Every deviation by its name, with its parameters."""
    parts = []
    for name, cls in DEVIATIONS.items():
        first = documented(cls)[0].partition("\n\n")[0].replace("\n", " ")
        public = f"[`limpet.{cls.__name__}`][limpet.{cls.__name__}]"
        parts += [f"### `{name}`\n\n{escaped(first)} See {public}.\n", parameters(cls)]
    return "\n".join(parts)


def presets() -> str:
    """Every preset: what it is, where its numbers come from, what may be chosen."""
    parts = []
    for name in preset_names():
        preset = described_preset(name)
        lines = [
            f"## `{name}`",
            "",
            f"{preset.title}",
            "",
            f"- **Source**: {preset.source}",
            f"- **Numbers are** {preset.status}: {preset.measured}",
        ]
        lines += [f"- **Units**: {preset.units}"] if preset.units else []
        lines += [f"- **Notes**: {preset.notes}"] if preset.notes else []
        lines += [f"- **Like** `{preset.like}` in what it does not say"] if preset.like else []
        for parameter, about in (preset.parameters or {}).items():
            told = ", ".join(f"{key} {value}" for key, value in about.items() if key != "choices")
            if "choices" in about:
                told = f"one of {', '.join(map(str, about['choices']))}; default {about.get('default')}"
            lines.append(f"- **`{parameter}`**: {told}")
        body = preset.text[preset.text.index("hardware:") :]
        parts.append("\n".join(lines) + f"\n\n```yaml\n{body.rstrip()}\n```\n")
    return "\n".join(parts)


def page() -> str:
    """The page on the configuration."""
    parts = [HEAD]
    for path, cls in SECTIONS.items():
        text, attributes = documented(cls)
        title = "Top level" if cls is Config else f"`{path}`"
        parts.append(f"## {title}\n\n{'' if cls is Config else text}\n\n{table(cls, attributes)}\n")
        if cls is PartSection:
            text, _ = documented(Limits)
            parts.append(f"## `{path}.limits`\n\n{text.partition(chr(10) * 2)[0]}\n\n{parameters(Limits)}\n")
            parts.append(f"## `{path}.product`\n\n{documented(Product)[0]}\n\n{parameters(Product)}\n")
            title = f"## `{path}.product.inputs` and `outputs`"
            parts.append(f"{title}\n\n{documented(Converter)[0]}\n\n{parameters(Converter)}\n")
    parts.append(
        "## Schedules\n\nA factor on a strength over training steps, `schedule: {kind: linear, steps: 300}`.\n\n"
        f"{kinds(SCHEDULES)}"
    )
    parts.append(
        "## Objectives\n\n`training.objective: {kind: cvar, draws: 8, share: 0.5}`. "
        f"[Objectives](../objectives.md) says what each is for.\n\n{kinds(OBJECTIVES)}"
    )
    parts.append(
        f"## Deviations\n\n`deviation: {{kind: log-normal, sigma: 0.1}}`, or a list of these.\n\n{deviations()}"
    )
    return "\n".join(parts)


with mkdocs_gen_files.open("reference/configuration.md", "w") as file:
    file.write(page())
with mkdocs_gen_files.open("reference/presets.md", "w") as file:
    file.write(
        "# Presets\n\nChips that others measured or simulated: `hardware: pcm-joshi2020` in a configuration, "
        '`limpet.preset("pcm-joshi2020")` in a program, `limpet presets NAME` in a terminal. Each entry ends with the '
        f"whole of what the preset says; `$name` stands for a parameter.\n\n{presets()}"
    )
