from pathlib import Path

import pytest

from bot import config
from bot.domain.errors import UsageError

SECRET = "xoxb-s3cr3t-value"


@pytest.fixture(autouse=True)
def _clean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(__import__("os").environ):
        if name.startswith("TOCSIN_"):
            monkeypatch.delenv(name)


def load(text, **fields):
    path = Path("some.toml")
    path.write_text(text)
    return config.load(path, **fields)


def test_defaults_need_no_file():
    settings = config.load(None)
    assert settings.store.path == Path("tocsin.db")
    assert settings.providers == ["bluesky"]
    assert settings.slack.bot_token is settings.discord.token is None


def test_config_toml_of_the_folder_is_used():
    Path("config.toml").write_text("[web]\nport = 1234\n")
    assert config.load(None).web.port == 1234


def test_database_of_the_command_line_wins():
    assert load('[store]\npath = "a.db"', db=Path("b.db")).store.path == Path("b.db")


def test_what_the_file_sets_is_read():
    settings = load(
        """
        [[source]]
        type = "jetstream"
        url = "wss://one.example/subscribe"
        [[source]]
        type = "replay"
        path = ["a.jsonl", "b.jsonl.gz"]
        pace = "max"
        [[source]]
        type = "replay"
        name = "quakes"
        provider = "usgs"
        path = "c.jsonl"
        [[operator]]
        name = "Ada"
        ids = ["slack:T0123/U0456", "cli:ada"]
        """
    )
    assert settings.providers == ["*", "bluesky", "usgs"]
    assert [source.name for source in settings.source] == ["bluesky", "replay", "quakes"]
    assert settings.operator_named("cli:ada") == "Ada"
    assert settings.operator_named("cli:bob") is None


def test_another_model_is_named_with_its_labels():
    model = load(
        """
        [model]
        backend = "transformers"
        path = "models/quakes"
        device = "cuda"
        [model.labels]
        LABEL_1 = "earthquake"
        "flash flood" = "flood"
        """
    ).model
    assert (model.path, model.device) == (Path("models/quakes"), "cuda")
    assert model.labels == {"LABEL_1": "earthquake", "flash flood": "flood"}
    assert config.Model.model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stor = 5", "stor is not a setting; config.example.toml lists all of them"),
        ('[store]\npth = "x"', "store.pth is not a setting"),
        ('[[source]]\ntype = "jetstream"\nhost = "x"', r"\[\[source\]\] 1 \(jetstream\).host is not a setting"),
        ('[web]\nport = "many"', "web.port: Input should be a valid integer"),
        ("[web]\nport = 70000", "web.port: Input should be less than or equal to 65535"),
        ("store = 5", "store: "),
        ("[store]\npath = 5", "store.path: "),
        ("source = 5", "source: Input should be a valid list"),
        ('[logs]\nlevel = "loud"', "logs.level: Input should be 'debug', 'info', 'warning' or 'error'"),
        ("[model]\nthreads = 0", "model.threads: "),
        ('[model]\nbackend = "torch"', "model.backend: Input should be 'onnx' or 'transformers'"),
        ('[model]\nbackend = "transformers"', r"model: path is missing: .* needs the folder of a model"),
        ('[model]\nbackend = "transformers"\npath = "x"', "model: labels are missing"),
        ('[model]\nbackend = "transformers"\npath = "x"\nlabels = {}', "model: labels are missing"),
        ('[model.labels]\nQ = "earthquak"', "model.labels: 'Q' names 'earthquak', which is not one of terror_attack, "),
        ('[model.labels]\nQ = "earthquake"', 'model: labels are for the backend "transformers"'),
        ('[model]\ndevice = "cuda"', 'model: the backend "onnx" runs on the CPU only'),
        ('[model]\ndevice = "tpu"', "model.device: Input should be 'cpu' or 'cuda'"),
        ('[slack]\nbot_token = "x"', r"app_token \(xapp-…\) is missing"),
        ('[slack]\napp_token = "x"', r"bot_token \(xoxb-…\) is missing"),
        ('[discord]\ntoken = " "', "discord.token: is empty"),
        ('[[source]]\ntype = "replay"', r"\[\[source\]\] 1 \(replay\).path is missing"),
        ('[[source]]\nname = "x"', r"\[\[source\]\] 1: type is missing"),
        ('[[source]]\ntype = "telegram"', r"\[\[source\]\] 1: there is no type 'telegram'; there are 'jetstream', "),
        ('[[source]]\ntype = "replay"\npath = "x"\npace = "fast"', r"\[\[source\]\] 1 \(replay\).pace: "),
        ('[[source]]\ntype = "jetstream"\nprovider = "Blue Sky"', "provider 'Blue Sky' is not a name"),
        ('[[source]]\ntype = "jetstream"\nprovider = "*"', "a source has one provider"),
        ('[[source]]\ntype = "jetstream"\nurl = "https://x"', "name one WebSocket address"),
        ('[[source]]\ntype = "jetstream"\nurl = []', "name one WebSocket address"),
        ('[[source]]\ntype = "jetstream"\n' * 2, "two sources are named 'bluesky'"),
        ('[[operator]]\nname = "A"\nids = ["ada"]', "'ada' is not written as slack:T0123/U0456"),
        ('[[operator]]\nname = "A"\nids = ["cli:a"]\n' * 2, "'cli:a' belongs to two operators"),
        ("[store\n", "is not valid TOML"),
    ],
)
def test_each_mistake_is_one_sentence_that_names_the_place(text, sentence):
    with pytest.raises(UsageError, match=sentence) as raised:
        load(text)
    assert str(raised.value).startswith("configuration some.toml: ")
    assert "\n" not in str(raised.value)


def test_missing_file_and_bytes_that_are_no_text():
    with pytest.raises(UsageError, match=r"configuration no\.toml: cannot be read"):
        config.load(Path("no.toml"))
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(Path())
    Path("bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not valid TOML"):
        config.load(Path("bad.toml"))


def test_secrets_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("TOCSIN_SLACK__BOT_TOKEN", SECRET)
    settings = load('[slack]\napp_token = "xapp-1"\napi_url = "http://localhost/"')
    assert settings.slack.bot_token.get_secret_value() == SECRET
    assert settings.slack.app_token.get_secret_value() == "xapp-1"
    assert settings.slack.api_url == "http://localhost/"
    assert SECRET not in repr(settings)


def test_environment_wins_over_the_file_and_empty_means_unset(monkeypatch):
    monkeypatch.setenv("TOCSIN_DISCORD__TOKEN", "from the environment")
    monkeypatch.setenv("TOCSIN_WEB__PORT", "")
    settings = load('[discord]\ntoken = "from the file"\n[web]\nport = 7')
    assert settings.discord.token.get_secret_value() == "from the environment"
    assert settings.web.port == 7


def test_other_variables_of_ours_are_no_settings(monkeypatch):
    monkeypatch.setenv("TOCSIN_CRASH_AT", "claimed")
    config.load(None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TOCSIN_SLACK__BOT_TOKEN", ""),
        ("TOCSIN_SLACK__BOT_TOKN", ""),
        ("TOCSIN_WEB__PORT", ""),
        ("TOCSIN_SLACK", ""),
        ("TOCSIN_SOURCE", ""),
        (None, f'[slack]\nbot_tokn = "{SECRET}"'),
        (None, f'[slack]\nbot_token = ["{SECRET}"]\napp_token = "x"'),
        (None, f'[web]\nport = "{SECRET}"'),
        (None, f'[[source]]\ntype = "jetstream"\nurl = "https://me:{SECRET}@host/"'),
        (None, f'[slack]\nbot_token = "{SECRET}'),
    ],
)
def test_no_message_holds_a_value(monkeypatch, name, text):
    if name is not None:
        monkeypatch.setenv(name, SECRET)
    with pytest.raises(UsageError) as raised:
        load(text)
    cause = raised.value.__cause__
    assert SECRET not in str(raised.value)
    assert cause is None or SECRET not in str(cause)
