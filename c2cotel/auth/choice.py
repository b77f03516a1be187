"""Which authority an application has, and the keys of its cookie."""

from importlib.util import find_spec

from pyramid.registry import Registry

from c2cotel.auth.core import AuthenticationType, authentication_type, text_of
from c2cotel.auth.github import GitHub
from c2cotel.auth.login import GitHubAuthority
from c2cotel.auth.secret import SecretAuthority
from c2cotel.auth.session import Sessions
from c2cotel.auth.visits import CookieAuthority, Jar
from c2cotel.pyramid.access import Nobody
from c2cotel.settings import Secret, Settings, SettingsError, load


def authority_for(settings: Settings) -> CookieAuthority | Nobody:
    """Whoever decides with these *settings*.

    Raises:
        SettingsError: authlib, which a login by GitHub needs, is not installed.
    """
    kind = authentication_type(settings)
    if kind is AuthenticationType.NONE:
        return Nobody()
    jar = Jar(
        settings.auth.github.cookie,
        Sessions(kind.name.lower(), settings.auth.lifetime, _keys(settings)),
    )
    if kind is AuthenticationType.SECRET:
        return SecretAuthority(Secret(text_of(settings.secret)), jar)
    if find_spec("authlib") is None:
        raise SettingsError("The login by GitHub needs authlib: pip install 'c2cotel[oauth]'")
    return GitHubAuthority(settings.auth.github, jar, GitHub(settings.auth.github))


def _keys(settings: Settings) -> list[str]:
    """What the keys of the cookie are made of, today's first.

    The secret of everybody is a part of them: with another one, all have to log in again.
    """
    github, secret = settings.auth.github, text_of(settings.secret)
    chosen = text_of(github.secret) or secret
    return [f"{key}\0{secret}" for key in (chosen, text_of(github.previous_secret)) if key]


def authority_of(registry: Registry) -> CookieAuthority | Nobody:
    """Whoever decides in the application of this *registry*, also one that does not include us."""
    found: CookieAuthority | Nobody | None = getattr(registry, "c2c_authority", None)
    if found is None:
        found = registry.c2c_authority = authority_for(settings_in(registry))
    return found


def settings_in(registry: Registry) -> Settings:
    """The settings of this *registry*, also one that does not include us."""
    if (loaded := getattr(registry, "c2c_settings", None)) is None:
        loaded = load(ini=registry.settings)
    settings: Settings = loaded.settings
    return settings
