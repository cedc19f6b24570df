"""The held-out share is what it says, and depends on nothing but the key."""

import subprocess
import sys

from foresight.worlds.splits import generator, hash64, held_out


def test_the_share_of_keys_is_held_out():
    for share in (0.0, 0.1, 0.5, 1.0):
        out = sum(held_out(f"key {number}", share) for number in range(5000)) / 5000
        assert abs(out - share) < 0.02


def test_hashes_are_the_same_in_another_process():
    code = "from foresight.worlds.splits import hash64; print(hash64('a > b'))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(shown.stdout) == hash64("a > b")


def test_streams_indices_and_seeds_are_independent():
    def draw(seed, stream, index):
        return int(generator(seed, stream, index).integers(2**62))

    drawn = [draw(s, t, i) for s in range(5) for t in ("a", "b") for i in range(5)]
    assert len(set(drawn)) == len(drawn)
    assert draw(1, "a", 1) == draw(1, "a", 1)
