"""Deviations in a configuration: a kind, a mapping of kind and parameters, or a list of these."""

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import InitVar
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import InitErrorDetails

from limpet import Chain, Deviation, Gaussian, LimpetError
from limpet.deviations import DEVIATIONS, checked_deviation, deviation_class, sigma_of_percent

from ._section import Number, details_of, problem, unknown_key

_KINDS = f"{', '.join(DEVIATIONS)}, or a class of your own as module:Class"
MAX_CHAIN = 20
"""Deviations that act one after another on one value."""


def _parsed_deviation(value: Any, info: ValidationInfo) -> Any:
    """The deviation of a part: an object; the name of a kind, a mapping of kind and parameters, or a list of these.

    A strength that stands beside the deviation is the `sigma` of the one that is named. Without any strength, the
    name stays as it is, for the part to say what is missing.
    """
    if isinstance(value, Deviation | list):
        if info.data.get("sigma") is not None or info.data.get("percent_deviation") is not None:
            raise ValueError("it has its own strength, inside of it: take away the one that stands beside it")
        return _standing_alone(value)
    cls, parameters = _kind_and_parameters(value)
    refused = not {"sigma", "percent_deviation", "sigma_rule"} <= info.data.keys()  # which is said already
    sigma = 0.1 if refused else _sigma(**{key: info.data[key] for key in ("sigma", "percent_deviation", "sigma_rule")})
    if sigma is not None:
        if "sigma" not in inspect.signature(cls).parameters:
            raise ValueError(
                f"has no parameter sigma, so that no strength can stand beside it; its parameters are "
                f"{', '.join(_annotations(cls)) or 'none'}"
            )
        if parameters.get("sigma") is not None:
            raise ValueError("a strength stands beside the deviation, and sigma inside of it: keep one of the two")
        parameters = {**parameters, "sigma": sigma}
    elif isinstance(value, str) and "sigma" in inspect.signature(cls).parameters:
        return value
    return _built(cls, parameters)


def _sigma(sigma: float | None, percent_deviation: float | None, sigma_rule: float | None) -> float | None:
    """The relative standard deviation that stands beside a deviation; None if none does."""
    if sigma is not None or percent_deviation is None:
        return sigma
    return sigma_of_percent(percent_deviation, sigma_rule or 3.0)


def _standing_alone(value: Any) -> Deviation:
    """A deviation beside which no strength stands: an object, or one in a chain."""
    if isinstance(value, Deviation):
        return _refusals_as_problems(type(value), {}, lambda: checked_deviation(value, type(value).__name__))
    if isinstance(value, list):
        if not value:
            raise ValueError("an empty chain: give one deviation or more")
        if len(value) > MAX_CHAIN:
            raise ValueError(f"a chain of {len(value):,} deviations; allowed are {MAX_CHAIN} at most")
        return Chain(tuple(TypeAdapter(list[Annotated[Any, PlainValidator(_standing_alone)]]).validate_python(value)))
    return _built(*_kind_and_parameters(value))


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
    try:
        cls = _class(value["kind"])
    except ValueError as error:
        raise ValidationError.from_exception_data(
            "deviation", [problem(("kind",), str(error), value["kind"])]
        ) from None
    return cls, {str(name): parameter for name, parameter in value.items() if name != "kind"}


def _class(kind: Any) -> type[Deviation]:
    if not isinstance(kind, str) or (kind not in DEVIATIONS and not set(":.") & set(kind)):
        close = difflib.get_close_matches(str(kind), DEVIATIONS, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise ValueError(f"there is no such deviation{hint} Allowed are {_KINDS}")
    try:
        cls = deviation_class(kind)
    except LimpetError as error:
        raise ValueError(str(error).removeprefix(f"{kind!r}: ").removeprefix(f"{kind!r} ")) from None
    except SystemExit:
        raise ValueError("cannot be imported (it ends the program)") from None
    if issubclass(cls, Chain):
        raise ValueError("a chain is written as a list of deviations, the first to act first")
    return cls


def _built(cls: type[Deviation], values: Mapping[str, Any]) -> Deviation:
    """A deviation of checked parameters."""
    annotations = _annotations(cls)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
    problems: list[InitErrorDetails] = []
    given: dict[str, Any] = {}
    for name, (annotation, required) in annotations.items():
        if name not in values:
            problems += [InitErrorDetails(type="missing", loc=(name,), input=dict(values))] if required else []
            continue
        try:
            given[name] = _checked_parameter(cls, name, annotation, values[name])
        except ValidationError as error:
            problems += details_of(error, (name,))
        except ValueError as error:
            problems.append(problem((name,), str(error), values[name]))
    for name in values.keys() - annotations.keys():
        if takes_any:
            given[name] = values[name]
        else:
            problems.append(problem((name,), unknown_key(name, annotations), values[name], "unknown_key"))
    if problems:
        raise ValidationError.from_exception_data(cls.__name__, problems)
    return _refusals_as_problems(cls, given, lambda: checked_deviation(cls(**given), cls.__name__))


def _annotations(cls: type[Deviation]) -> dict[str, tuple[Any, bool]]:
    """By name of a deviation's parameter: its type, and whether it must be given."""
    try:
        signature = inspect.signature(cls, eval_str=True)
    except Exception:  # annotations in quotes that name what is imported for type checkers alone
        signature = inspect.signature(cls)
    annotations = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = parameter.annotation
        annotation = annotation.type if isinstance(annotation, InitVar) else annotation
        if isinstance(annotation, str) or annotation is parameter.empty:
            annotation = Any
        required = parameter.default is parameter.empty
        # A parameter that may be left out may also be taken back by null, as every key of a configuration.
        nullable = not required and parameter.default is None
        annotations[name] = (annotation | None if nullable and isinstance(annotation, type) else annotation, required)
    return annotations


def _checked_parameter(cls: type[Deviation], name: str, annotation: Any, value: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Deviation):
        return _standing_alone(value)
    checked: Any = annotation if _mentions_bool(annotation) else Annotated[annotation, Number]
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(checked, config=_LOOSE)
    except Exception:  # a type that brings a configuration of its own, or of which pydantic knows nothing
        adapter = TypeAdapter(Any)
    result = _hashable(adapter.validate_python(value))
    if name == "sigma" and cls in DEVIATIONS.values() and result is not None:
        return checked_fraction(result)
    return result


_LOOSE = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


def _mentions_bool(annotation: Any) -> bool:
    return annotation is bool or any(map(_mentions_bool, typing.get_args(annotation)))


def _hashable(value: Any) -> Any:
    """Lists as tuples: a deviation's parameters must not change."""
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _refusals_as_problems(cls: type[Deviation], given: Mapping[str, Any], build: Callable[[], Deviation]) -> Deviation:
    """What `build` gives; what a deviation's class says against its parameters becomes a problem of their keys."""
    try:
        return build()
    except LimpetError as error:
        message = str(error).removeprefix(f"{cls.__name__}: ")
        # "LogNormal.sigma = -1: allowed is ..." belongs to the key `sigma`.
        named = re.match(rf"{re.escape(cls.__name__)}\.(\w+)(?: = .*?)?: (.*)", message, re.DOTALL)
        if named is None or named[1] not in given:
            raise ValueError(message) from None
        entry = problem((named[1],), named[2], given[named[1]])
        raise ValidationError.from_exception_data(cls.__name__, [entry]) from None
    except Exception as error:  # a class of the user's own may raise anything
        raise ValueError(f"{cls.__name__} refuses these parameters ({type(error).__name__}: {error})") from None


def checked_fraction(value: float) -> float:
    """A relative strength.

    Raises:
        ValueError: it is so large that it must be meant in percent.
    """
    try:
        return Gaussian(value).sigma
    except LimpetError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


DeviationField = Annotated[Any, PlainValidator(_parsed_deviation)]
"""A deviation, or the name of a kind whose strength is missing."""
