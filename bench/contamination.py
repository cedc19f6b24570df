"""The contamination scan on a corpus in which it is known what stands where.

Estimands: megabytes of original text per second of one processor (wall time beside it), reading,
parsing and normalising included; the ratio of that to a plain numpy rolling hash on the same text
(pairs of runs in turn, bootstrap over pairs); the share of planted substrings that are found with
their exact characters; false hits on near misses. Probes: three substrings of each MMLU question
and of 400 more, of which 200 are planted (with other spaces and symbols) and 200 are near misses,
one letter in every 25 changed, so that no substring of 50 is left whole. The text is a chain of
words in which each follows the last as it does in public sets of questions; a tenth of the
documents have symbols and letters beyond ASCII.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foresight.evals.contamination.corpora import Unit, units_of
from foresight.evals.contamination.findings import Findings
from foresight.evals.contamination.job import scan
from foresight.evals.contamination.questions import (
    Plan,
    Question,
    Settings,
    draw,
    normalised,
    read_questions,
)
from foresight.evals.contamination.scanner import scan_unit, scanner_of
from foresight.evals.files import read_files
from foresight.evals.suites import SUITES

DATA = Path(__file__).parents[2] / "shared" / "data" / "evals"
SEED = 0
CHAINS = 2048
PLANTED = 200
MB = 1_000_000


@dataclass(frozen=True)
class Planted:
    """Where a substring of a question stands: line of the corpus (from 1), characters."""

    document: int
    start: int
    end: int


def words_of(data: Path) -> list[str]:
    """Public questions and answers, one after the other."""
    texts: list[str] = []
    for suite, folder in (("gsm8k", "gsm8k"), ("arc", "arc"), ("hellaswag", "hellaswag_subset")):
        task = SUITES[suite](data / folder, "").task(suite)
        for item in (*task.items, *(one for some in task.few_shot.values() for one in some)):
            texts += [item.text, *item.choices]
    return " ".join(texts).split()


def documents(words: Sequence[str], megabytes: int) -> Iterator[str]:
    """Chains of words; lengths are log-normal, 3 kB in the median."""
    random = np.random.default_rng(SEED)
    names, codes = np.unique(np.array(words), return_inverse=True)
    order = np.argsort(codes[:-1], kind="stable")
    after = codes[1:][order]
    counts = np.bincount(codes[:-1], minlength=len(names))
    first = np.cumsum(counts) - counts
    texts, state, done = names.tolist(), random.choice(codes[:-1], CHAINS), 0
    while done < megabytes * MB:
        steps = int(min(5000, 500 * random.lognormal(0, 0.8))) + 5
        chain = np.empty((CHAINS, steps), np.int64)
        for step in range(steps):
            state = np.where(counts[state] > 0, state, codes[0])
            state = after[first[state] + (random.random(CHAINS) * counts[state]).astype(np.int64)]
            chain[:, step] = state
        for number, row in enumerate(chain.tolist()):
            text = " ".join([texts[code] for code in row])
            if number % 10 == 0:
                text = text.replace("'", "\u2019").replace(" the ", " \u201cthe\u201d ")
                text += " Ångström, naïve \u2014 Größe."
            yield text
            done += len(text)
            if done >= megabytes * MB:
                return


def respaced(text: str) -> str:
    """The same letters with other symbols between them."""
    return text.replace(" ", "\n  ").replace(",", " -- ").replace("e", "e\u200b")


def changed(text: str) -> str:
    """One in every 25 letters and digits is another one."""
    out, seen = [], 0
    for character in text:
        seen += character.isalnum()
        out.append(("Q" if character != "Q" else "Z") if character.isalnum() and seen % 25 == 0
                   else character)  # fmt: skip
    return "".join(out)


def extra_questions(data: Path) -> list[Question]:
    """400 questions of MMLU's validation part that are long enough and in no test question."""
    import csv
    import io

    found = []
    for name, text in read_files(data / "mmlu", "*_val.csv").items():
        for at, row in enumerate(csv.reader(io.StringIO(text))):
            if len(normalised(row[0], False)) >= 100:
                found.append(Question("extra", f"{name}/{at}", row[0]))
    return found[: 2 * PLANTED]


def build(folder: Path, data: Path, megabytes: int) -> None:
    """Write the corpus as JSONL, Parquet and text, and beside it where things were planted."""
    questions = extra_questions(data)
    places: dict[str, tuple[int, int]] = {}
    every = max(1, megabytes * MB // 3500 // (2 * PLANTED + 1))
    rows, texts = [], []
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as lines:
        for number, text in enumerate(documents(words_of(data), megabytes)):
            at = number // every
            if number % every == 0 and at < len(questions):
                one = questions[at]
                put = respaced(one.text) if at < PLANTED else changed(one.text)
                middle = text.index(" ", len(text) // 2)
                places[one.id] = (number, middle + 1)
                put = f"{text[:middle]} {put} {text[middle:]}"
            else:
                put = text
            lines.write(json.dumps({"id": number, "text": put}, ensure_ascii=False) + "\n")
            texts.append(put)
            if len(texts) == 20_000:
                rows.append(pa.table({"text": texts}))
                texts = []
    rows.append(pa.table({"text": texts}))
    pq.write_table(pa.concat_tables(rows), folder / "corpus.parquet", row_group_size=20_000)
    with (folder / "corpus.txt").open("w", encoding="utf-8") as out:
        for table in rows:
            out.write("\n\n".join(table["text"].to_pylist()) + "\n\n")
    (folder / "places.json").write_text(json.dumps(places))


def truth(questions: Sequence[Question], places: dict[str, tuple[int, int]]) -> dict[str, Planted]:
    """Of every substring of a planted question, character by character."""
    found = {}
    for one in questions[:PLANTED]:
        document, offset = places[one.id]
        put = respaced(one.text)
        at = [index for index, character in enumerate(put) if character.isalnum()]
        letters = "".join(put[index] for index in at)
        for text in draw(one, Settings()):
            start = letters.index(text)
            found[text] = Planted(
                document + 1, offset + at[start], offset + at[start + len(text) - 1] + 1
            )
    return found


def rolling_hash(texts: Sequence[str], probes: Sequence[str]) -> set[str]:
    """The plain way: of every 50 and every 8 bytes of the normalised text a polynomial hash, looked
    up in the sorted hashes of long probes and of the beginnings of short ones, then compared."""
    base = np.uint64(0x9E3779B97F4A7C15)
    inverse = np.uint64(pow(int(base), -1, 1 << 64))
    powers, undo = (np.cumprod(np.full(1 << 21, one)) for one in (base, inverse))

    def hashes(data: bytes, length: int) -> np.ndarray:
        values = np.frombuffer(data, np.uint8) * powers[: len(data)]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values)])
        return (sums[length:] - sums[:-length]) * undo[: len(data) - length + 1]

    tables: dict[int, dict[int, list[bytes]]] = {50: {}, 8: {}}
    for probe in (one.encode() for one in probes):
        length = 50 if len(probe) >= 50 else 8
        key = int(hashes(probe[:length], length)[0])
        tables[length].setdefault(key, []).append(probe)
    found = set()
    for begin in range(0, len(texts), 500):
        some = texts[begin : begin + 500]
        data = "\0".join("".join(filter(str.isalnum, text)) for text in some).encode()
        for length, table in tables.items():
            known = np.sort(np.array(list(table), np.uint64))
            windows = hashes(data, length)
            at = np.minimum(np.searchsorted(known, windows), len(known) - 1)
            for start in np.flatnonzero(known[at] == windows).tolist():
                for probe in table[int(windows[start])]:
                    if data.startswith(probe, start):
                        found.add(probe.decode())
    return found


def timed(call: Callable[[], object]) -> float:
    """Seconds of processor time, which what else runs on the machine does not count into."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def ratio(plan: Plan, folder: Path, pairs: int, megabytes: int) -> None:
    """Ours against the prototype, and against ahocorasick_rs if it is there, in turn."""
    with (folder / "corpus.jsonl").open("rb") as stream:
        lines = stream.read(megabytes * MB).split(b"\n")[:-1]
    part = folder / "slice.jsonl"
    part.write_bytes(b"\n".join(lines) + b"\n")
    unit = Unit("jsonl", (str(part),), "text", bytes=part.stat().st_size)
    small = lines[: max(1, len(lines) // 20)]
    text_bytes = [len(json.loads(line)["text"].encode()) for line in lines]
    texts = [json.loads(line)["text"] for line in small]
    probes = list(
        dict.fromkeys(text for one in plan.questions for text in draw(one, plan.settings))
    )
    found = scan_unit(plan, unit)
    automaton = _automaton(probes)
    ours, plain, other = [], [], []
    for _ in range(pairs):
        ours.append(sum(text_bytes) / timed(lambda: scan_unit(plan, unit)) / MB)
        size = sum(text_bytes[: len(small)])
        plain.append(size / timed(lambda: rolling_hash(texts, probes)) / MB)
        if automaton:
            seconds = timed(lambda: [automaton(json.loads(line)["text"]) for line in lines])
            other.append(sum(text_bytes) / seconds / MB)
    part.write_bytes(b"\n".join(small) + b"\n")
    mine = {probes[number] for number in scan_unit(plan, unit)["substrings"]}
    same = mine == rolling_hash(texts, probes)
    print(f"{len(found['substrings'])} substrings found in the slice; in its twentieth "
          f"{len(mine)}, by the plain way the same: {same}")  # fmt: skip
    _told("ours", ours)
    _told("plain numpy rolling hash", plain)
    _versus("ours / plain", ours, plain)
    if other:
        _told("ahocorasick_rs, same reading and normalising", other)
        _versus("ours / ahocorasick_rs", ours, other)


def _automaton(probes: Sequence[str]) -> Callable[[str], object] | None:
    try:
        import ahocorasick_rs
    except ImportError:
        return None
    from foresight.evals.contamination.normalise import squeezed

    machine = ahocorasick_rs.BytesAhoCorasick([probe.encode() for probe in probes])
    return lambda text: machine.find_matches_as_indexes(
        squeezed(text.encode(), False), overlapping=True
    )


def _told(name: str, speeds: Sequence[float]) -> None:
    print(f"{name:48}{statistics.median(speeds):9.1f} MB/s (median of {len(speeds)})")


def _versus(name: str, first: Sequence[float], second: Sequence[float]) -> None:
    logs = np.log(np.array(first) / np.array(second))
    random = np.random.default_rng(SEED)
    draws = np.exp(random.choice(logs, (10_000, len(logs))).mean(axis=1))
    low, high = np.quantile(draws, (0.025, 0.975))
    print(f"{name:48}{np.exp(logs.mean()):9.1f} x (95 % {low:.1f} to {high:.1f}, "
          f"{len(logs)} pairs)")  # fmt: skip


def throughput(plan: Plan, path: Path) -> None:
    units = units_of([str(path)], "text", None)
    scanner_of(plan)
    wall, processor = time.perf_counter(), time.process_time()
    size = sum(scan_unit(plan, unit)["bytes"] for unit in units) / MB
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{path.name:48}{size / processor:9.1f} MB/s of processor time, {size / wall:.1f} of "
          f"wall time ({size:,.0f} MB of text)")  # fmt: skip


def check(plan: Plan, folder: Path) -> None:
    """The whole corpus, then what was planted against what was found."""
    units = units_of([str(folder / "corpus.jsonl")], "text", None)
    with tempfile.TemporaryDirectory() as name:
        found = scan(plan, units, Path(name))
    findings = Findings(plan, units, found)
    questions = [one for one in plan.questions if one.task == "extra"]
    expected = truth(questions, json.loads((folder / "places.json").read_text()))
    planted = {one.id for one in questions[:PLANTED]}
    exact, false = 0, 0
    for row in findings.evidence():
        if row["task"] == "extra" and row["method"] == "substring":
            place = Planted(row["document"], row["start"], row["end"])
            exact += row["item"] in planted and place == expected[row["text"]]
            false += row["item"] not in planted
    extra = next(one for one in findings.tasks if one.task == "extra")
    print(f"planted items found {len(planted & set(extra.methods['substring'].ids))} of "
          f"{PLANTED}; substrings with their exact characters {exact} of {len(expected)}; hits on "
          f"{PLANTED} near misses: {false}")  # fmt: skip
    for one in findings.tasks:
        print(f"{one.task}: " + ", ".join(
            f"{name} {len(share.ids)}/{share.items}"
            for name, share in {**one.methods, "short": one.short, "long": one.long}.items()
        ) + f", too short {len(one.too_short['substring'])}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path("runs/contamination-bench"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--ngram", type=int, default=0)
    parser.add_argument("--near", type=float, default=0.0)
    options = parser.parse_args()
    folder = options.folder / str(options.megabytes)
    if not (folder / "places.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        # In a process of its own, whose memory is not the scan's.
        work = (folder, options.data, options.megabytes)
        making = multiprocessing.get_context("spawn").Process(target=build, args=work)
        making.start()
        making.join()
    questions = (*read_questions([f"mmlu@{options.data / 'mmlu'}"]), *extra_questions(options.data))
    plan = Plan(questions, Settings(ngram=options.ngram, near=options.near))
    probes = {text for one in questions for text in draw(one, plan.settings)}
    short = sum(len(normalised(one.text, False)) < 50 for one in questions if one.task == "mmlu")
    print(f"{len(probes):,} probes of {len(questions):,} questions; {short} of MMLU's under 50")
    for name in ("corpus.jsonl", "corpus.txt", "corpus.parquet"):
        throughput(plan, folder / name)
    check(plan, folder)
    print(f"peak resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:,.0f} MB")
    ratio(plan, folder, options.pairs, min(100, options.megabytes))


if __name__ == "__main__":
    main()
