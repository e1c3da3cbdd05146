"""When a source counts as quiet, and when as back."""

from bot.ingest.rhythm import Rhythm, Turn


class Played:
    """Looks every five seconds; ``turns`` are (second, turn)."""

    def __init__(self, rhythm: Rhythm | None = None) -> None:
        self.rhythm = rhythm or Rhythm()
        self.now_s = 0.0
        self.items = 0
        self.turns: list[tuple[float, Turn]] = []

    def play(
        self,
        seconds: float,
        *,
        every_s: float | None = None,
        burst: int = 1,
        connected: bool = True,
        interval_s: float = 0.0,
        retry_at_s: float | None = None,
    ) -> None:
        """``burst`` items each ``every_s``; None: nothing comes."""
        until = self.now_s + seconds
        next_s = until + 1 if every_s is None else self.now_s + every_s
        while self.now_s < until:
            self.now_s += 5.0
            while every_s is not None and next_s <= self.now_s:
                self.items += burst
                next_s += every_s
            turn = self.rhythm.look(
                self.now_s, items=self.items, connected=connected, interval_s=interval_s, retry_at_s=retry_at_s
            )
            if turn is not None:
                self.turns.append((self.now_s, turn))


def test_a_busy_source_is_quiet_after_two_minutes_and_back_with_the_next_item() -> None:
    source = Played()
    source.play(600, every_s=1)
    source.play(130)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]
    assert 720 < source.turns[0][0] <= 730
    source.play(3600)
    assert len(source.turns) == 1, "once an episode"
    source.play(10, every_s=5)
    assert [turn for _, turn in source.turns] == [Turn.QUIET, Turn.BACK]


def test_a_slow_feed_may_be_silent_ten_times_as_long_as_it_usually_is() -> None:
    source = Played()
    source.play(15 * 900, every_s=900, burst=12)
    source.play(8900)
    assert source.turns == []
    source.play(400)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]


def test_nobody_can_say_what_is_usual_from_a_few_items() -> None:
    source = Played()
    source.play(100, every_s=20)
    source.play(100_000)
    assert source.turns == []


def test_what_ends_a_quiet_time_does_not_become_usual() -> None:
    source = Played()
    source.play(600, every_s=1)
    usual = source.rhythm.usual_gap_s
    source.play(100_000)
    source.play(5, every_s=5)
    assert source.rhythm.usual_gap_s == usual


def test_without_a_connection_for_five_minutes_it_is_told_of_even_if_nothing_is_known() -> None:
    source = Played()
    source.play(20)
    source.play(300, connected=False)
    assert source.turns == []
    source.play(10, connected=False)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]
    source.play(5)
    assert [turn for _, turn in source.turns] == [Turn.QUIET, Turn.BACK]


def test_short_troubles_are_nobody_s_business() -> None:
    source = Played()
    for _ in range(20):
        source.play(280, connected=False)
        source.play(5)
    assert source.turns == []


def test_a_busy_source_that_connects_again_and_sends_nothing_is_not_back() -> None:
    source = Played()
    source.play(600, every_s=1)
    source.play(400, connected=False)
    source.play(600)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]


def test_after_a_restart_the_episode_goes_on() -> None:
    source = Played(Rhythm(usual_gap_s=5.0, quiet=True))
    source.play(600)
    assert source.turns == []
    source.play(5, every_s=5)
    assert [turn for _, turn in source.turns] == [Turn.BACK]


def test_after_a_restart_what_is_usual_is_known_at_once() -> None:
    source = Played(Rhythm(usual_gap_s=5.0))
    source.play(200)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]


def test_a_wait_that_was_announced_is_told_of_only_when_the_next_try_fails_as_well() -> None:
    source = Played()
    source.play(20)
    source.play(900, connected=False, retry_at_s=920)
    source.play(5)
    assert source.turns == [], "it came back as it had said"
    source.play(900, connected=False, retry_at_s=1825)
    assert source.turns == []
    source.play(5, connected=False, retry_at_s=2725)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]


def test_a_try_that_is_overdue_is_told_of() -> None:
    source = Played()
    source.play(20)
    source.play(1000, connected=False, retry_at_s=900)
    assert source.turns == [(965.0, Turn.QUIET)]


def test_tries_that_fail_one_after_the_other_are_told_of_after_five_minutes() -> None:
    source = Played()
    source.play(20)
    for number in range(31):
        source.play(10, connected=False, retry_at_s=40.0 + 10 * number)
    assert source.turns == [(325.0, Turn.QUIET)]


def test_who_asks_every_quarter_of_an_hour_is_not_quiet_in_between() -> None:
    source = Played()
    source.play(20 * 60, every_s=60)
    source.play(1800, interval_s=900)
    assert source.turns == []
    source.play(100, interval_s=900)
    assert [turn for _, turn in source.turns] == [Turn.QUIET]
