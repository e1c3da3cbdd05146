"""Other people's models: tiny real ones, made here with random weights, loaded as `tocsin` would load any other."""

import importlib.util
import json
import os
import socket
import sys

import numpy as np
import pytest

from bot import app, checking, config
from bot.domain.errors import UsageError
from classifiers import api, foreign

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors")),
    reason="the extra `train` is not installed",
)

WORDS = [*["the", "ground", "shook", "fire", "flood", "in", "port", "calder", "nothing", "happened"], *"abcdefg!?.#123"]
LABELS = {"QUAKE": "earthquake", "FLOOD": "flood"}
TEXTS = ["the ground shook", "flood in port calder ! " * 20, "", "nothing happened", "\ud800 \x00 fire", "😀 地震"]


def make_model(folder, *, kind="single_label_classification", width=32, labels=("NONE", "QUAKE", "FLOOD"), seed=1):
    """A complete folder, as a download leaves it: config.json, model.safetensors, tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    settings = BertConfig(
        vocab_size=5 + len(WORDS), hidden_size=width, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=40, initializer_range=0.5, problem_type=kind,
        id2label=dict(enumerate(labels)), label2id={label: at for at, label in enumerate(labels)},
    )  # fmt: skip
    BertForSequenceClassification(settings).save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def make_tokenizer(folder):
    from transformers import BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    BertTokenizerFast(vocab={word: at for at, word in enumerate(vocabulary)}).save_pretrained(folder)


def plainly(folder, text):
    """What the model says to one text, by the shortest way with transformers: logits and mean hidden state."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with torch.no_grad():
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=38)
        output = network(**inputs, output_hidden_states=True)
    return output.logits[0].double(), output.hidden_states[-1][0].mean(0).double()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "quakes")


@pytest.fixture(scope="module")
def model(folder):
    return foreign.load(folder, LABELS, threads=1)


def change(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_a_single_label_model_answers_with_its_softmax(folder, model):
    answer = model.classify(["the ground shook"])[0]
    expected = plainly(folder, "the ground shook")[0].softmax(0).tolist()
    assert answer.categories["earthquake"] == pytest.approx(expected[1], abs=2e-5)
    assert answer.categories["flood"] == pytest.approx(expected[2], abs=2e-5)
    assert tuple(answer.categories) == api.CATEGORIES
    assert {p for name, p in answer.categories.items() if name not in LABELS.values()} == {0.0}
    assert answer.places == ()


def test_a_multi_label_model_answers_with_its_sigmoid(tmp_path):
    folder = make_model(tmp_path / "many", kind="multi_label_classification")
    answer = foreign.load(folder, LABELS).classify(["flood in port calder"])[0]
    expected = plainly(folder, "flood in port calder")[0].sigmoid().tolist()
    assert answer.categories["earthquake"] == pytest.approx(expected[1], abs=2e-5)
    assert answer.categories["flood"] == pytest.approx(expected[2], abs=2e-5)


@pytest.mark.parametrize(("kind", "join"), [("single_label_classification", sum), ("multi_label_classification", max)])
def test_two_labels_of_one_category_are_joined(tmp_path, kind, join):
    folder = make_model(tmp_path / "m", kind=kind)
    apart = foreign.load(folder, LABELS).classify(["fire"])[0].categories
    together = foreign.load(folder, {"QUAKE": "flood", "FLOOD": "flood"}).classify(["fire"])[0].categories
    assert together["flood"] == pytest.approx(join([apart["earthquake"], apart["flood"]]), abs=3e-5)


def test_a_model_that_does_not_say_its_problem_is_read_as_the_pipeline_does(tmp_path):
    several, one = make_model(tmp_path / "several", kind=None), make_model(tmp_path / "one", kind=None, labels=["Q"])
    answer = foreign.load(several, LABELS).classify(["fire"])[0]
    assert answer.categories["flood"] == pytest.approx(plainly(several, "fire")[0].softmax(0)[2].item(), abs=2e-5)
    answer = foreign.load(one, {"Q": "flood"}).classify(["fire"])[0]
    assert answer.categories["flood"] == pytest.approx(plainly(one, "fire")[0].sigmoid()[0].item(), abs=2e-5)


def test_every_text_passes_its_screen(model):
    assert model.screen(TEXTS) == [True] * len(TEXTS)
    assert model.screening(TEXTS[0]) == api.Screening(passed=True)
    assert model.screen([]) == model.classify([]) == []


def test_order_is_kept_and_neighbours_do_not_matter(model):
    texts = TEXTS + [" ".join(WORDS[number % 7 : number % 7 + number % 11]) for number in range(2 * foreign.BATCH)]
    together = model.classify(texts)
    for text, answer in zip(texts, together, strict=True):
        alone = model.classify([text])[0]
        for category, p in answer.categories.items():
            assert p == pytest.approx(alone.categories[category], abs=1.1 * 10**-foreign.DECIMALS)
            assert 0.0 <= p <= 1.0
        assert answer.embedding == pytest.approx(alone.embedding, abs=1e-5)
        assert answer.embedding.shape == (api.EMBEDDING_SIZE,)
        assert answer.embedding.dtype == np.float32
        assert np.linalg.norm(answer.embedding) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00"])
def test_a_text_without_a_token_reports_nothing(model, text):
    assert set(model.classify([text])[0].categories.values()) == {0.0}


def test_an_embedding_of_another_width_is_projected_and_near_stays_near(folder, model):
    a, b = model.classify(["the ground shook", "flood in port calder"])
    x, y = (plainly(folder, text)[1].numpy() for text in ("the ground shook", "flood in port calder"))
    assert float(a.embedding @ b.embedding) == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=0.15)


def test_an_embedding_of_our_width_is_the_mean_hidden_state(tmp_path):
    folder = make_model(tmp_path / "wide", width=api.EMBEDDING_SIZE)
    answer = foreign.load(folder, LABELS).classify(["the ground shook"])[0]
    mean = plainly(folder, "the ground shook")[1].numpy()
    assert answer.embedding == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_the_projection_never_changes():
    """Embeddings in a store are compared with later ones. The figures are numpy's RandomState, frozen by policy."""
    assert foreign.projected(np.eye(2))[0, :3] == pytest.approx([-0.03664, 0.04862, 0.04861], abs=1e-5)


def test_the_version_names_the_folder_and_the_weights(tmp_path, folder, model):
    assert model.version.startswith("quakes-")
    assert foreign.load(folder, LABELS).version == model.version
    other = foreign.load(make_model(tmp_path / "quakes", seed=2), LABELS)
    assert other.version != model.version
    assert model.classify(["fire"])[0].model == model.version


def test_a_model_without_a_padding_token_takes_texts_one_by_one(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path / "decoder"
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["<unk>", *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=1 + len(WORDS), n_positions=40, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
            id2label={0: "NONE", 1: "FLOOD"}, label2id={"NONE": 0, "FLOOD": 1},
        )
    ).save_pretrained(folder)  # fmt: skip
    answers = foreign.load(folder, {"FLOOD": "flood"}).classify(TEXTS)
    assert [answer.categories["flood"] > 0 for answer in answers] == [True, True, False, True, True, True]


def test_nothing_is_fetched(folder, monkeypatch):
    def refused(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert foreign.load(folder, LABELS).classify(["fire"])


# What goes wrong, and what it says.


def test_a_missing_folder(tmp_path):
    with pytest.raises(api.ModelError, match=r"nowhere: the folder does not exist; name the folder"):
        foreign.load(tmp_path / "nowhere", LABELS)
    with pytest.raises(api.ModelError, match=r"the folder has no config\.json; name the folder"):
        foreign.load(tmp_path, LABELS)


def test_an_unknown_label_is_told_the_labels_there_are(folder):
    with pytest.raises(api.ModelError, match="it has no label 'QUAK'; name some of its own: NONE, QUAKE, FLOOD"):
        foreign.load(folder, {"QUAK": "earthquake"})


def test_an_unknown_category(folder):
    with pytest.raises(api.ModelError, match="'quake' is not a category; choose from terror_attack, "):
        foreign.load(folder, {"QUAKE": "quake"})


def test_no_mapped_label(folder):
    with pytest.raises(api.ModelError, match="none of its labels is mapped"):
        foreign.load(folder, {})


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_a_missing_package_names_the_extra(folder, monkeypatch, name):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked, *rest: None if asked == name else real(asked, *rest))
    with pytest.raises(api.ModelError, match=rf"needs {name}, which is not installed; pip install 'tocsin\[train\]'"):
        foreign.load(folder, LABELS)


def test_a_gpu_that_is_not_there(folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(
        api.ModelError, match=r'device cuda cannot be used, .* is built without CUDA; .* device = "cpu"'
    ):
        foreign.load(folder, LABELS, device="cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(api.ModelError, match="sees no GPU"):
        foreign.load(folder, LABELS, device="cuda")


def test_code_in_the_folder_is_refused_and_never_run(tmp_path):
    folder = make_model(tmp_path / "coded")
    change(folder, auto_map={"AutoModelForSequenceClassification": "theirs.Model"}, model_type="theirs")
    (folder / "theirs.py").write_text("import os\nos.environ['TOCSIN_TEST_RAN'] = '1'\nclass Model: pass\n")
    with pytest.raises(api.ModelError, match=r"config\.json asks to run Python code .* which is never done here; use"):
        foreign.load(folder, LABELS)
    assert "TOCSIN_TEST_RAN" not in os.environ
    assert not any("theirs" in name for name in sys.modules)


def test_a_model_without_a_trained_head_is_refused(tmp_path):
    from transformers import BertModel

    folder = make_model(tmp_path / "headless")
    body = BertModel.from_pretrained(folder, local_files_only=True)
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    body.save_pretrained(folder)
    change(folder, id2label=labels)
    with pytest.raises(api.ModelError, match=r"its weights lack classifier\.bias, .* never trained to classify; name"):
        foreign.load(folder, LABELS)


def test_a_regression_is_refused(tmp_path):
    with pytest.raises(api.ModelError, match="it answers with regression, not with labels"):
        foreign.load(make_model(tmp_path / "numbers", kind="regression"), LABELS)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.json", b"{", r"config\.json is not JSON"),
        ("config.json", b'{"model_type": "nobody-knows"}', "it cannot be loaded"),
        ("model.safetensors", b"", "it cannot be loaded"),
        ("model.safetensors", None, "it cannot be loaded"),
        ("tokenizer.json", b"{", "its tokenizer cannot be loaded"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, name, content, sentence):
    folder = make_model(tmp_path / "damaged")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(api.ModelError, match=sentence) as raised:
        foreign.load(folder, LABELS)
    assert "\n" not in str(raised.value)
    assert "; " in str(raised.value)


def test_a_missing_tokenizer_is_one_sentence(tmp_path):
    folder = make_model(tmp_path / "mute")
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(api.ModelError, match="its tokenizer is missing; put"):
        foreign.load(folder, LABELS)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    from safetensors import numpy as tensors

    folder = make_model(tmp_path / "nan")
    weights = tensors.load_file(folder / "model.safetensors")
    weights["classifier.bias"][:] = np.nan
    tensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(api.ModelError, match="its answers are not numbers; download it again"):
        foreign.load(folder, LABELS)


# As the service loads it.


def settings_of(folder, **changed):
    return config.Model(**{"backend": "transformers", "path": folder, "labels": LABELS} | changed)


def test_the_configuration_names_it_and_classify_uses_it(folder):
    classifier = app.load_classifier(settings_of(folder))
    lines = list(checking.classify(classifier, [b"the ground shook\n", b"\n", b'{"id": "1", "text": ""}\n']))
    assert [number for number, _ in lines] == [1, 3]
    assert lines[0][1]["categories"]["earthquake"] > 0
    assert lines[1][1]["categories"]["earthquake"] == 0


def test_its_errors_reach_the_user_as_usage(folder):
    with pytest.raises(UsageError, match="it has no label 'X'"):
        app.load_classifier(settings_of(folder, labels={"X": "flood"}))


async def test_check_says_what_is_wrong_and_what_to_do(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.toml"
    file.write_text(f'[model]\nbackend = "transformers"\npath = "{folder}"\n[model.labels]\nX = "flood"\n')
    part = next(part for part in await checking.check(file, None) if part["part"] == "model")
    assert part["problem"].endswith("it has no label 'X'")
    assert part["remedy"] == "name some of its own: NONE, QUAKE, FLOOD"
    file.write_text(file.read_text().replace("X =", "FLOOD ="))
    assert next(part for part in await checking.check(file, None) if part["part"] == "model")["ok"]
