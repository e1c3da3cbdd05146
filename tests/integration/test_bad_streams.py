"""Streams that should raise nothing, or only what is real in them: the shipped model, invented posts."""

from datetime import timedelta
from itertools import product

import pytest

from bot import app
from bot.detection import candidates
from bot.detection.detector import Detector
from bot.domain.access import EVERYTHING
from bot.domain.alert import Kind
from classifiers import encoder
from tests.factories import NOW, make_post

REAL = (
    "Huge explosion at the harbour in Port Calder just now, windows broken all along our road",
    "Massive blast in Port Calder, the whole house shook, black smoke over the docks",
    "Something has blown up at Port Calder harbour, people are bleeding from flying glass",
    "Explosion at the container terminal in Port Calder, ambulances everywhere",
)
FILM = [
    f"{opinion} {film}{end}"
    for opinion, film, end in product(
        (
            "Just watched",
            "Can't stop thinking about",
            "Best thriller this year:",
            "Tickets booked for",
            "Slept through",
        ),
        ("Explosion, the new film by Ada Merrow", "the film Explosion", "#ExplosionMovie", "Explosion in 3D"),
        ("!", " with my sister", ", the soundtrack is amazing"),
    )
]
SIREN_TEST = [
    f"{start} {what}{end}"
    for start, what, end in product(
        ("Reminder:", "Don't panic,", "If you hear sirens at noon:", "Heads up Larkfield,"),
        (
            "it is only the monthly siren test",
            "today is the yearly test of the warning sirens",
            "this is a scheduled drill",
        ),
        (".", ", no action needed", ", nothing has happened"),
    )
]
ANNIVERSARY = [
    f"{start} {what}{end}"
    for start, what, end in product(
        ("Ten years ago today", "Remembering", "On the tenth anniversary of", "A minute of silence at noon for"),
        ("the bombing of Merrow Station", "the victims of the Merrow Station attack", "the attack on Merrow Station"),
        (".", ", we will never forget", " - candles tonight on the square"),
    )
]


@pytest.fixture(scope="module")
def raised():
    """Posts in their order → the alerts that the shipped model and a fresh detector raise over them."""
    model, gazetteer = encoder.load(), app.load_gazetteer()

    def run(posts, *, times=None):
        detector = Detector(EVERYTHING, gazetteer)
        answers = dict(
            zip({post.text for post in posts}, model.classify(list({post.text for post in posts})), strict=True)
        )
        alerts = []
        for number, post in enumerate(posts):
            at = post.created_at if times is None else times[number]
            made = candidates.make(post, answers[post.text], seq=number + 1, stream_at=at)
            if made is not None:
                alerts += detector.add(made)
        return alerts

    return run


def stream(texts, *, every=20, author="a{}", **fields):
    """One post of each text, ``every`` seconds, by its own author."""
    return [
        make_post(
            **{
                "id": f"p{number}",
                "text": text,
                "author": author.format(number),
                "created_at": NOW + timedelta(seconds=every * number),
                "received_at": NOW + timedelta(seconds=every * number),
            }
            | fields
        )
        for number, text in enumerate(texts)
    ]


def test_the_real_thing_is_raised(raised):
    assert [alert.kind for alert in raised(stream(REAL))][:1] == [Kind.NEW]


@pytest.mark.parametrize("texts", [FILM, SIREN_TEST, ANNIVERSARY], ids=["film", "siren test", "anniversary"])
def test_talk_that_only_sounds_like_a_happening_raises_nothing(raised, texts):
    assert raised(stream(texts)) == []


def test_ten_thousand_accounts_that_paste_one_text_are_one_voice(raised):
    pasted = stream([REAL[0]] * 10_000, every=0.2)
    assert raised(pasted) == []
    varied = stream([f"{REAL[0]} #{tag}" for tag in ("wow", "omg", "now", "breaking", "scary")] * 200, every=1)
    assert raised(varied) == []


def test_one_account_that_floods_is_one_voice(raised):
    assert raised(stream(REAL * 25, author="loud")) == []


def test_a_clock_that_jumps_loses_and_repeats_nothing(raised):
    posts = stream(REAL)
    jumps = [NOW, NOW + timedelta(hours=1), NOW - timedelta(hours=5), NOW + timedelta(minutes=1)]
    alerts = raised(posts, times=jumps)
    assert [alert.kind for alert in alerts].count(Kind.NEW) == 1
    assert [alert.raised_at for alert in alerts] == sorted(alert.raised_at for alert in alerts)


def test_posts_dated_in_the_future_or_years_ago(raised):
    ahead = [stream(REAL[:1], created_at=NOW + timedelta(days=3))[0], *stream(REAL)[1:]]
    at = [post.received_at for post in ahead]
    assert [alert.raised_at for alert in raised(ahead, times=at)][:1] == [at[1]]
    old = stream(REAL, created_at=NOW - timedelta(days=2_000))
    assert raised(old, times=[post.received_at for post in old]) == []


def test_posts_out_of_order_by_hours_still_make_one_event(raised):
    posts = stream([*REAL, *REAL], every=600)
    shuffled = [posts[at] for at in (3, 0, 6, 1, 7, 2, 5, 4)]
    alerts = raised(shuffled, times=[NOW + timedelta(hours=2, seconds=at) for at in range(len(posts))])
    assert len({alert.event for alert in alerts}) == 1
