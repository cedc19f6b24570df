"""Who is shown what: each thing to one, a share to two, nothing lost, nothing told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.people.collection import Collection
from foresight.evals.people.desk import Sharing
from foresight.evals.people.entry import read_journal, standing
from foresight.evals.people.vote import Vote, VoteDesk
from tests.evals.people.samples import collected, vote

JUDGES = ("ann", "ben")


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return collected(tmp_path, 10)


def judge(desk: VoteDesk, person: str, action: str) -> dict[str, Any]:
    shown = desk.card(person)["card"]
    return desk.enter(person, {"id": shown["id"], "action": action})


def test_each_pair_goes_to_one_and_the_overlap_to_two(collection: Collection) -> None:
    with VoteDesk(collection, Sharing(JUDGES, 0.4)) as desk:
        while any(desk.card(person)["card"] for person in JUDGES):
            for person in JUDGES:
                if desk.card(person)["card"]:
                    judge(desk, person, "left")
    votes = read_journal(collection.votes, Vote)
    drawn = Sharing(JUDGES, 0.4)
    twice = {pair.key for pair in collection.pairs() if drawn.drawn(pair.key, "twice") < 0.4}
    assert 0 < len(twice) < 10
    assert Counter(one.key for one in votes) == Counter(
        {pair.key: 1 + (pair.key in twice) for pair in collection.pairs()}
    )
    assert all(n == 1 for n in Counter((one.key, one.judge) for one in votes).values())


def test_two_people_never_hold_one_pair_until_it_is_the_last(collection: Collection) -> None:
    with VoteDesk(collection, Sharing(JUDGES, 0.0)) as desk:
        held = desk.card("ben")["card"]["id"]
        for left in range(10, 1, -1):
            shown = desk.card("ann")
            assert shown["left"] == left and shown["card"]["id"] != held
            judge(desk, "ann", "tie")
        assert desk.card("ann")["card"]["id"] == held, "ben may never come back"


def test_many_at_once_lose_nothing(collection: Collection) -> None:
    people = tuple(f"judge {at}" for at in range(8))

    def work(desk: VoteDesk, person: str) -> None:
        while desk.card(person)["card"]:
            judge(desk, person, "right")

    with VoteDesk(collection, Sharing(people, 1.0)) as desk:
        threads = [threading.Thread(target=work, args=(desk, person)) for person in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(desk.card(person)["left"] == 0 for person in people)
    votes = Counter(one.key for one in read_journal(collection.votes, Vote))
    assert len(votes) == 10 and min(votes.values()) >= 2


def test_what_was_said_is_there_after_a_restart(collection: Collection) -> None:
    sharing = Sharing(JUDGES, 0.0)
    with VoteDesk(collection, sharing) as desk:
        first, tokens = desk.card("ann"), [desk.token(person) for person in JUDGES]
        next_one = judge(desk, "ann", "left")
    # A kill in the middle of a line: the line was not acknowledged.
    with collection.votes.open("a") as stream:
        stream.write('{"key": "torn')
    with VoteDesk(collection, sharing) as desk:
        assert [desk.token(person) for person in JUDGES] == tokens
        assert desk.card("ann") == next_one and next_one["done"] == 1
        back = desk.undo("ann", 1)
        assert back["card"] == first["card"], "shown again, the same way round"
        assert desk.undo("ann", 1) == back, "asked twice, undone once"
        judge(desk, "ann", "tie")
        assert desk.undo("ben", 0)["done"] == 0
    actions = [one.action for one in read_journal(collection.votes, Vote)]
    assert actions == ["left", "undo", "tie"]


def test_a_vote_is_on_disk_before_it_is_answered(collection: Collection) -> None:
    with VoteDesk(collection, Sharing(JUDGES)) as desk:
        for done in range(1, 4):
            judge(desk, "ann", "left")
            assert len(read_journal(collection.votes, Vote)) == done


def test_said_twice_it_counts_once_and_contradictions_are_told(collection: Collection) -> None:
    with VoteDesk(collection, Sharing(JUDGES)) as desk:
        said = {"id": desk.card("ann")["card"]["id"], "action": "left"}
        assert desk.enter("ann", said) == desk.enter("ann", said)
        with pytest.raises(UserError, match="another window"):
            desk.enter("ann", said | {"action": "right"})
    assert len(read_journal(collection.votes, Vote)) == 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"id": "nothing", "action": "left"}, "no such thing"),
        ({"action": "left"}, "no such thing"),
        ({"action": "win", "id": None}, "field action: Input should be 'left'"),
        ({"action": ["left"], "id": None}, "field action"),
        ({"action": "undo", "id": None}, "an address of its own"),
    ],
)
def test_nonsense_is_told_and_not_written(
    collection: Collection, said: dict[str, Any], message: str
) -> None:
    with VoteDesk(collection, Sharing(JUDGES)) as desk:
        if "id" in said and said["id"] is None:
            said = said | {"id": desk.card("ann")["card"]["id"]}
        with pytest.raises(UserError, match=message):
            desk.enter("ann", said)
    assert collection.votes.read_text() == ""


def leaks(shown: list[str], names: tuple[str, ...], fields: set[str]) -> list[str]:
    """What in the JSON of cards could tell models apart."""
    found = [name for name in names for one in shown if name in one]
    cards = [json.loads(one)["card"] for one in shown]
    found += [key for card in cards for key in card.keys() - fields]
    found += ["length of id"] * (len({len(card["id"]) for card in cards}) > 1)
    return found


def test_cards_do_not_tell_the_model(tmp_path: Path) -> None:
    collection = collected(tmp_path, 200)
    first = {pair.prompt.text: pair.first.output for pair in collection.pairs()}
    shown: list[str] = []
    lefts: dict[str, dict[str, bool]] = {person: {} for person in JUDGES}
    with VoteDesk(collection, Sharing(JUDGES, 1.0)) as desk:
        for person in JUDGES:
            for _ in range(200):
                now = desk.card(person)
                shown.append(json.dumps(now))
                prompt = now["card"]["prompt"]
                lefts[person][prompt] = now["card"]["left"] == first[prompt]
                judge(desk, person, "left")
    fields = {"id", "prompt", "left", "right"}
    assert leaks(shown, ("alpha", "beta"), fields) == []
    # Binomial, 4 standard deviations: sides are drawn, and for each judge anew.
    ann, ben = lefts.values()
    assert abs(sum(ann.values()) + sum(ben.values()) - 200) < 40
    assert abs(sum(ann[prompt] == ben[prompt] for prompt in ann) - 100) < 30
    told = json.dumps({"card": {"id": "x" * 16, "left": "", "right": "", "m": "beta"}})
    assert leaks([shown[0], told], ("alpha", "beta"), fields) == ["beta", "m"], "the control"


def test_the_secret_is_its_owners(collection: Collection) -> None:
    with VoteDesk(collection, Sharing(JUDGES)) as desk:
        tokens = {desk.token(person) for person in JUDGES}
    assert len(tokens) == 2 and all(len(token) == 32 for token in tokens)
    assert (collection.folder / ".secret").stat().st_mode & 0o077 == 0
    (collection.folder / ".secret").unlink()
    with VoteDesk(collection, Sharing(JUDGES)) as desk:
        assert tokens.isdisjoint(desk.token(person) for person in JUDGES)


@pytest.mark.parametrize(
    ("people", "overlap", "message"),
    [
        (("ann", "ann"), 0.2, "one of their own"), ((), 0.2, "one of their own"),
        (("../etc",), 0.2, "name '../etc'"), (("ann",), 1.5, "overlap 1.5"),
    ],
)  # fmt: skip
def test_wrong_sharing_is_told(people: tuple[str, ...], overlap: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sharing(people, overlap)


events = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(("ann", "ben")),
        st.sampled_from(("left", "tie", "skip", "undo")),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(events, st.integers(0, 30))
def test_what_stands_can_be_computed_in_pieces(rows: list[tuple[str, str, str]], cut: int) -> None:
    votes = [vote(key, action, person) for key, person, action in rows]
    whole = standing(votes)
    assert standing([*standing(votes[:cut]).values(), *votes[cut:]]) == whole
    last = {(key, person): action for key, person, action in rows}
    assert {place: one.action for place, one in whole.items()} == {
        place: action for place, action in last.items() if action != "undo"
    }
