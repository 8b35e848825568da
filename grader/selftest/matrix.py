"""make matrix: every mutant and every variant against the checks of their stages.

Writes grader/matrix.json, from which submissions are diagnosed, grader/MATRIX.md for people, and
golden/: what a student with that mistake reads.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grader.diagnosis import MATRIX, leave_one_out, mistakes, signature
from grader.selftest import golden
from grader.selftest.corpus import Mutant, Patch, apply, mutants, variants
from grader.selftest.load import AT_ONCE, busy, grade, keep

PAGE = MATRIX.with_name("MATRIX.md")
KEPT = {"failed": ("id", "stage", "verdict", "cause", "pattern"), "unstable": ("id", "stage", "verdict", "cause"),
        "grader error": ("id", "stage", "verdict", "cause"), "not reached": ("id", "stage", "verdict")}


def make(runs: int, load: int, only: str) -> int:
    """Grades everything `runs` times beside `load` busy processes; returns 1 if anything is not as it should be.

    `only`: just the patches whose places have all these words (mutants/stage1, a name); what is known of the others stays.
    """
    words = only.replace("_", " ").split()
    chosen = [p for p in [*mutants(), *variants()] if all(w in p.place.replace("_", " ") for w in words)]
    if not chosen:
        print(f'ONLY="{only}" names no mutant and no variant: it is a part of a place like mutants/stage1/{mutants()[0].id}.')
        return 2
    with busy(load), ThreadPoolExecutor(AT_ONCE) as pool:
        rows = dict(zip((p.id for p in chosen), pool.map(lambda patch: _row(patch, runs), chosen)))
    matrix = {"mutants": {p.id: rows[p.id] for p in chosen if isinstance(p, Mutant)},
              "variants": {p.id: rows[p.id] for p in chosen if not isinstance(p, Mutant)}}
    trouble = [f"{id}: {words}" for id, row in rows.items() if (words := row.pop("trouble"))]
    texts = {id: row.pop("text") for id, row in matrix["mutants"].items()}
    for mutant in mutants():
        if texts.get(mutant.id):
            golden.path(mutant).parent.mkdir(parents=True, exist_ok=True)
            golden.path(mutant).write_text(texts[mutant.id], encoding="utf-8")
    if only and MATRIX.is_file():
        before = json.loads(MATRIX.read_text(encoding="utf-8"))
        order = [p.id for p in [*mutants(), *variants()]]
        matrix = {kind: {id: rows[id] for id in order if id in rows} for kind, rows in
                  ((kind, {**before[kind], **matrix[kind]}) for kind in matrix)}
        for mutant in mutants():  # a head may have changed since
            if row := matrix["mutants"].get(mutant.id):
                row.update(mistake=mutant.mistake, rows=mutant.rows, caught_by=mutant.caught_by)
    if matrix["mutants"] and matrix["variants"]:
        MATRIX.write_text(json.dumps(matrix, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(page(matrix), encoding="utf-8")
    graded = sum(isinstance(p, Mutant) for p in chosen)
    print(f"graded: {graded} mutants, {len(chosen) - graded} variants, {runs} runs each, {load} busy processes")
    print(_recognised(matrix))
    for line in trouble:
        print(f"NOT AS IT SHOULD BE  {line}")
    return 1 if trouble else 0


def _row(patch: Patch, runs: int) -> dict:
    """Grades one patch; the first run is kept, every run is judged."""
    with tempfile.TemporaryDirectory() as directory:
        source = apply(patch, Path(directory) / patch.id)
        if isinstance(patch, Mutant):
            row = _mutant(patch, source, Path(directory), runs)
        else:
            row = _variant(patch, source, Path(directory), runs)
        if row["trouble"]:
            kept = [str(keep(out, f"{patch.id}-{out.name}")) for out in sorted(Path(directory).iterdir()) if (out / "record.json").is_file()]
            row["trouble"] += f" (see {', '.join(kept)})"
    print(f"{patch.id}: {row['trouble'] or 'as it should be'}", flush=True)
    return row


def _mutant(mutant: Mutant, source: Path, directory: Path, runs: int) -> dict:
    record = grade(source, directory / "first", stage=mutant.stage)
    again = [grade(source, directory / "again", only=mutant.caught_by, times=runs - 1)] if runs > 1 else []
    missed = [check for check in (_check(r, mutant.caught_by) for r in (record, *again)) if check["verdict"] != "failed"]
    trouble = "; ".join(f"{mutant.caught_by} was {check['verdict']}: {check['cause']}" for check in missed)
    try:
        text = golden.text(record, mutant.caught_by)
    except ValueError as error:
        text, trouble = "", f"{trouble} {error}".strip()
    checks = [{key: c[key] for key in KEPT[c["verdict"]]} for c in record["checks"] if c["verdict"] != "passed"]
    return {"mistake": mutant.mistake, "rows": mutant.rows, "stage": mutant.stage, "caught_by": mutant.caught_by, "checks": checks,
            "text": text, "trouble": trouble}


def _check(record: dict, id: str) -> dict:
    return next((c for c in record["checks"] if c["id"] == id), {"verdict": "not found", "cause": "there is no such check"})


def _variant(variant: Patch, source: Path, directory: Path, runs: int) -> dict:
    lost = {check["id"]: f"{check['verdict']}: {check['cause']}" for stage in variant.stages
            for check in grade(source, directory / f"stage{stage}", stage=stage, times=runs)["checks"] if check["verdict"] != "passed"}
    return {"row": variant.head.get("Row", "-"), "stages": variant.stages, "lost": lost,
            "trouble": "; ".join(f"{id} was {words}" for id, words in lost.items())}


def _recognised(matrix: dict) -> str:
    signatures = [signature(id, row["mistake"], row["stage"], row["checks"]) for id, row in matrix["mutants"].items()]
    result, n = leave_one_out(signatures), max(1, len(signatures))
    return (f"leave one out: of {len(signatures)} mutants the right mistake comes first for {result['first']} ({100 * result['first'] / n:.0f} %); "
            f"told: {result['right']} right, {result['wrong']} wrong ({100 * result['wrong'] / n:.1f} %), {result['silent']} not told; "
            f"{result['alone']} are the only mutant of their mistake")


def page(matrix: dict) -> str:
    """The matrix for people, as Markdown."""
    says = mistakes()
    lines = ["# Which check finds which mistake", "",
             "Written by `make matrix`, which grades every known mistake (a patch in `selftest/mutants`) and every correct but",
             "unusual program (`selftest/variants`). A mutant must fail the check that names it; a variant must fail none.", "",
             _recognised(matrix) + ".", "", "## Known mistakes", "",
             "| mutant | rows | caught by | also failing | the mistake |", "| --- | --- | --- | --- | --- |"]
    for id, row in matrix["mutants"].items():
        others = [c["id"].partition(".")[2] for c in row["checks"] if c["verdict"] == "failed" and c["id"] != row["caught_by"]]
        more = f" and {len(others) - 6} more" if len(others) > 6 else ""
        lines.append(f"| {id.replace('_', ' ')} | {' '.join(row['rows']) or '-'} | `{row['caught_by']}` | {', '.join(others[:6])}{more} | "
                     f"{says.get(row['mistake'], {}).get('says', row['mistake'])} |")
    lines += ["", "## Correct but unusual programs", "", "| variant | stages graded | checks lost |", "| --- | --- | --- |"]
    for id, row in matrix["variants"].items():
        lines.append(f"| {id.replace('_', ' ')} | {', '.join(map(str, row['stages']))} | {', '.join(row['lost']) or 'none'} |")
    return "\n".join(lines) + "\n"
