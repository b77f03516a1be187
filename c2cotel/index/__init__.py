"""The console: one page at the base path that shows what this service is and can do.

===========================  ====================================================================
``{base_path}``              for everybody: the public views and the login; for who may look: the
                             processes of the service, every view with its form, the last changes
``{base_path}/settings``     every setting, where it comes from, what it does; secrets are masked
``{base_path}/changes``      the last 100 changes, who made them and from where
===========================  ====================================================================

With ``?format=json`` each of them is for programs. Without a base path there is none.

An application adds to it, at any time::

    from c2cotel import index

    index.additional_title = "The maps of the canton"
    index.additional_noauth.append(index.link("../", "The application"))
    index.additional_auth.append(
        index.section(
            "Cache",
            index.form("../cache", index.input_("key"), index.button("Show")),
        )
    )

A plain text is escaped; what these functions give, and any other ``markupsafe.Markup``, is not.
"""

from pyramid.config import Configurator

from c2cotel import broadcast
from c2cotel.index import core, views
from c2cotel.index.html import button, form, input_, link, paragraph, section
from c2cotel.pyramid import settings_of
from c2cotel.pyramid.access import Access

__all__ = [
    "additional_auth",
    "additional_noauth",
    "additional_title",
    "button",
    "form",
    "includeme",
    "input_",
    "link",
    "paragraph",
    "section",
]

additional_title: str | list[str] | None = None
"""Below the name of the service, for everybody."""
additional_noauth: list[str] = []
"""At the end of the page, for everybody."""
additional_auth: list[str] = []
"""At the end of the page, for who may look."""


def includeme(config: Configurator) -> None:
    """Serve the console, if there is a base path, and tell other consoles how this process is."""
    broadcast.subscribe(core.CHANNEL, core.status, prompt=True)
    if not settings_of(config).base_path:
        return
    # Without the slash first: request.route_path("c2c_index") is the address to show.
    for path, name in (("", "c2c_index"), ("/", "c2c_index_slash")):
        config.add_c2c_view(
            path, views.console, name=name, access=Access.PUBLIC, changes=views.changes
        )
    config.add_c2c_view("settings", views.settings)
    config.add_c2c_view("changes", views.change_log)
