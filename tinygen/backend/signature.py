"""What a kernel takes, read from its text, and whether the arguments of a launch are that.

A GPU is given the addresses of bytes: it cannot know that an int32 came where the kernel reads an
int64, or a float64 array where it reads floats. So `launch` asks here first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygen.errors import DeviceError, DtypeError, ShapeError

VALUE, POINTER, POINTER_TO_CONST = "v", "m", "c"
OTHER = "x"

CODES = {
    "void": "v",
    "bool": "?",
    "float": "f",
    "double": "d",
    "char": "b",
    "unsigned char": "B",
    "int8_t": "b",
    "uint8_t": "B",
    "int16_t": "h",
    "uint16_t": "H",
    "int": "i",
    "unsigned": "I",
    "unsigned int": "I",
    "int32_t": "i",
    "uint32_t": "I",
    "long long": "l",
    "unsigned long long": "L",
    "int64_t": "l",
    "uint64_t": "L",
    "size_t": "L",
    "__half": OTHER,
    "__nv_bfloat16": OTHER,
}
"""C++'s names of types and NumPy's letters; OTHER where NumPy has none."""

SCALARS = {letter: np.dtype(letter).type for letter in set(CODES.values()) - {"v", OTHER}}
"""The scalars of NumPy that most values are."""

HALVES = ("__half", "__nv_bfloat16")

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
DEFINITION = re.compile(
    r"(?m)^[ \t]*#[ \t]*define[ \t]+(?P<name>\w+)[ \t]+(?P<text>\S[^\n]*?)[ \t]*$"
)
ALIAS = re.compile(r"\busing\s+(?P<name>\w+)\s*=\s*(?P<text>[\w ]+?)\s*;")
KERNEL = (
    r'extern\s+"C"\s+__global__\s+(?:void\s+|__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)*'
    r"%s\s*\((?P<parameters>[^()]*)\)\s*\{"
)


class Parameter(NamedTuple):
    """One parameter of a kernel: 'v' a value, 'c' and 'm' a pointer to constant and to mutable
    memory; the type's letter as NumPy has it, 'x' if NumPy has none; its size, 0 if unknown."""

    kind: str
    type: str
    size: int
    name: str


def signature(text: str, kernel: str) -> list[Parameter] | None:
    """The parameters of `kernel` in `text`, where headers and definitions are in their places;
    None if it does not stand there as it is, since a macro makes it.

    A name that the text gives twice has its first meaning: a header's own `#define` stands behind
    an `#ifndef`.
    """
    text = COMMENT.sub("", text)
    found = re.search(KERNEL % re.escape(kernel), text)
    if found is None:
        return None
    meanings: dict[str, str] = {}
    for pattern in (DEFINITION, ALIAS):
        for given in pattern.finditer(text):
            meanings.setdefault(given["name"], given["text"])
    return [_parameter(part, meanings) for part in found["parameters"].split(",") if part.strip()]


def _parameter(text: str, meanings: dict[str, str]) -> Parameter:
    words = re.findall(r"\w+|\*", re.sub(r"\b(__restrict__|__grid_constant__)\b", " ", text))
    *words, name = words
    kind = VALUE if "*" not in words else POINTER_TO_CONST if "const" in words else POINTER
    type_name = " ".join(word for word in words if word not in ("const", "*"))
    while type_name in meanings and type_name not in CODES:
        type_name = meanings[type_name]
    code = CODES.get(type_name, OTHER)
    if code == OTHER:
        return Parameter(kind, code, 2 if type_name in HALVES else 0, name)
    return Parameter(kind, code, 1 if code == "v" else np.dtype(code).itemsize, name)


def require_arguments(
    kernel: str, parameters: Sequence[Parameter], values: Sequence[Any], array_type: Any
) -> None:
    """Raise unless `values` are what the kernel takes, its arrays of `array_type`."""
    require_count(kernel, parameters, values)
    for parameter, value in zip(parameters, values, strict=True):
        if parameter.kind == VALUE:
            if type(value) is not SCALARS.get(parameter.type):
                require_value(kernel, parameter, value)
        else:
            require_array(kernel, parameter, value, array_type)


def require_count(kernel: str, parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    """ShapeError unless there are as many values as parameters."""
    if len(values) != len(parameters):
        raise ShapeError(
            f"{kernel} takes {len(parameters)} arguments, "
            f"({', '.join(p.name for p in parameters)}), and got {len(values)}."
        )


def require_value(kernel: str, parameter: Parameter, value: Any) -> None:
    """DtypeError unless `value` is a NumPy scalar of exactly the parameter's type. A structure is
    what the back end made it, and passes."""
    if parameter.type == OTHER and not parameter.size:
        fits = not isinstance(value, (int, float))
    elif parameter.type == OTHER:
        fits = isinstance(value, np.generic) and value.nbytes == parameter.size
    else:
        fits = isinstance(value, np.generic) and _letter(value.dtype) == parameter.type
    if not fits:
        raise DtypeError(
            f"{kernel}: '{parameter.name}' is {_described(parameter)}, "
            f"and got {_told(value)}; wrap numbers in their exact type, as np.int32(n)."
        )


def require_array(kernel: str, parameter: Parameter, value: Any, array_type: Any) -> None:
    """Unless `value` is None or an array that the pointer may point to: DeviceError for an array of
    another device, DtypeError for another type, ShapeError where memory is not in order."""
    if value is None:
        return
    if not isinstance(value, array_type):
        if _is_array(value):
            raise DeviceError(
                f"{kernel}: '{parameter.name}' is a {type(value).__name__}, which does not lie on "
                "the device that the kernel runs on; move it there first: backend.asarray(x)."
            )
        raise _wrong_pointer(kernel, parameter, value)
    if not _points_to(parameter, value.dtype):
        raise _wrong_pointer(kernel, parameter, value)
    if not value.flags.c_contiguous:
        raise ShapeError(
            f"{kernel}: '{parameter.name}' has strides {value.strides} for shape {value.shape}; "
            "a kernel takes contiguous arrays: xp.ascontiguousarray(x)."
        )


def _wrong_pointer(kernel: str, parameter: Parameter, value: Any) -> DtypeError:
    return DtypeError(
        f"{kernel}: '{parameter.name}' is a pointer to {_described(parameter)}, "
        f"and got {_told(value)}."
    )


def _letter(dtype: np.dtype[Any]) -> str:
    """NumPy's letter, with one for each size: int64 may be 'l' or 'q'."""
    return {"q": "l", "Q": "L"}.get(dtype.char, dtype.char)


def _points_to(parameter: Parameter, dtype: np.dtype[Any]) -> bool:
    if parameter.type == "v":
        return True
    if parameter.type == OTHER:  # a 16-bit float by its bits; structures by any array
        return parameter.size != 2 or (dtype.itemsize == 2 and dtype.kind in "fiuV")
    return _letter(dtype) == parameter.type


def _described(parameter: Parameter) -> str:
    if parameter.type == "v":
        return "void"
    if parameter.type == OTHER:
        return f"a type of {parameter.size} bytes" if parameter.size else "a structure"
    return str(np.dtype(parameter.type))


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and not isinstance(value, np.generic)


def _told(value: Any) -> str:
    if _is_array(value):
        return f"an array of {value.dtype}"
    return f"{type(value).__name__} {value!r}"
