"""Pieces of HTML for what an application adds to the console.

Each gives :class:`markupsafe.Markup`. What they are given is escaped, unless it is that already.
"""

import re
from typing import Any

from markupsafe import Markup

# Whatever else has a scheme may be a script.
_HARMLESS = frozenset({"http", "https", "mailto"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def section(title: str, *content: str, sep: bool = True) -> Markup:
    """A part of the page with its heading; *sep* draws a line below it."""
    line = Markup("<hr>") if sep else ""
    return Markup('<section class="block"><h2>{}</h2>{}</section>{}').format(
        title, _joined(content), line
    )


def paragraph(*content: str, title: str | None = None) -> Markup:
    """A paragraph, below a small heading if it has a *title*."""
    heading = Markup("<h3>{}</h3>").format(title) if title else ""
    return Markup("{}<p>{}</p>").format(heading, _joined(content))


def link(
    url: str | None,
    label: str,
    cssclass: str = "btn btn-primary",
    target: str = "_blank",
) -> Markup:
    """A link that looks like a button; nothing where *url* is None, as of a view that is off.

    Only the label is left of an address with a scheme that may run a script.
    """
    if url is None:
        return Markup()
    address = safe_address(url)
    if address is None:
        return Markup("<span>{}</span>").format(label)
    opened = _attribute("target", target)
    # The page that opens cannot reach back to the console.
    related = Markup(' rel="noopener"') if target else ""
    return Markup('<a href="{}"{}{}{}>{}</a>').format(
        address, _attribute("class", cssclass), opened, related, label
    )


def form(url: str | None, *content: str, method: str = "get", target: str = "_blank") -> Markup:
    """A form around *content*; nothing where *url* is None or may run a script."""
    address = safe_address(url) if url is not None else None
    if address is None:
        return Markup()
    sent = Markup(' method="post" enctype="multipart/form-data"') if method == "post" else ""
    return Markup('<form class="form" action="{}"{}{}>{}</form>').format(
        address, _attribute("target", target), sent, _joined(content)
    )


def input_(
    name: str, label: str | None = None, type_: str | None = None, value: str | int = ""
) -> Markup:
    """A field and its label: made of the name by default, none for a hidden field.

    The type is ``number`` if *value* is an integer, else ``text``, unless *type_* says it.
    """
    if type_ is None:
        type_ = "number" if isinstance(value, int) else "text"
    field = Markup('<input type="{}" name="{}" value="{}">').format(type_, name, value)
    if label is None and type_ != "hidden":
        label = name.replace("_", " ").capitalize()
    if not label:
        return field
    return Markup('<div class="field"><label>{} {}</label></div>').format(label, field)


def button(label: str) -> Markup:
    """What sends the form that it stands in."""
    return Markup('<button class="btn btn-primary" type="submit">{}</button>').format(label)


def safe_address(url: str) -> str | None:
    """*url* if following it runs no script, else None."""
    # Browsers skip what stands before the address and line ends in it: "java\nscript:" is one.
    bare = re.sub(r"[\x00-\x20]", "", url)
    scheme = _SCHEME.match(bare)
    return url if scheme is None or scheme[1].lower() in _HARMLESS else None


def pieces(added: Any) -> list[Markup]:
    """What an application has added: one text or several; those that are not safe are escaped."""
    if not added:
        return []
    texts = [added] if isinstance(added, str) else list(added)
    return [
        text if isinstance(text, Markup) else Markup("<p>{}</p>").format(text) for text in texts
    ]


def _joined(content: tuple[str, ...]) -> Markup:
    return Markup("\n").join(content)


def _attribute(name: str, value: str) -> Markup:
    return Markup(' {}="{}"').format(name, value) if value else Markup()
