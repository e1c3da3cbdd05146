"""The Detector's stories: what is raised, when, and what becomes of it. Texts and places are invented."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.detection import candidates, words
from bot.detection.detector import Detector
from bot.detection.places import City, Gazetteer
from bot.detection.weights import Weights
from bot.domain.access import EVERYTHING, ProviderSet
from bot.domain.alert import Certainty, Kind, Level, event_id
from bot.domain.post import Candidate, Deletion, Official, Span
from tests.factories import NOW, make_post

GAZETTEER = Gazetteer(
    [
        City("Cork", "IE", "M", 51.9, -8.47, 220_000),
        City("Galway", "IE", "C", 53.27, -9.05, 86_000),
        City("Lyon", "FR", "84", 45.75, 4.85, 520_000),
        City("Columbus", "US", "OH", 39.96, -83.0, 900_000),
    ],
    {"IE": ("Ireland", 70_280), "FR": ("France", 547_030), "US": ("United States", 9_629_091)},
    {"OH": "Ohio"},
)
BLAST = (
    "What was that bang? Whole house shook, huge explosion by the harbour in Port Calder",
    "massive blast at Port Calder just now, windows blown in all along our road",
    "Enormous boom at the docks in Port Calder. Ball of fire, then black smoke",
    "Just heard and felt a gigantic explosion from the container terminal, Port Calder",
    "Car alarms everywhere, something has blown up in Port Calder",
    "Our ceiling plaster came down, anyone else in Port Calder hear that bomb go off?",
    "Warehouse at Port Calder is simply gone, ambulances needed now",
    "Second detonation at Port Calder, shockwave knocked me over",
    "People bleeding from flying glass outside the shop in Port Calder",
    "From the hill I can see flames over Port Calder quay",
)


def direction(topic, spread=0.75, member=0):
    """A unit vector near the topic's: with 0.75 two members' cosine is about 0.64, as in one happening's posts."""
    centre = np.random.default_rng(topic).standard_normal(384)
    own = np.random.default_rng([topic, member, 9]).standard_normal(384)
    vector = centre / np.linalg.norm(centre) + spread * own / np.linalg.norm(own)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def report(number, text, *, at=None, topic=1, place=None, p=0.9, category="explosion", **fields):
    """A candidate ``number`` seconds after NOW (or ``at``), by its own author."""
    when = NOW + timedelta(seconds=10 * number if at is None else at)
    post = make_post(
        **{
            "id": f"{topic}-{number}",
            "text": text,
            "author": f"a{topic}-{number}",
            "created_at": when,
            "received_at": when,
        }
        | fields
    )
    start = text.find(place) if place else -1
    spans = (Span(text=place, start=start, end=start + len(place), type="LOC"),) if place and start >= 0 else ()
    return Candidate(
        post=post,
        seq=number,
        stream_at=when,
        categories={category: p, "politics": 0.01},
        places=spans,
        embedding=candidates.packed(direction(topic, member=number)),
        fingerprint=words.fingerprint(text),
        model="m1",
    )


def blasts(count, **fields):
    return [
        report(n, BLAST[n % len(BLAST)] + (f" {n}" if n >= 10 else ""), place="Port Calder", **fields)
        for n in range(count)
    ]


def detector(view=EVERYTHING, **weights):
    """Stories are told at the pace of three voices; how many it takes by default has tests of its own."""
    return Detector(view, GAZETTEER, Weights(**{"alert_voices": 3} | weights))


def feed(target, items):
    raised = []
    for item in items:
        if isinstance(item, Candidate):
            raised += target.add(item)
        else:
            raised += target.delete(item, item.deleted_at)
    return raised


def deletion(candidate, *, at):
    return Deletion(provider=candidate.post.provider, id=candidate.post.id, deleted_at=NOW + timedelta(seconds=at))


# raising


def test_the_third_independent_post_raises_an_alert():
    posts = blasts(3)
    target = detector()
    assert feed(target, posts[:2]) == []
    (alert,) = target.add(posts[2])
    assert (alert.kind, alert.level, alert.certainty, alert.revision) == (Kind.NEW, Level.ALERT, Certainty.POSSIBLE, 1)
    assert alert.event == event_id(posts[0].post.key)
    assert alert.evidence == tuple(c.post.key for c in posts)
    assert alert.headline == "Explosion reported in Port Calder"
    assert alert.place is None
    assert alert.raised_at == posts[2].stream_at


def test_bomb_blast_explosion_and_bang_stay_one_event():
    mixed = [
        replace(c, categories={("terror_attack" if i % 3 == 1 else "explosion"): 0.9}) for i, c in enumerate(blasts(9))
    ]
    raised = feed(detector(), mixed)
    assert len({alert.event for alert in raised}) == 1
    assert raised[-1].authors >= 8


def test_two_explosions_in_two_towns_in_the_same_minute_stay_two():
    calder = blasts(5)
    dunmere = [
        report(
            50 + n, text.replace("Port Calder", "Dunmere"), at=10 * n + 5, place="Dunmere", id=f"d{n}", author=f"d{n}"
        )
        for n, text in enumerate(BLAST[5:10])
    ]
    raised = feed(detector(), sorted([*calder, *dunmere], key=lambda c: c.stream_at))
    news = [alert for alert in raised if alert.kind is Kind.NEW]
    assert sorted(alert.headline for alert in news) == [
        "Explosion reported in Dunmere",
        "Explosion reported in Port Calder",
    ]


def test_reposts_copies_and_one_flooding_author_are_one_voice():
    first = blasts(1)[0]
    text = first.post.text
    posts = [
        first,
        report(1, text, repost_of=first.post.id),
        report(2, f"RT @someone: {text}"),
        report(3, text.upper() + "!!"),
        report(4, "RT @other: Whole house shook, huge explosion by the harbour in Port Calder"),
        *[report(5 + n, BLAST[1 + n], author=first.post.author) for n in range(4)],
    ]
    target = detector()
    assert feed(target, posts) == []
    assert (target.explain(posts[1].post.key) or {})["why"] == "it is a repost"
    assert (target.explain(posts[3].post.key) or {})["why"] == "it repeats the words of an earlier post"
    assert (target.explain(posts[5].post.key) or {})["why"] == "its author is already counted"
    assert (target.explain(posts[5].post.key) or {})["figures"]["voices"] == 1


def test_a_textual_repost_of_what_never_came_counts_once_as_the_voice_of_whom_it_quotes():
    text = "Fire service confirms an explosion at the harbour of Port Calder"
    posts = [
        report(0, f"RT @firedesk: {text}", place="Port Calder"),
        report(1, f"RT @firedesk: {text}", place="Port Calder"),
        report(2, BLAST[2], place="Port Calder"),
        report(3, text, place="Port Calder"),
    ]
    target = detector()
    feed(target, posts)
    why = [(target.explain(post.post.key) or {})["why"] for post in posts]
    assert why[0] == why[2] == "an independent voice"
    assert why[1] == "its author is already counted"
    assert why[3] == "it repeats the words of an earlier post"


@pytest.mark.parametrize("who", ["the same author", "the same quoted name"])
def test_many_reposts_by_one_account_or_of_one_are_one_voice(who):
    posts = [
        report(n, f"RT @desk{0 if who == 'the same quoted name' else n}: {BLAST[n]}", place="Port Calder",
               author="flood" if who == "the same author" else f"a{n}")
        for n in range(10)
    ]  # fmt: skip
    posts.append(report(10, "Now I have seen it myself, Port Calder quay is burning", author=posts[0].post.author))
    target = detector(alert_voices=2)
    assert feed(target, posts) == []
    assert (target.explain(posts[-1].post.key) or {})["figures"]["voices"] == 1


def test_unknown_authors_are_voices_of_their_own():
    assert len(feed(detector(), blasts(3, author=None))) == 1


def test_chatter_that_shares_nothing_raises_nothing():
    posts = [
        report(n, f"word{n} thing{n} some{n} talk{n} about{n} food{n}", topic=100 + n, p=0.8, category="fire")
        for n in range(200)
    ]
    assert feed(detector(), posts) == []


TALK = [report(n, f"ordinary{n} talk{n}", topic=500 + n, at=360 * n - 36_000) for n in range(100)]


def first_alert(posts, **weights):
    """How many voices the first event has when it is raised by default, after hours of other talk; None if never."""
    raised = feed(Detector(EVERYTHING, GAZETTEER, Weights(**weights)), [*TALK, *posts])
    return raised[0].authors if raised else None


def strength_of(posts, **weights):
    """What speaks for the cluster of these posts when the last has come, after hours of other talk."""
    target = Detector(EVERYTHING, GAZETTEER, Weights(**weights))
    feed(target, [*TALK, *posts])
    return target.explain(posts[-1].post.key)["figures"]["strength"]["sum"]


def test_likeness_of_words_alone_speaks_less_for_a_happening_than_a_place():
    texts = ("what a bang", "that was loud", "did you hear it")
    unnamed = [report(n, text, p=0.7, at=20 * n) for n, text in enumerate(texts)]
    named = [report(n, BLAST[n], p=0.7, at=20 * n, place="Port Calder") for n in range(3)]
    assert strength_of(unnamed, alone_cosine=0.5, join=0.5) < strength_of(named)


def test_two_very_sure_posts_within_a_minute_that_name_one_place_are_enough():
    assert first_alert([report(n, BLAST[n], at=20 * n, place="Port Calder") for n in range(6)]) == 2


def test_the_same_posts_over_an_hour_speak_less_for_it():
    fast, slow = ([report(n, BLAST[n], at=every * n, place="Port Calder") for n in range(3)] for every in (20, 1200))
    assert strength_of(slow) < strength_of(fast)


def test_without_one_sure_post_nothing_begins():
    assert first_alert([report(n, BLAST[n], at=20 * n, p=0.45, place="Port Calder") for n in range(10)]) is None


def test_unsure_posts_support_what_a_sure_one_began():
    posts = [report(n, BLAST[n], at=20 * n, p=0.9 if n == 0 else 0.3, place="Port Calder") for n in range(10)]
    assert first_alert(posts) is not None


def test_explain_says_what_each_feature_adds():
    target = detector()
    feed(target, blasts(3))
    strength = target.explain("bluesky|1-2")["figures"]["strength"]
    assert strength["sum"] == pytest.approx(sum(part for name, part in strength.items() if name != "sum"), abs=0.01)
    assert strength["sum"] >= 0
    assert strength["placed"] > 0


def test_one_official_post_is_enough_and_its_reports_join_it():
    official = report(
        0, "M 6.1 - 20 km W of Galway, Ireland", provider="usgs", category="earthquake", p=1.0, lat=53.2, lon=-9.3,
        official=Official(category="earthquake"),
    )  # fmt: skip
    official = replace(official, embedding=b"")
    felt = [
        report(
            n, f"strong earthquake felt here in Galway, {word} moved", category="earthquake", place="Galway", topic=3
        )
        for n, word in enumerate(("lamps", "cars", "chairs"), start=1)
    ]
    raised = feed(detector(), [official, *felt])
    assert (raised[0].kind, raised[0].certainty, raised[0].authors) == (Kind.NEW, Certainty.OBSERVED, 1)
    assert len({alert.event for alert in raised}) == 1
    assert raised[0].place is not None
    assert raised[0].place.country == "IE"


def test_two_very_sure_voices_are_enough_if_one_is_verified():
    posts = [blasts(1)[0], report(1, BLAST[1], place="Port Calder", verified=True)]
    (alert,) = feed(detector(alert_voices=2), posts)
    assert alert.certainty is Certainty.LIKELY


def test_a_second_cluster_about_the_same_place_joins_the_raised_event():
    other = [
        report(n, text, topic=77, place="Port Calder", category="fire", id=f"f{n}", author=f"f{n}", at=400 + n)
        for n, text in enumerate(
            ("smoke over Port Calder", "flames seen in Port Calder now", "Port Calder is burning badly")
        )
    ]
    raised = feed(detector(absorb_cosine=-1.0), [*blasts(3), *other])
    assert len([alert for alert in raised if alert.kind is Kind.NEW]) == 1


# growing


def test_levels_rise_with_voices_and_updates_say_why():
    raised = feed(detector(urgent_loudness=6.0, flash_loudness=9.0), blasts(10))
    levels = [alert.level for alert in raised]
    assert levels == sorted(levels, key=lambda level: level.rank)
    assert levels[-1] is Level.FLASH
    assert any("→ urgent" in alert.change for alert in raised)
    assert [alert.revision for alert in raised] == list(range(1, len(raised) + 1))


def test_the_first_report_of_a_news_organisation_is_an_update():
    target = detector()
    feed(target, blasts(3))
    news = replace(
        report(9, "Port Calder: harbour explosion, fire service on scene", at=100, place="Port Calder"), media=0.9
    )
    (update,) = target.add(news)
    assert update.kind is Kind.UPDATE
    assert "reported by a news organisation" in update.change


def test_eyewitnesses_make_it_likely_sooner_than_others_do():
    def after_four(**fields):
        raised = feed(detector(), [replace(c, **fields) for c in blasts(3)])
        return raised[0].certainty

    assert after_four(first_hand=0.9) is Certainty.LIKELY
    assert after_four(first_hand=0.1) is Certainty.POSSIBLE


def test_unsure_voices_are_less_loud():
    def level(p):
        posts = [report(n, BLAST[n], at=70 * n, p=0.95 if n == 0 else p, place="Port Calder") for n in range(10)]
        return max(feed(detector(), posts), key=lambda alert: alert.level.rank).level

    assert level(0.95) is Level.URGENT
    assert level(0.4) is Level.ALERT


def test_many_voices_within_minutes_are_louder_than_the_same_over_an_hour():
    def loudness(every):
        target = detector()
        feed(target, [report(n, BLAST[n], at=every * n, place="Port Calder") for n in range(9)])
        return target.explain("bluesky|1-8")["figures"]["loudness"]

    assert loudness(20) > loudness(300)


def test_at_most_one_update_a_minute_and_the_held_one_comes_later():
    posts = [report(n, c.post.text, at=n, place="Port Calder") for n, c in enumerate(blasts(7))]
    unrelated = report(1, "quarterly figures fall sharply", at=90, topic=50, category="markets")
    target = detector()
    raised = feed(target, posts)
    assert [alert.kind for alert in raised] == [Kind.NEW]
    (update,) = target.add(unrelated)
    assert (update.kind, update.authors) == (Kind.UPDATE, 7)
    assert "voices 3 → 7" in update.change
    assert "certainty possible → likely" in update.change


def test_trusted_counts_reach_the_headline_and_rumours_do_not():
    rumour = report(20, "they say 500 people dead in Port Calder", at=200, place="Port Calder")
    media = report(
        21,
        "Port Calder explosion: at least 3 people confirmed dead and 20 injured",
        at=300,
        place="Port Calder",
        verified=True,
    )
    target = detector()
    feed(target, blasts(3))
    assert all("500" not in alert.headline for alert in target.add(rumour))
    (update,) = target.add(media)
    assert update.headline == "Explosion reported in Port Calder: at least 3 reported dead, 20 injured"
    assert "at least 3 reported dead" in update.change


def test_a_raised_event_takes_posts_for_hours():
    late = report(50, "Still burning at the docks in Port Calder", at=5 * 3600, place="Port Calder")
    target = detector()
    (alert,) = feed(target, blasts(3))
    target.add(late)
    assert (target.explain(late.post.key) or {})["event"] == alert.event


# denied, cancelled, deleted

SHOTS = (
    "Shots fired at Larkfield Mall, people running everywhere",
    "Active shooter at Larkfield Mall in Ohio, we are locked in a shoe store",
    "my sister just called crying from Larkfield Mall, man with a rifle",
    "Gunfire inside Larkfield Mall, hundreds run across the lot",
)


def shots(count=4):
    return [report(n, SHOTS[n], category="shooting", place="Larkfield Mall", topic=5) for n in range(count)]


def denial(at=600, **fields):
    text = "There is no active shooter at Larkfield Mall. Reports of gunfire are false."
    return report(
        40, text, at=at, category="shooting", p=0.2, place="Larkfield Mall", topic=5, **{"verified": True} | fields
    )


def test_a_verified_denial_corrects_a_raised_event():
    target = detector()
    (first, *_) = feed(target, shots())
    (correction,) = target.add(denial())
    assert (correction.kind, correction.disputed, correction.event) == (Kind.CORRECTION, True, first.event)
    assert correction.certainty is Certainty.POSSIBLE
    assert correction.headline.startswith("Disputed: shooting reported in Larkfield")
    assert denial().post.key in correction.quotes
    assert target.add(denial(at=700, id="again")) == []


def test_an_unverified_denial_is_no_voice_and_disputes_nothing():
    target = detector()
    feed(target, shots())
    doubt = denial(verified=False)
    assert target.add(replace(doubt, categories={"shooting": 0.9})) == []
    assert (target.explain(doubt.post.key) or {})["independent"] is False


def test_a_denial_never_starts_an_event():
    target = detector()
    assert target.add(denial()) == []
    assert target.live() == 0
    assert "no event" in (target.explain(denial().post.key) or {})["why"]


def test_a_denial_of_a_part_disputes_nothing_that_others_vouch_for():
    target = detector()
    vouched = [
        report(20 + n, text, at=200 + n, category="shooting", place="Larkfield Mall", topic=5, verified=True)
        for n, text in enumerate(
            ("Police confirm shooting at Larkfield Mall", "Larkfield Mall shooting: medics on scene")
        )
    ]
    feed(target, [*shots(), *vouched])
    raised = target.add(denial())
    assert not any(alert.disputed for alert in raised)


def test_deleting_the_evidence_retracts_the_event_and_closes_it():
    posts = blasts(4)
    target = detector()
    feed(target, posts)
    raised = feed(target, [deletion(c, at=100 + n) for n, c in enumerate(posts[:3])])
    last = raised[-1]
    assert last.kind is Kind.RETRACTION
    assert last.headline == "Withdrawn: explosion reported in Port Calder"
    assert last.evidence == (posts[3].post.key,)
    assert all(alert.kind is Kind.UPDATE for alert in raised[:-1])
    assert target.add(report(60, BLAST[7], at=200, place="Port Calder")) == []


def test_deleting_a_quoted_post_gives_an_update_without_it_at_once():
    posts = blasts(6)
    target = detector()
    (alert, *_) = feed(target, posts)
    (update,) = target.delete(deletion(posts[0], at=61), NOW + timedelta(seconds=61))
    assert posts[0].post.key in alert.quotes
    assert update.kind is Kind.UPDATE
    assert posts[0].post.key not in (*update.quotes, *update.evidence)
    assert "deleted" in update.change
    assert update.event == alert.event


def test_an_account_that_goes_away_takes_its_posts_along():
    posts = blasts(3)
    target = detector()
    feed(target, posts)
    gone = Deletion(provider="bluesky", author=posts[0].post.author, deleted_at=NOW + timedelta(minutes=2))
    (update,) = target.delete(gone, gone.deleted_at)
    assert posts[0].post.key not in update.evidence


def test_a_cancelled_official_warning_is_retracted():
    warning = replace(
        report(
            0, "Flood warning for Cork, Ireland", provider="cap", category="flood", official=Official(category="flood")
        ),
        embedding=b"",
    )
    cancel = replace(
        report(
            9,
            "",
            provider="cap",
            category="flood",
            official=Official(category="flood", supersedes=("1-0",), cancelled=True),
        ),
        embedding=b"",
    )
    raised = feed(detector(), [warning, cancel])
    assert [alert.kind for alert in raised] == [Kind.NEW, Kind.RETRACTION]


def test_what_an_issuer_replaces_was_updated_and_not_deleted():
    first, second = (
        replace(
            report(
                number,
                f"Flood warning {number} for Cork, Ireland",
                provider="cap",
                author="met",
                category="flood",
                official=Official(category="flood", supersedes=("1-0",) * number),
            ),
            embedding=b"",
        )
        for number in (0, 1)
    )
    target = detector()
    feed(target, [first, second])
    (update,) = target.delete(deletion(first, at=20), NOW + timedelta(seconds=20))
    assert (update.kind, update.change) == (Kind.UPDATE, "a quoted post was updated by its issuer")
    assert (target.explain(first.post.key) or {})["why"] == "it was updated by its issuer"
    (gone,) = target.delete(deletion(second, at=30), NOW + timedelta(seconds=30))
    assert gone.change == "retracted: its evidence was deleted at the source"


# one happening or two, found out late


def between(number, text, *, weight, at, place=None):
    """A report whose vector lies between the topics 1 and 2: ``weight`` of the first."""
    vector = weight * direction(1, spread=0.3, member=number) + (1 - weight) * direction(2, spread=0.3, member=number)
    made = report(number, text, at=at, topic=3, place=place)
    return replace(made, embedding=candidates.packed(vector / np.linalg.norm(vector)))


def two_that_are_one():
    """Smoke over a quay nobody names, and a blast in Port Calder; then posts that tell of both in one breath."""
    smoke = [
        report(n, text, at=5 + 10 * n, topic=2, category="fire")
        for n, text in enumerate(("thick smoke over the quay #quayfire", "what is burning there? #quayfire",
                                  "two engines went past us #quayfire", "flames now, road is shut #quayfire"))
    ]  # fmt: skip
    both = [
        between(20 + n, f"{text} Port Calder #quayfire", weight=0.3 + 0.08 * n, at=100 + 70 * n, place="Port Calder")
        for n, text in enumerate(("it is the terminal that blew up", "whole sheds are burning since that bang in",
                                  "boats leave the harbour because of it in", "I can see it from the ridge above",
                                  "more engines come from the north to", "windows are out in half of"))
    ]  # fmt: skip
    return [*sorted([*blasts(4), *smoke], key=lambda c: c.stream_at), *both]


def test_two_events_that_turn_out_to_be_one_end_with_updates_and_no_further_first_alert():
    items = two_that_are_one()
    raised = feed(detector(), items)
    assert [alert.kind for alert in raised].count(Kind.NEW) == 2
    blast, smoke = (alert.event for alert in raised if alert.kind is Kind.NEW)
    ended = [alert for alert in raised if alert.event == smoke][-1]
    assert ended.kind is Kind.UPDATE
    assert ended.change == f"the same happening as event {blast}, which goes on"
    assert ended.quotes == ()
    going_on = [alert for alert in raised if alert.event == blast][-1]
    assert f"event {smoke} is the same happening" in " ".join(a.change for a in raised if a.event == blast)
    assert set(ended.evidence) <= set(going_on.evidence)


def test_a_retraction_reaches_those_who_were_told_of_the_event_that_was_united_with_it():
    items = two_that_are_one()
    target = detector()
    raised = feed(target, items)
    gone = feed(target, [deletion(c, at=200) for c in items])
    assert {alert.event for alert in gone if alert.kind is Kind.RETRACTION} == {alert.event for alert in raised}
    numbers = [(alert.event, alert.revision) for alert in raised + gone]
    assert len(numbers) == len(set(numbers))


def two_in_one():
    """Two towns, told of in nearly the same words, and one post that takes them for one."""
    towns = ("Port Calder", "Dunmere")
    items = []
    for n in range(16):
        town = towns[n % 2 if n > 2 else 0]
        text = f"huge explosion in {town}, windows shaking {n}"
        span = report(n, text, place=town)
        if n == 1:
            both = report(n, "explosions in Port Calder and Dunmere, is that one thing?", place="Dunmere")
            span = replace(both, places=(*both.places, Span(text="Port Calder", start=14, end=25, type="LOC")))
        items.append(replace(span, embedding=candidates.packed(direction(1, spread=0.2, member=n))))
    return items


def test_an_event_that_turns_out_to_be_two_is_split_with_updates_and_no_further_first_alert():
    raised = feed(detector(), two_in_one())
    assert [alert.kind for alert in raised].count(Kind.NEW) == 1
    assert len({alert.event for alert in raised}) == 2
    first = raised[0].event
    part = next(alert for alert in raised if alert.event != first)
    assert (part.kind, part.revision, part.change) == (Kind.UPDATE, 1, f"split from event {first}")
    assert part.headline == "Explosion reported in Dunmere"
    last = {alert.event: alert for alert in raised}
    assert last[first].headline == "Explosion reported in Port Calder"
    assert set(last[first].evidence).isdisjoint(last[part.event].evidence)
    assert len(last[first].evidence) + len(last[part.event].evidence) >= 15


def revisions_of(raised):
    return [(alert.event, alert.revision) for alert in raised]


def test_a_split_off_event_takes_no_id_that_its_earliest_post_gave_another():
    """The event has its id from a post that was written first and came third, and that leaves it."""
    items = [
        replace(
            report(n, f"huge explosion in {town}, windows shaking {n}", place=town),
            embedding=candidates.packed(direction(1, spread=0.2, member=n)),
        )
        for n, town in enumerate(("Port Calder", "Dunmere") + ("Dunmere", "Port Calder") * 7)
    ]
    items[1] = two_in_one()[1]
    items[2] = replace(items[2], post=replace(items[2].post, created_at=NOW - timedelta(minutes=1)))
    raised = feed(detector(), items)
    assert raised[0].event == event_id(items[2].post.key)
    assert any(alert.change.startswith("split from") for alert in raised)
    assert len(set(revisions_of(raised))) == len(raised)


def test_a_denial_goes_with_the_part_that_it_denies():
    items = two_in_one()
    denied = replace(
        report(50, "Reports of an explosion in Dunmere are false, there was no explosion in Dunmere", at=66,
               place="Dunmere", verified=True),
        embedding=items[0].embedding,
    )  # fmt: skip
    raised = feed(detector(), [*items[:7], denied, *items[7:]])
    part = next(alert for alert in raised if alert.event != raised[0].event)
    assert part.change.startswith("split from")
    assert part.disputed
    assert not [alert for alert in raised if alert.event == raised[0].event][-1].disputed


def test_posts_do_not_vanish_into_a_part_that_was_retracted():
    items = two_in_one()
    target = detector()
    raised = feed(target, items)
    parted = next(alert.event for alert in raised if alert.event != raised[0].event)
    gone = [c for c in items if "in Dunmere" in c.post.text]
    assert feed(target, [deletion(c, at=170) for c in gone])[-1].kind is Kind.RETRACTION
    again = [
        replace(c, post=replace(c.post, id=f"again{n}", author=f"again{n}", text=c.post.text + f" again {n}"),
                stream_at=NOW + timedelta(seconds=200 + 10 * n))
        for n, c in enumerate(items)
    ]  # fmt: skip
    for c in again:
        target.add(c)
        assert (target.explain(c.post.key) or {}).get("event") != parted


# always

PROVIDERS = ("bluesky", "x", "mastodon")


def story():
    """Two happenings, a denial, chatter, reposts and deletions over three providers, in order of stream time."""
    items = []
    for n, c in enumerate(blasts(14)):
        items.append(replace(c, post=replace(c.post, provider=PROVIDERS[n % 3])))
    for n, c in enumerate(shots()):
        items.append(replace(c, post=replace(c.post, provider=PROVIDERS[(n + 1) % 3])))
    items += [report(n, f"odd{n} talk{n} of{n} things{n}", topic=200 + n, provider=PROVIDERS[n % 3]) for n in range(8)]
    items.append(report(15, BLAST[0], repost_of="1-0", at=95, provider="bluesky"))
    items.append(denial(at=160, provider="x"))
    for n in (0, 3, 4):
        items.append(Deletion(provider=PROVIDERS[n % 3], id=f"1-{n}", deleted_at=NOW + timedelta(seconds=170 + n)))
    return sorted(items, key=lambda item: item.stream_at if isinstance(item, Candidate) else item.deleted_at)


STORY = story()


def provider_of(item):
    return item.post.provider if isinstance(item, Candidate) else item.provider


@given(barred=st.sets(st.sampled_from(PROVIDERS)), everything=st.booleans(), order=st.permutations(range(12)))
@settings(max_examples=40, deadline=None)
def test_a_view_equals_a_run_in_which_barred_posts_never_existed(barred, everything, order):
    items = [STORY[n] for n in order] + STORY[12:]
    view = ProviderSet(True, frozenset(barred)) if everything else ProviderSet(False, frozenset(PROVIDERS) - barred)
    without = [item for item in items if provider_of(item) not in barred]
    assert feed(detector(view), items) == feed(detector(), without)


def test_the_story_raises_what_it_should():
    kinds = {alert.kind for alert in feed(detector(), STORY)}
    assert {Kind.NEW, Kind.UPDATE, Kind.CORRECTION} <= kinds


@pytest.mark.parametrize("cut", range(0, len(STORY), 3))
def test_cut_anywhere_and_rebuilt_it_continues_as_if_it_had_not_stopped(cut):
    whole = feed(detector(), STORY)
    before = feed(detector(), STORY[:cut])
    rebuilt = detector()
    assert feed(rebuilt, STORY[:cut]) == before
    assert before + feed(rebuilt, STORY[cut:]) == whole


def test_a_post_that_comes_twice_changes_nothing():
    posts = blasts(5)
    assert feed(detector(), [c for c in posts for _ in range(2)]) == feed(detector(), posts)


def test_after_a_rebuild_no_revision_number_is_used_twice():
    posts = blasts(10)
    (alert, *_) = feed(detector(), posts[:3])
    target = detector()
    feed(target, posts[:3])
    target.adopt(replace(alert, revision=7))
    raised = feed(target, [report(n, BLAST[n], at=100 + 70 * n, place="Port Calder") for n in range(3, 10)])
    assert raised[0].revision == 8


def test_memory_is_bounded_and_raised_events_outlive_the_rest():
    target = detector(max_clusters=50)
    feed(target, blasts(3))
    feed(target, [report(n, f"x{n}y z{n}w", at=40 + 0.01 * n, topic=1000 + n) for n in range(300)])
    assert target.live() == 50
    assert (target.explain("bluesky|1-0") or {})["event"] == event_id("bluesky|1-0")


def test_silent_clusters_expire():
    target = detector()
    feed(target, blasts(2))
    target.add(report(1, "something else", at=3 * 3600, topic=9))
    assert target.live() == 1
    assert feed(target, [report(n, BLAST[n], at=3 * 3600 + n, place="Port Calder") for n in (2, 3)]) == []


def test_a_name_that_only_a_deleted_post_gave_leads_to_no_cluster_that_is_over():
    first, second = blasts(1)[0], report(1, "big explosion on Zorkau road near Port Calder", place="Port Calder")
    target = detector(alert_voices=3)
    feed(target, [first, second, deletion(second, at=20)])
    later = report(2, "explosion on Zorkau road in Port Calder", at=3 * 3600, place="Port Calder")
    assert target.add(later) == []
    assert (target.explain(later.post.key) or {})["figures"]["voices"] == 1


def test_what_a_deleted_post_said_of_place_and_casualties_is_corrected_at_once():
    said, where = ("huge explosion", "big bang", "smoke"), "Port Calder, Ireland"
    posts = [report(n, f"{text} number{n}", at=70 * n) for n, text in enumerate(said)]
    told = [
        report(10 + n, f"{words} in {where}: 3 people killed", at=300 + 70 * n, place=where)
        for n, words in enumerate(("they say an explosion", "many fear, after that blast"))
    ]
    target = detector(alert_voices=2, join=0.5, alone_cosine=0.5)
    before = feed(target, [*posts, *told])[-1]
    assert before.headline == "Explosion reported in Port Calder, Ireland: at least 3 reported dead"
    (first,) = target.delete(deletion(told[0], at=500), NOW + timedelta(seconds=500))
    assert (first.kind, first.headline) == (Kind.CORRECTION, "Explosion reported in Port Calder, Ireland")
    assert "evidence of the casualties was deleted at its source" in first.change
    (second,) = target.delete(deletion(told[1], at=501), NOW + timedelta(seconds=501))
    assert (second.kind, second.headline, second.place) == (Kind.CORRECTION, "Explosion reported", None)
    assert "evidence of the place was deleted at its source" in second.change
    later = feed(target, [report(40 + n, f"{word} burns", at=600 + 70 * n) for n, word in enumerate("abcdef")])
    assert all(alert.place is None for alert in later)


def test_an_event_holds_a_bounded_number_of_posts():
    raised = feed(detector(max_posts=5), blasts(10))
    assert max(alert.posts for alert in raised) <= 5


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""},
        {"text": "a" * 200_000},
        {"text": "\x00\ud800 <!channel> @everyone"},
        {"author": None},
        {"created_at": NOW + timedelta(days=4000)},
        {"created_at": NOW - timedelta(days=4000)},
        {"lat": 1e9, "lon": float("nan")},
        {"repost_of": "nowhere"},
        {"langs": ()},
    ],
)
def test_odd_posts_raise_no_error_and_no_alert(fields):
    candidate = report(1, "Explosion in Port Calder")
    target = detector()
    assert target.add(replace(candidate, post=replace(candidate.post, **fields))) == []
    assert target.add(replace(candidate, post=replace(candidate.post, id="2"), categories={}, embedding=b"??")) == []
    assert target.delete(Deletion(provider="bluesky", deleted_at=NOW), NOW) == []


def test_a_very_old_post_is_no_evidence():
    target = detector()
    posts = blasts(3, created_at=NOW - timedelta(days=2))
    assert feed(target, posts) == []
    assert "written more than" in (target.explain(posts[0].post.key) or {})["why"]


def test_a_late_post_counts_at_the_current_stream_time():
    posts = blasts(3)
    late = replace(
        posts[2], stream_at=NOW - timedelta(hours=1), post=replace(posts[2].post, created_at=NOW - timedelta(hours=1))
    )
    target = detector()
    (alert,) = feed(target, [*posts[:2], late])
    assert alert.raised_at == posts[1].stream_at
    assert alert.evidence[0] == late.post.key
    assert alert.first_post_at == late.post.created_at


def test_explain_knows_nothing_of_a_post_never_seen():
    assert detector().explain("bluesky|never") is None
