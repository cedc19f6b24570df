"""The steps that generated programs are composed of.

Every primitive exists twice: as a line of Python (`code`) that a model learns to write,
and as a native function (`run`) that says what the line must compute. The tests hold
the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

Kind = Literal["ints", "text", "words", "number"]
Argument = int | str | None
Value = list[int] | list[str] | str | int

VARIABLES: dict[Kind, str] = {"ints": "xs", "text": "s", "words": "words", "number": "n"}

VOWELS = "aeiouAEIOU"


@dataclass(frozen=True)
class Primitive:
    """One step: `takes` a kind of value and an argument, `gives` a kind of value.

    `phrases` and `code` are templates; `{n}` is the argument (in code its `repr`) and
    `{x}` the variable that holds the value so far.
    """

    name: str
    takes: Kind
    gives: Kind
    phrases: tuple[str, ...]
    code: str
    run: Callable[[Any, Any], Value]
    arguments: tuple[Argument, ...] = (None,)


def _numbers(low: int, high: int) -> tuple[Argument, ...]:
    return tuple(range(low, high + 1))


SMALL = _numbers(2, 5)
WIDE = _numbers(2, 12)

INT_PRIMITIVES = (
    Primitive(
        "reverse",
        "ints",
        "ints",
        ("reverse the list", "put the list in reverse order"),
        "{x}[::-1]",
        lambda x, n: list(reversed(x)),
    ),
    Primitive(
        "sort",
        "ints",
        "ints",
        ("sort the list", "put the numbers in ascending order", "sort from small to large"),
        "sorted({x})",
        lambda x, n: sorted(x),
    ),
    Primitive(
        "sort_down",
        "ints",
        "ints",
        ("sort from large to small", "put the numbers in descending order"),
        "sorted({x}, reverse=True)",
        lambda x, n: sorted(x)[::-1],
    ),
    Primitive(
        "keep_even",
        "ints",
        "ints",
        ("keep the even numbers", "drop the odd numbers", "leave only even numbers"),
        "[x for x in {x} if x % 2 == 0]",
        lambda x, n: [i for i in x if not i & 1],
    ),
    Primitive(
        "keep_odd",
        "ints",
        "ints",
        ("keep the odd numbers", "drop the even numbers", "leave only odd numbers"),
        "[x for x in {x} if x % 2 == 1]",
        lambda x, n: [i for i in x if i & 1],
    ),
    Primitive(
        "add",
        "ints",
        "ints",
        ("add {n} to each", "increase every number by {n}"),
        "[x + {n} for x in {x}]",
        lambda x, n: [n + i for i in x],
        WIDE,
    ),
    Primitive(
        "subtract",
        "ints",
        "ints",
        ("subtract {n} from each", "decrease every number by {n}"),
        "[x - {n} for x in {x}]",
        lambda x, n: [i + -n for i in x],
        WIDE,
    ),
    Primitive(
        "multiply",
        "ints",
        "ints",
        ("multiply each by {n}", "make every number {n} times as large"),
        "[x * {n} for x in {x}]",
        lambda x, n: [sum([i] * n) for i in x],
        WIDE,
    ),
    Primitive(
        "remainder",
        "ints",
        "ints",
        ("take each number modulo {n}", "replace each by its remainder when divided by {n}"),
        "[x % {n} for x in {x}]",
        lambda x, n: [divmod(i, n)[1] for i in x],
        WIDE,
    ),
    Primitive(
        "square",
        "ints",
        "ints",
        ("square each number", "replace each number by its square"),
        "[x * x for x in {x}]",
        lambda x, n: [i**2 for i in x],
    ),
    Primitive(
        "negate",
        "ints",
        "ints",
        ("negate each number", "flip the sign of every number"),
        "[-x for x in {x}]",
        lambda x, n: [0 - i for i in x],
    ),
    Primitive(
        "absolute",
        "ints",
        "ints",
        ("take absolute values", "replace each number by its absolute value"),
        "[abs(x) for x in {x}]",
        lambda x, n: [max(i, -i) for i in x],
    ),
    Primitive(
        "first",
        "ints",
        "ints",
        ("take the first {n} numbers", "keep only the first {n}"),
        "{x}[:{n}]",
        lambda x, n: [i for at, i in enumerate(x) if at < n],
        SMALL,
    ),
    Primitive(
        "skip",
        "ints",
        "ints",
        ("drop the first {n} numbers", "skip the first {n}"),
        "{x}[{n}:]",
        lambda x, n: [i for at, i in enumerate(x) if at >= n],
        SMALL,
    ),
    Primitive(
        "last",
        "ints",
        "ints",
        ("take the last {n} numbers", "keep only the last {n}"),
        "{x}[-{n}:]",
        lambda x, n: x[max(0, len(x) - n) :],
        SMALL,
    ),
    Primitive(
        "every_second",
        "ints",
        "ints",
        ("take every second number", "keep every other number, from the first on"),
        "{x}[::2]",
        lambda x, n: [i for at, i in enumerate(x) if at % 2 == 0],
    ),
    Primitive(
        "unique",
        "ints",
        "ints",
        ("drop duplicates", "keep only the first of equal numbers", "remove repeated numbers"),
        "list(dict.fromkeys({x}))",
        lambda x, n: [i for at, i in enumerate(x) if i not in x[:at]],
    ),
    Primitive(
        "running_sum",
        "ints",
        "ints",
        ("take the cumulative sum", "replace each number by the sum up to it"),
        "[sum({x}[:i + 1]) for i in range(len({x}))]",
        lambda x, n: list(accumulate(x)),
    ),
    Primitive(
        "differences",
        "ints",
        "ints",
        ("take differences of neighbours", "subtract from each number the one before it"),
        "[b - a for a, b in zip({x}, {x}[1:])]",
        lambda x, n: [x[i] - x[i - 1] for i in range(1, len(x))],
    ),
    Primitive(
        "greater",
        "ints",
        "ints",
        ("keep numbers greater than {n}", "drop numbers of {n} or less"),
        "[x for x in {x} if x > {n}]",
        lambda x, n: [i for i in x if not i <= n],
        WIDE,
    ),
    Primitive(
        "less",
        "ints",
        "ints",
        ("keep numbers less than {n}", "drop numbers of {n} or more"),
        "[x for x in {x} if x < {n}]",
        lambda x, n: [i for i in x if not i >= n],
        WIDE,
    ),
    Primitive(
        "cap",
        "ints",
        "ints",
        ("limit each number to at most {n}", "replace numbers above {n} by {n}"),
        "[min(x, {n}) for x in {x}]",
        lambda x, n: [n if i > n else i for i in x],
        WIDE,
    ),
    Primitive(
        "append",
        "ints",
        "ints",
        ("append {n}", "put {n} at the end"),
        "{x} + [{n}]",
        lambda x, n: [*x, n],
        WIDE,
    ),
    Primitive(
        "remove",
        "ints",
        "ints",
        ("remove every {n}", "drop all numbers equal to {n}"),
        "[x for x in {x} if x != {n}]",
        lambda x, n: [i for i in x if i < n or i > n],
        _numbers(0, 9),
    ),
    Primitive(
        "sum",
        "ints",
        "number",
        ("return the sum", "add up the numbers"),
        "sum({x})",
        lambda x, n: list(accumulate(x, initial=0))[-1],
    ),
    Primitive(
        "length",
        "ints",
        "number",
        ("count the numbers", "return the length of the list"),
        "len({x})",
        lambda x, n: sum(1 for _ in x),
    ),
    Primitive(
        "count",
        "ints",
        "number",
        ("count how often {n} occurs", "return the number of times {n} occurs"),
        "{x}.count({n})",
        lambda x, n: sum(i == n for i in x),
        _numbers(0, 9),
    ),
)

TEXT_PRIMITIVES = (
    Primitive(
        "text_reverse",
        "text",
        "text",
        ("reverse the string", "write the string backwards"),
        "{x}[::-1]",
        lambda x, n: "".join(reversed(x)),
    ),
    Primitive(
        "upper",
        "text",
        "text",
        ("convert to uppercase", "make all letters capital"),
        "{x}.upper()",
        lambda x, n: "".join(c.upper() for c in x),
    ),
    Primitive(
        "lower",
        "text",
        "text",
        ("convert to lowercase", "make all letters small"),
        "{x}.lower()",
        lambda x, n: "".join(c.lower() for c in x),
    ),
    Primitive(
        "swap_case",
        "text",
        "text",
        ("swap upper and lower case", "flip the case of every letter"),
        "{x}.swapcase()",
        lambda x, n: "".join(c.lower() if c.isupper() else c.upper() for c in x),
    ),
    Primitive(
        "no_vowels",
        "text",
        "text",
        ("remove the vowels", "drop all vowels"),
        "''.join(c for c in {x} if c.lower() not in 'aeiou')",
        lambda x, n: "".join(c for c in x if c not in VOWELS),
    ),
    Primitive(
        "text_first",
        "text",
        "text",
        ("take the first {n} characters", "keep only the first {n} characters"),
        "{x}[:{n}]",
        lambda x, n: "".join(c for at, c in enumerate(x) if at < n),
        _numbers(3, 9),
    ),
    Primitive(
        "text_skip",
        "text",
        "text",
        ("drop the first {n} characters", "skip the first {n} characters"),
        "{x}[{n}:]",
        lambda x, n: "".join(c for at, c in enumerate(x) if at >= n),
        SMALL,
    ),
    Primitive(
        "remove_letter",
        "text",
        "text",
        ("remove every letter {n}", "drop all letters {n}"),
        "{x}.replace({n}, '')",
        lambda x, n: "".join(c for c in x if c != n),
        tuple("aeinorst"),
    ),
    Primitive(
        "no_spaces",
        "text",
        "text",
        ("remove the spaces", "drop all spaces"),
        "{x}.replace(' ', '')",
        lambda x, n: "".join(c for c in x if c != " "),
    ),
    Primitive(
        "repeat",
        "text",
        "text",
        ("repeat the string {n} times", "write the string {n} times in a row"),
        "{x} * {n}",
        lambda x, n: "".join(x for _ in range(n)),
        SMALL,
    ),
    Primitive(
        "double",
        "text",
        "text",
        ("double every character", "write each character twice"),
        "''.join(c * 2 for c in {x})",
        lambda x, n: "".join(c + c for c in x),
    ),
    Primitive(
        "text_length",
        "text",
        "number",
        ("count the characters", "return the length of the string"),
        "len({x})",
        lambda x, n: sum(1 for _ in x),
    ),
    Primitive(
        "split",
        "text",
        "words",
        ("split into words", "make a list of the words"),
        "{x}.split()",
        lambda x, n: [w for w in x.split(" ") if w],
    ),
    Primitive(
        "sort_words",
        "words",
        "words",
        ("sort the words", "put the words in order"),
        "sorted({x})",
        lambda x, n: sorted(x),
    ),
    Primitive(
        "reverse_words",
        "words",
        "words",
        ("reverse the order of the words", "put the last word first"),
        "{x}[::-1]",
        lambda x, n: list(reversed(x)),
    ),
    Primitive(
        "longer_words",
        "words",
        "words",
        ("keep words longer than {n} letters", "drop words of {n} letters or fewer"),
        "[w for w in {x} if len(w) > {n}]",
        lambda x, n: [w for w in x if w[n:]],
        SMALL,
    ),
    Primitive(
        "capitalize",
        "words",
        "words",
        ("capitalize each word", "start every word with a capital"),
        "[w.capitalize() for w in {x}]",
        lambda x, n: [w[:1].upper() + w[1:].lower() for w in x],
    ),
    Primitive(
        "join",
        "words",
        "text",
        ("join the words with {n}", "glue the words together with {n}"),
        "{n}.join({x})",
        lambda x, n: "".join(n + w for w in x)[len(n) :],
        ("-", "+", "/", "_", ", "),
    ),
    Primitive(
        "word_lengths",
        "words",
        "ints",
        ("take the length of each word", "replace each word by its length"),
        "[len(w) for w in {x}]",
        lambda x, n: [sum(1 for _ in w) for w in x],
    ),
    Primitive(
        "count_words",
        "words",
        "number",
        ("count the words", "return the number of words"),
        "len({x})",
        lambda x, n: sum(1 for _ in x),
    ),
)


def _on_number(
    name: str,
    phrases: tuple[str, ...],
    code: str,
    run: Callable[[int, int], int],
    arguments: tuple[Argument, ...] = (None,),
) -> Primitive:
    return Primitive(name, "number", "number", phrases, code, run, arguments)


# Functions of one number: the shortest bodies, which the smallest models of a ladder can write.
# No two of them, whatever the argument, are the same line of code. The most frequent first.
NUMBER_PRIMITIVES = (
    _on_number("number_double", ("double it", "make it twice as large"), "{x} * 2",
               lambda x, n: x + x),
    _on_number("flip_sign", ("flip the sign", "negate it"), "-{x}", lambda x, n: 0 - x),
    _on_number("number_square", ("square it", "multiply it by itself"), "{x} ** 2",
               lambda x, n: x * x),
    _on_number("next", ("go one up", "take the next number"), "{x} + 1", lambda x, n: -~x),
    _on_number("halve", ("halve it", "divide it by two"), "{x} // 2", lambda x, n: x >> 1),
    _on_number("triple", ("triple it", "make it three times as large"), "{x} * 3",
               lambda x, n: x + x + x),
    _on_number("drop_sign", ("drop the sign", "take the absolute value"), "abs({x})",
               lambda x, n: max(x, 0 - x)),
    _on_number("previous", ("go one down", "take the number before"), "{x} - 1", lambda x, n: ~-x),
    _on_number("ten_up", ("go ten up", "add ten to it"), "{x} + 10", lambda x, n: 10 + x),
    _on_number("last_digit", ("keep the last digit", "take the remainder of ten"), "{x} % 10",
               lambda x, n: divmod(x, 10)[1]),
    _on_number("cube", ("cube it", "raise it to the third power"), "{x} ** 3",
               lambda x, n: x * x * x),
    _on_number("no_negative", ("replace negatives by zero", "raise it to zero at least"),
               "max({x}, 0)", lambda x, n: x if x > 0 else 0),
    _on_number("ten_down", ("go ten down", "take ten from it"), "{x} - 10", lambda x, n: -10 + x),
    _on_number("parity", ("take its parity", "tell whether it is odd"), "{x} % 2",
               lambda x, n: x & 1),
    _on_number("drop_digit", ("drop the last digit", "divide it by ten"), "{x} // 10",
               lambda x, n: divmod(x, 10)[0]),
    _on_number("digits", ("count its digits", "take the number of digits"), "len(str(abs({x})))",
               lambda x, n: sum(1 for _ in f"{max(x, -x)}")),
    _on_number("mirror", ("mirror it at ten", "subtract it from ten"), "10 - {x}",
               lambda x, n: 10 + -x),
    _on_number("complement", ("mirror it at a hundred", "subtract it from a hundred"), "100 - {x}",
               lambda x, n: 100 + -x),
    _on_number("plus", ("add {n}", "increase it by {n}"), "{x} + {n}",
               lambda x, n: n + x, _numbers(2, 9)),
    _on_number("minus", ("subtract {n}", "decrease it by {n}"), "{x} - {n}",
               lambda x, n: x + -n, _numbers(2, 9)),
    _on_number("at_least", ("raise it to {n} at least", "replace less than {n} by {n}"),
               "max({x}, {n})", lambda x, n: n if x < n else x, _numbers(2, 9)),
    _on_number("times", ("multiply it by {n}", "take it {n} times"), "{x} * {n}",
               lambda x, n: sum(x for _ in range(n)), _numbers(4, 9)),
    _on_number("at_most", ("cap it at {n}", "limit it to {n} at most"), "min({x}, {n})",
               lambda x, n: n if x > n else x, _numbers(2, 9)),
    _on_number("modulo", ("take it modulo {n}", "take the remainder of {n}"), "{x} % {n}",
               lambda x, n: divmod(x, n)[1], _numbers(3, 9)),
)  # fmt: skip

PRIMITIVES: dict[str, Primitive] = {
    p.name: p for p in INT_PRIMITIVES + TEXT_PRIMITIVES + NUMBER_PRIMITIVES
}
