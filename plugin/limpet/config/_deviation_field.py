"""Deviations in a configuration: a kind, a mapping of kind and parameters, or a list of these.

What a parameter may be, the deviation itself says when it is made; what it refuses becomes a problem of the key.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import InitVar
from typing import Annotated, Any

from pydantic import ConfigDict, PlainValidator, TypeAdapter, ValidationInfo

from limpet import Chain, Deviation, Gaussian
from limpet.deviations import DEVIATIONS, checked_deviation, deviation_class, sigma_of_percent

from ._section import close_to, each, problem, refuse, taken, unknown_key

_KINDS = f"{', '.join(DEVIATIONS)}, or a class of your own as module:Class"
MAX_CHAIN = 20
"""The largest number of deviations that act one after another on one value."""
_BESIDE = ("sigma", "percent_deviation", "sigma_rule")
"""The keys of a strength that stands beside a deviation."""
_LOOSE = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


def _parsed_deviation(value: Any, info: ValidationInfo) -> Any:
    """The deviation of a part: an object; the name of a kind, a mapping of kind and parameters, or a list of these.

    A strength that stands beside the deviation is the `sigma` of the one that is named. Without any strength, the
    name stays as it is, for the part to say what is missing.
    """
    sigma, percent_deviation, sigma_rule = (info.data.get(key) for key in _BESIDE)
    if isinstance(value, Deviation | list):
        if sigma is not None or percent_deviation is not None:
            raise ValueError("it has its own strength, inside of it: take away the one that stands beside it")
        return standing_alone(value)
    cls, parameters = _kind_and_parameters(value)
    takes = inspect.signature(cls).parameters
    if percent_deviation is not None:
        sigma = sigma_of_percent(percent_deviation, sigma_rule or 3.0)
    if not set(_BESIDE) <= info.data.keys():  # one of them was refused already
        sigma = 0.1
    if sigma is None:
        return value if isinstance(value, str) and "sigma" in takes else _built(cls, parameters)
    if "sigma" not in takes:
        raise ValueError(f"no strength can stand beside it; it has no parameter sigma but {', '.join(takes) or 'none'}")
    if parameters.get("sigma") is not None:
        raise ValueError("a strength stands beside the deviation, and sigma inside of it: keep one of the two")
    return _built(cls, {**parameters, "sigma": sigma})


def standing_alone(value: Any) -> Deviation:
    """A deviation beside which no strength stands: an object; the name of a kind, a mapping of kind and parameters, or
    a list of these.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, Deviation):
        name = type(value).__name__
        return taken(lambda: checked_deviation(value, name), name=name)
    if not isinstance(value, list):
        return _built(*_kind_and_parameters(value))
    if not value:
        raise ValueError("an empty chain: give one deviation or more")
    if len(value) > MAX_CHAIN:
        raise ValueError(f"a chain of {len(value):,} deviations; allowed are {MAX_CHAIN} at most")
    members, problems = each(enumerate(value), lambda _, member: standing_alone(member))
    refuse(*problems)
    return Chain(tuple(members.values()))


def _kind_and_parameters(value: Any) -> tuple[type[Deviation], dict[str, Any]]:
    """The class that a deviation names, and the parameters that it gives."""
    if isinstance(value, str):
        return _class(value), {}
    if not isinstance(value, Mapping):
        raise ValueError(
            "allowed are a kind such as log-normal, a mapping such as {kind: log-normal, sigma: 0.1}, and a list of "
            "these for deviations that act one after another"
        )
    if "kind" not in value:
        raise ValueError(f"give its kind: {_KINDS}")
    kinds, problems = each([("kind", value["kind"])], lambda _, kind: _class(kind))
    refuse(*problems)
    return kinds["kind"], {str(name): parameter for name, parameter in value.items() if name != "kind"}


def _class(kind: Any) -> type[Deviation]:
    if not isinstance(kind, str) or (kind not in DEVIATIONS and not set(":.") & set(kind)):
        raise ValueError(f"there is no such deviation; {close_to(kind, DEVIATIONS)}allowed are {_KINDS}")
    try:
        cls = taken(lambda: deviation_class(kind))
    except SystemExit:
        raise ValueError("cannot be imported (it ends the program)") from None
    if issubclass(cls, Chain):
        raise ValueError("a chain is written as a list of deviations, the first to act first")
    return cls


def _built(cls: type[Deviation], values: Mapping[str, Any]) -> Deviation:
    """A deviation of some parameters."""
    try:
        signature = inspect.signature(cls, eval_str=True)
    except Exception:  # annotations in quotes that name what is imported for type checkers alone
        signature = inspect.signature(cls)
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {key: parameter for key, parameter in signature.parameters.items() if parameter.kind not in stars}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    given, problems = each(
        [(key, value) for key, value in values.items() if takes_any or key in named],
        lambda key, value: _parameter(cls, key, named[key].annotation if key in named else Any, value),
    )
    for key, value in values.items():
        if key not in named and not takes_any:
            problems.append(unknown_key(key, named, value))
    for key, parameter in named.items():
        if key not in values and parameter.default is parameter.empty:
            problems.append(problem((key,), "is missing", dict(values), "missing"))
    refuse(*problems)
    try:
        return taken(lambda: checked_deviation(cls(**given), cls.__name__), values, cls.__name__)
    except ValueError:
        raise
    except Exception as error:  # a class of the user's own may raise anything
        raise ValueError(f"{cls.__name__} refuses these parameters ({type(error).__name__}: {error})") from None


def _parameter(cls: type[Deviation], key: str, annotation: Any, value: Any) -> Any:
    """A parameter as its class takes it."""
    if isinstance(annotation, type) and issubclass(annotation, Deviation):
        return standing_alone(value)
    if cls not in DEVIATIONS.values():
        value = _of_type(annotation.type if isinstance(annotation, InitVar) else annotation, value)
    elif key == "sigma" and isinstance(value, int | float):
        checked_fraction(value)
    return _hashable(value)


def _of_type(annotation: Any, value: Any) -> Any:
    """A value as the annotation of a class of the user's own has it, which need not check what it is given."""
    try:
        adapter, plain = TypeAdapter(annotation, config=_LOOSE), json.dumps(value)
    except Exception:  # a type of which pydantic knows nothing, or no value of a file
        return value
    return adapter.validate_json(plain, strict=True)


def _hashable(value: Any) -> Any:
    """Lists as tuples: a deviation's parameters must not change."""
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def checked_fraction(value: float) -> float:
    """A relative strength.

    Raises:
        ValueError: it is so large that it must be meant in percent.
    """
    return taken(lambda: Gaussian(value).sigma)


DeviationField = Annotated[Any, PlainValidator(_parsed_deviation)]
"""A deviation, or the name of a kind whose strength is missing."""
