"""Settings: ``config.toml``, then the environment (``TOCSIN_SLACK__BOT_TOKEN``). Unknown keys are errors.

Every setting stands in ``config.example.toml`` with its default and one sentence.
"""

import ipaddress
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain.errors import UsageError
from classifiers.api import CATEGORIES


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Store(_Part):
    path: Path = Path("tocsin.db")


class Model(_Part):
    """``labels``: the other model's label → our category. A label that is left out counts for nothing."""

    backend: Literal["onnx", "transformers"] = "onnx"
    path: Path | None = None
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    device: Literal["cpu", "cuda"] = "cpu"
    labels: dict[str, str] | None = None

    @field_validator("labels")
    @classmethod
    def _known_categories(cls, labels: dict[str, str] | None) -> dict[str, str] | None:
        for label, category in (labels or {}).items():
            if category not in CATEGORIES:
                raise ValueError(f"{label!r} names {category!r}, which is not one of {', '.join(CATEGORIES)}")
        return labels

    @model_validator(mode="after")
    def _whole_backend(self) -> Self:
        if self.backend == "transformers":
            if self.path is None:
                raise ValueError('path is missing: the backend "transformers" needs the folder of a model')
            if not self.labels:
                raise ValueError(
                    'labels are missing: the backend "transformers" needs to know which are our categories'
                )
        elif self.labels is not None:
            raise ValueError('labels are for the backend "transformers"; leave them out, or set backend')
        elif self.device != "cpu":
            raise ValueError(f'the backend "onnx" runs on the CPU only; leave device = "{self.device}" out')
        return self


Secret = Annotated[SecretStr, AfterValidator(lambda secret: _checked_secret(secret))]


class Slack(_Part):
    bot_token: Secret | None = None
    app_token: Secret | None = None
    signing_secret: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    public_url: str | None = None
    api_url: str = "https://slack.com/api/"

    @property
    def socket_mode(self) -> bool:
        return self.bot_token is not None

    @property
    def http_mode(self) -> bool:
        return self.client_id is not None

    @field_validator("public_url")
    @classmethod
    def _public(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ValueError("is the address at which Slack reaches this service: https://…")
        return None if url is None else url.rstrip("/")

    @model_validator(mode="after")
    def _one_whole_mode(self) -> Self:
        if (self.bot_token is None) != (self.app_token is None):
            missing = "app_token (xapp-…)" if self.app_token is None else "bot_token (xoxb-…)"
            raise ValueError(f"{missing} is missing: Socket Mode needs both tokens")
        http = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "signing_secret": self.signing_secret,
            "public_url": self.public_url,
        }
        lacking = [name for name, value in http.items() if value is None]
        if any(http[name] is not None for name in ("client_id", "client_secret", "public_url")) and lacking:
            raise ValueError(f"{lacking[0]} is missing: HTTP mode needs {', '.join(http)}")
        if self.socket_mode and self.http_mode:
            raise ValueError("either bot_token and app_token (Socket Mode, one workspace) or client_id … (HTTP mode)")
        return self


class Discord(_Part):
    token: Secret | None = None
    api_url: str | None = None
    gateway_url: str | None = None


_LEAST_TOKEN = 16  # characters


class Web(_Part):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8391
    token: Secret | None = None

    @field_validator("token")
    @classmethod
    def _not_guessed(cls, token: SecretStr | None) -> SecretStr | None:
        return None if token is None else _unguessable(token)

    @property
    def loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.loopback and self.token is None:
            raise ValueError(f"host {self.host} shows the board to other machines: set a token, or host = 127.0.0.1")
        return self


class Logs(_Part):
    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = False


Provider = Annotated[str, AfterValidator(lambda name: _checked_provider(name))]
HttpUrl = Annotated[str, AfterValidator(lambda url: _checked_http(url))]
Contact = Annotated[str, AfterValidator(lambda contact: _checked_contact(contact))]


class JetstreamSource(_Part):
    type: Literal["jetstream"]
    name: str = "bluesky"
    provider: Provider = "bluesky"
    url: str | list[str] = [
        "wss://jetstream2.us-east.bsky.network/subscribe",
        "wss://jetstream1.us-east.bsky.network/subscribe",
    ]
    compress: bool = False
    dictionary: Path | None = None
    appview: Literal[""] | HttpUrl = "https://public.api.bsky.app"
    directory: HttpUrl = "https://plc.directory"

    @property
    def urls(self) -> list[str]:
        return [self.url] if isinstance(self.url, str) else self.url

    @field_validator("url")
    @classmethod
    def _websocket(cls, url: str | list[str]) -> str | list[str]:
        addresses = [url] if isinstance(url, str) else url
        if not addresses or not all(each.startswith(("ws://", "wss://")) for each in addresses):
            raise ValueError("name one WebSocket address (ws:// or wss://) or several")
        return url


class MastodonSource(_Part):
    type: Literal["mastodon"]
    name: str = "mastodon"
    provider: Provider = "mastodon"
    url: HttpUrl
    token: Secret
    local: bool = False
    undiscoverable: bool = False


class XSource(_Part):
    type: Literal["x"]
    name: str = "x"
    provider: Provider = "x"
    url: HttpUrl = "https://api.x.com"
    token: Secret
    rules: Annotated[list[str], Field(min_length=1)]
    backfill_minutes: Annotated[int, Field(ge=0, le=5)] = 0
    accept_terms: bool = False

    @model_validator(mode="after")
    def _accepted(self) -> Self:
        if not self.accept_terms:
            raise ValueError(
                "accept_terms is not set: X's terms bar surveillance and monitoring of protests; read them, then set it"
            )
        return self


class FeedSource(_Part):
    type: Literal["rss"]
    name: str
    provider: Provider
    url: HttpUrl
    official: bool = False


class NwsSource(_Part):
    type: Literal["nws"]
    name: str = "nws"
    provider: Provider = "nws"
    url: HttpUrl = "https://api.weather.gov/alerts/active"
    contact: Contact


class UsgsSource(_Part):
    type: Literal["usgs"]
    name: str = "usgs"
    provider: Provider = "usgs"
    url: HttpUrl = "https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_hour.geojson"
    magnitude: float = 4.5


class GdacsSource(_Part):
    type: Literal["gdacs"]
    name: str = "gdacs"
    provider: Provider = "gdacs"
    url: HttpUrl = "https://www.gdacs.org/xml/rss.xml"


class MeteoalarmSource(_Part):
    type: Literal["meteoalarm"]
    name: str = "meteoalarm"
    provider: Provider = "meteoalarm"
    url: HttpUrl = "https://feeds.meteoalarm.org/feeds/meteoalarm-legacy-atom-europe"


class WikimediaSource(_Part):
    type: Literal["wikimedia"]
    name: str = "wikimedia"
    provider: Provider = "wikimedia"
    url: HttpUrl = "https://stream.wikimedia.org/v2/stream/recentchange"
    wikis: Annotated[list[str], Field(min_length=1)] = ["enwiki"]
    contact: Contact | None = None


class PushSource(_Part):
    type: Literal["push"]
    name: str
    provider: Provider
    secret: Secret
    per_second: Annotated[float, Field(gt=0)] = 50.0

    @field_validator("secret")
    @classmethod
    def _not_guessed(cls, secret: SecretStr) -> SecretStr:
        return _unguessable(secret)


class ReplaySource(_Part):
    type: Literal["replay"]
    name: str = "replay"
    provider: Provider | None = None
    path: Path | list[Path]
    pace: Literal["max"] | Annotated[float, Field(gt=0)] = 1.0

    @property
    def paths(self) -> list[Path]:
        return self.path if isinstance(self.path, list) else [self.path]


Source = Annotated[
    JetstreamSource
    | MastodonSource
    | XSource
    | FeedSource
    | NwsSource
    | UsgsSource
    | GdacsSource
    | MeteoalarmSource
    | WikimediaSource
    | PushSource
    | ReplaySource,
    Field(discriminator="type"),
]


# The acts that can need a second person; ``approving.Act`` has the same names.
TwoPersonAct = Literal["retract", "drop-credentials", "reinstate-sector", "grant-sector", "relax-terms"]


class Access(_Part):
    two_persons: list[TwoPersonAct] = [
        "retract", "drop-credentials", "reinstate-sector", "grant-sector", "relax-terms",
    ]  # fmt: skip


class Retention(_Part):
    days: Annotated[int, Field(ge=2, le=3650)] = 30


class Alarm(_Part):
    channel: str | None = None

    @field_validator("channel")
    @classmethod
    def _written(cls, channel: str | None) -> str | None:
        if channel is not None:
            try:
                channels.parse(channel)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return channel


class Operator(_Part):
    name: str
    ids: list[str]

    @field_validator("ids")
    @classmethod
    def _known_surfaces(cls, ids: list[str]) -> list[str]:
        for each in ids:
            if each.split(":", 1)[0] not in ("slack", "discord", "cli"):
                raise ValueError(f"{each!r} is not written as slack:T0123/U0456, discord:1234567890 or cli:NAME")
        return ids


class Config(BaseSettings):
    """The whole configuration; parts are handed to who needs them, never imported."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="TOCSIN_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        nested_model_default_partial_update=True,
    )

    store: Store = Store()
    model: Model = Model()
    slack: Slack = Slack()
    discord: Discord = Discord()
    web: Web = Web()
    logs: Logs = Logs()
    access: Access = Access()
    retention: Retention = Retention()
    alarm: Alarm = Alarm()
    source: list[Source] = [JetstreamSource(type="jetstream")]
    operator: list[Operator] = []

    @model_validator(mode="after")
    def _distinct_sources(self) -> Self:
        names = [source.name for source in self.source]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are named {twice[0]!r}: give each a name of its own")
        return self

    @model_validator(mode="after")
    def _distinct_accounts(self) -> Self:
        accounts = [account for person in self.operator for account in set(person.ids)]
        twice = sorted({account for account in accounts if accounts.count(account) > 1})
        if twice:
            raise ValueError(f"the account {twice[0]!r} belongs to two operators: the audit must know whose it is")
        return self

    @property
    def providers(self) -> list[str]:
        """The providers of the configured sources; a replay without one may hold any."""
        return sorted({source.provider or "*" for source in self.source})

    @property
    def two_persons(self) -> frozenset[str]:
        """The acts that need a second operator; none while there is only one to ask."""
        return frozenset(self.access.two_persons) if len(self.operator) > 1 else frozenset()

    def operator_named(self, account: str) -> str | None:
        """Whose account ``slack:T0123/U0456`` is, if an operator's."""
        return next((person.name for person in self.operator if account in person.ids), None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load(path: Path | None, *, db: Path | None = None) -> Config:
    """Read ``path`` (None: ``./config.toml`` if it exists). Raises UsageError with one sentence."""
    values: dict[str, Any] = {}
    chosen = path or (Path("config.toml") if Path("config.toml").exists() else None)
    if chosen is not None:
        try:
            values = tomllib.loads(chosen.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"configuration {chosen}: cannot be read ({error.strerror}); check the path") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"configuration {chosen}: is not valid TOML: {error}") from error
    try:
        config = Config(**values)
    except SettingsError as error:
        raise UsageError(f"configuration from the environment: {error}; it is not valid JSON") from None
    except ValidationError as error:
        raise UsageError(f"configuration {chosen or 'from the environment'}: {_sentence(error)}") from None
    if db is not None:
        config = config.model_copy(update={"store": config.store.model_copy(update={"path": db})})
    return config


def _checked_secret(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("is empty: give the token, or leave the setting out")
    return secret


def _unguessable(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().strip()) < _LEAST_TOKEN:
        raise ValueError(
            f"is shorter than {_LEAST_TOKEN} characters and could be guessed; make one with `openssl rand -hex 16`"
        )
    return secret


def _checked_http(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("is an address that begins with https:// (or http://)")
    return url


def _checked_contact(contact: str) -> str:
    """It stands in a header."""
    if not contact.strip() or not contact.isascii() or not contact.isprintable():
        raise ValueError("is an e-mail or web address, in ASCII and on one line")
    return contact


def _checked_provider(provider: str) -> str:
    if provider == "*":
        raise ValueError("a source has one provider; '*' stands for all of them in grants and revocations only")
    try:
        return rules.check_provider(provider)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _sentence(error: ValidationError) -> str:
    """The first problem as one sentence; values are not echoed, since they may be secrets."""
    problem = error.errors(include_input=False, include_url=False)[0]
    where = _place(problem["loc"])
    match problem["type"]:
        case "union_tag_not_found":
            return f"{where}: type is missing; config.example.toml shows all of them"
        case "union_tag_invalid":
            return f"{where}: there is no type {problem['ctx']['tag']!r}; there are {problem['ctx']['expected_tags']}"
        case "extra_forbidden":
            return f"{where} is not a setting; config.example.toml lists all of them"
        case "missing":
            return f"{where} is missing; config.example.toml shows it"
        case _:
            return f"{where}: {problem['msg'].removeprefix('Value error, ')}; see config.example.toml"


def _place(path: tuple[str | int, ...]) -> str:
    """``web.port``; of what stands several times its number, from 1 on, and type: ``[[source]] 2 (push).secret``."""
    match path:
        case [str(name), int(number), *rest]:
            kind = f" ({rest.pop(0)})" if name == "source" and rest else ""
            return ".".join([f"[[{name}]] {number + 1}{kind}", *_names(rest)])
        case _:
            return ".".join(_names(path)) or "the whole"


def _names(path: Iterable[str | int]) -> list[str]:
    """Without the branches of unions, which pydantic names after their types."""
    return [str(part) for part in path if str(part).isidentifier() and part not in ("str", "int", "float", "bool")]
