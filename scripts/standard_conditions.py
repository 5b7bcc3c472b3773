"""Reads conditions of Type 1C and 2C attributes from the regular sentences of PS3.3.

`Required if Segmentation Type (0062,0001) is FRACTIONAL.` becomes `SegmentationType == "FRACTIONAL"`. A
sentence that is not wholly understood gives no condition.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.datadict import (
    dictionary_description,
    dictionary_VM,
    dictionary_VR,
    keyword_for_tag,
    tag_for_keyword,
)

NUMBERS = {"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"}
TEXTS = {"AE", "AS", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UR", "UT"}

REFERENCE = r"@(\w+)(?:,? Value (\d))?( of this frame)?"
VALUE = r'"?[A-Z0-9][A-Z0-9_. ]*"?'
VALUE_LIST = rf"({VALUE}(?:(?:, or |, | or ){VALUE})*)"
IS = (
    r"(?: value)? (?:is present and )?(?:is|equals|has a value of|has the value(?: of)?|has value|"
    r"is equal to|is set to|is present with a value of|the value is|is either|has values of)"
)
IS_NOT = r"(?: value)? (?:is not|is other than|other than|equals other than|does not equal|is not equal to)"
ABOVE = r"(?: value)? (?:is greater than|has a value greater than|value greater than)"


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition.

    Attributes:
        text: As harvester/audits/conformance/expressions.py reads it.
        exact: Whether the attribute is not required where the condition is false.
        joined: `and` or `or`, if it joins others.
        opposite: Of a value that is not one of some: that it is; also false if the attribute is absent.
    """

    text: str
    exact: bool = True
    joined: str = ""
    opposite: str = ""


Resolve = Callable[[str], str | None]
"""The name of an attribute in the expressions of an item: `Rows`, or `root.Rows`; None: elsewhere."""


def condition(description: str, resolve: Resolve) -> Expression | None:
    """The condition of a description; None: it has none, several, or one that is not understood."""
    found = re.findall(r"(?:Required|Shall be present) if:? (.*?)(?:\.(?=\s|$)|$)", description)
    if len(found) != 1:
        return None
    sentence = re.sub(
        r"[,;] (?:may|shall not) be present otherwise$", "", found[0].strip(), flags=re.IGNORECASE
    )
    sentence = re.sub(r" \((?:Legacy Converted|Hounsfield Units)[^)]*\)", "", sentence)
    return _parsed(_with_references(sentence), resolve)


def forbids(description: str) -> bool:
    """Whether a conditional attribute shall be absent unless its condition holds (PS3.5 7.4.2)."""
    has_condition = re.search(r"(?:Required|Shall be present) if", description)
    return has_condition is not None and not re.search(
        r"may (?:also )?be (?:present|included)", description.lower()
    )


def forbidden(description: str, resolve: Resolve) -> str:
    """When the attribute shall be absent, whether required or not; empty: not known.

    `Otherwise may be present if Image Type (0008,0008) Value 1 is DERIVED and Tagging (0018,9028) is GRID.`
    forbids it where Tagging is not GRID.
    """
    expression = condition(description, resolve)
    if forbids(description) and expression is not None and expression.opposite:
        return expression.opposite
    allowed = re.search(
        r"Otherwise may be present if (?:Image|Frame) Type \(0008,\d{4}\),? Value 1 (?:of this frame )?"
        r"(?:is|equals) DERIVED and (.*?)(?:\.(?=\s|$)|$)",
        description,
    )
    if allowed is None:
        return ""
    sentence = re.sub(r"\((\w{4},\w{4})\)?(?=\w)", r"(\1) ", allowed[1])
    also = _parsed(_with_references(sentence), resolve)
    if also is None:
        return ""
    return also.opposite or (f"not ({also.text})" if also.exact else "")


def _with_references(sentence: str) -> str:
    """`Rows (0028,0010)` as `@Rows`."""
    for group, element in set(re.findall(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)", sentence)):
        tag = int(group + element, 16)
        keyword = keyword_for_tag(tag)
        if keyword:
            name = re.escape(dictionary_description(tag)).replace("'", "['\u2019]")
            pattern = rf"(?:[Tt]he value of |[Tt]he )?{name} \({group},{element}\)"
            sentence = re.sub(pattern, f"@{keyword}", sentence)
    for name, keyword in (("SOP Class UID", "SOPClassUID"), ("Observer Type", "ObserverType")):
        sentence = re.sub(rf"(?:[Tt]he )?(?<![\w@]){name}", f"@{keyword}", sentence)
    return sentence


def _parsed(text: str, resolve: Resolve) -> Expression | None:
    """The expression of a sentence, or of a part of one."""
    text = re.sub(r"^(?:if|either|a value of|the value of|both) ", "", text.strip())
    simple = _presence(text, resolve) or _comparison(text, resolve)
    if simple is not None:
        return simple
    for word in ("or", "and"):
        for match in re.finditer(rf",? {word} ", text):
            left, right = _parsed(text[: match.start()], resolve), _parsed(text[match.end() :], resolve)
            # What "A and B or C" means is not clear.
            if left is not None and right is not None and {left.joined, right.joined} <= {"", word}:
                exact = left.exact and right.exact
                return Expression(f"{_inner(left)} {word} {_inner(right)}", exact, word)
    return None


def _inner(one: Expression) -> str:
    return f"({one.text})" if one.joined else one.text


def _presence(text: str, resolve: Resolve) -> Expression | None:
    match = re.fullmatch(
        r"(neither )?((?:@\w+, )*@\w+)(?:,? (and|or|nor) (@\w+))? (?:are|is|has) "
        r"(present and has a value|present with a value|present|not present|absent|a value)",
        text,
    )
    if match is None:
        return None
    neither, first, word, last, state = match.groups()
    names = [resolve(name[1:]) for name in (*first.split(", "), *([last] if last else ()))]
    if None in names or (len(names) > 1 and word is None):
        return None
    absent = state in ("not present", "absent")
    if neither or (absent and word == "and") or (absent and len(names) == 1):
        joined, negation = "and", "not "
    elif absent:
        return None  # "A or B is not present" is not clear
    else:
        joined, negation = word or "", ""
    parts = [f"{negation}present({name})" for name in names]
    return Expression(f" {joined} ".join(parts), joined=joined if len(parts) > 1 else "")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a comparison is about.

    Attributes:
        name: Of the attribute in expressions, with the number of the value.
        keyword: Of the attribute.
        many: Whether it has several values.
        vr: Its VR.
    """

    name: str
    keyword: str
    many: bool
    vr: str


def _comparison(text: str, resolve: Resolve) -> Expression | None:
    match = re.match(REFERENCE, text)
    subject = None if match is None else _subject(*match.groups(), resolve)
    if match is None or subject is None:
        return None
    rest = text[match.end() :]
    return _above(subject, rest) or _pointer(subject, rest) or _equality(subject, rest)


def _subject(keyword: str, number: str | None, of_frame: str | None, resolve: Resolve) -> Subject | None:
    name: str | None
    if keyword == "FrameType":  # of all frames together: Image Type (PS3.3 C.8.16.1.1)
        name = "root.ImageType"
    else:
        name = None if of_frame and keyword != "ImageType" else resolve(keyword)
    tag = tag_for_keyword(keyword)
    if name is None or tag is None:
        return None
    many = dictionary_VM(tag) != "1"
    if number is not None:
        name = f"{name}[{number}]"
        if not many:
            return None
    return Subject(name, keyword, many and number is None, dictionary_VR(tag).split(" or ")[0])


def _above(subject: Subject, rest: str) -> Expression | None:
    if subject.vr not in NUMBERS or subject.many:
        return None
    if rest in (" is non-zero", " has a non-zero value", " is present and has a non-zero value"):
        return Expression(f"{subject.name} != 0")
    match = re.fullmatch(rf"{ABOVE} (\d+|zero|one)", rest)
    return match and Expression(f"{subject.name} > {({'zero': '0', 'one': '1'}).get(match[1], match[1])}")


def _pointer(subject: Subject, rest: str) -> Expression | None:
    match = re.fullmatch(r" (?:points to|includes|contains)(?: the Tag (?:for|of))? @(\w+)", rest)
    if match is None or subject.vr != "AT":
        return None
    pointer = f'"{tag_for_keyword(match[1]):08X}"'
    return Expression(f"{pointer} {'in' if subject.many else '=='} {subject.name}")


def _equality(subject: Subject, rest: str) -> Expression | None:
    for pattern, negative in ((IS, False), (IS_NOT, True)):
        match = re.fullmatch(rf"{pattern} {VALUE_LIST}", rest)
        values = None if match is None else _constants(match[1], subject.vr)
        if not values or (subject.many and negative):
            continue
        exact = subject.keyword != "FrameType" and (not negative or subject.keyword == "SOPClassUID")
        if subject.many:
            members = " or ".join(f"{one} in {subject.name}" for one in values)
            return Expression(members, exact, "or" if len(values) > 1 else "")
        one, others = f"{subject.name} == {values[0]}", f"{subject.name} in ({', '.join(values)})"
        text = one if len(values) == 1 else others
        if not negative:
            return Expression(text, exact)
        opposite = "" if exact or subject.keyword == "FrameType" else text
        return Expression(
            text.replace(" == ", " != ").replace(" in (", " not in ("), exact, opposite=opposite
        )
    return None


def _constants(listed: str, vr: str) -> list[str] | None:
    values = [one.strip().strip('"').strip() for one in re.split(r", or |, | or ", listed)]
    if vr in NUMBERS:
        return values if all(re.fullmatch(r"-?\d+", one) for one in values) else None
    return [f'"{one}"' for one in values] if vr in TEXTS else None
