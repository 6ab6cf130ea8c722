from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.generate_images import generate_images
from pressrun import draft as drafts
from pressrun.run import open_run
from tasks.warm_model import warm_model
from tests import runs

PROMPTS = [
    {"prompt": "a red star", "id": "one", "campaign": "summer"},
    {"prompt": "[red]a blue ring[/nonsense] :star: \\[", "id": "two", "campaign": "winter"},
    {"prompt": "a green heart", "id": "three", "campaign": "summer"},
]


@pytest.fixture(scope="module")
def made(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a searchable collection, in a folder with a name that looks like markup."""
    out = tmp_path_factory.mktemp("made") / "out[/bold]"
    generate_images(runs.job(out, PROMPTS, embedder="carried", workers=1))
    return out


@pytest.fixture
def collection(made: Path, tmp_path: Path) -> Path:
    """Give a copy of the collection that a test may spoil."""
    return shutil.copytree(made, tmp_path / "copy [/red]")


# Refusals: exit code 2, one explanation, nothing done


def everything_below(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in folder.rglob("*")}


# generate and plan


def test_generate_tells_what_it_made_and_where_then_what_it_held(
    said: Any, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, readings = drafts.read_requests, list[object]()
    monkeypatch.setattr(drafts, "read_requests", lambda *given: readings.append(given[0]) or read(*given))
    file = runs.prompt_file(tmp_path, ["a red star", "[red]odd[/blue] :star: \\[", "a red star"])
    out = tmp_path / "out[/x]"
    code, told, stages = said("generate", file, *runs.quick_options(out))
    assert code == 0
    assert "complete: 2 images rendered, 0 failed, 0 held before, 1 duplicates" in told
    for place in ("contact-sheet.png", "report.html", "manifest/"):
        assert f"{out}/{place}" in told
    assert "generate batches" in stages
    assert len(readings) == 1  # ten million prompts take minutes
    code, told, _ = said("generate", file, *runs.quick_options(out), "--json")
    record = json.loads(told)
    assert code == 0
    assert (record["outcome"], record["done"], record["held"], record["asked"]) == ("complete", 0, 2, 3)
    assert not runs.flaws(out)


@pytest.mark.slow
def test_one_raising_prompt_among_200_is_partial_and_the_other_199_are_there(
    said: Any, prefect_api: str, tmp_path: Path
) -> None:
    prompts = runs.prompts(200)
    prompts[123] = "boom"
    file, out = runs.prompt_file(tmp_path, prompts), tmp_path / "out"
    options = {"engine": "tests.engines:faulty", "batch-size": 16}
    code, told, _ = said("generate", file, *runs.quick_options(out, **options))
    assert code == 3
    assert "partial: 199 images rendered, 1 failed" in told
    assert len(runs.rows(out)) == 199
    assert len(list(out.glob("failures/*.parquet"))) == 1
    assert not runs.flaws(out)
    code, told, _ = said("generate", file, *runs.quick_options(out, **options), "--json")
    assert code == 3
    assert (json.loads(told)["held"], json.loads(told)["failed"]) == (199, 1)


def test_a_stage_that_fails_is_told_without_a_traceback_and_can_be_tried_again(
    said: Any, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_model, "retries", 0)  # the pauses between tries are Prefect's to test
    file, out = runs.prompt_file(tmp_path, ["a red star"]), tmp_path / "out"
    code, told, err = said(
        "generate", file, *runs.quick_options(out, engine="tests.engines:small", width=512, height=512)
    )
    assert (code, told) == (1, "")
    assert "error: The model shapes cannot draw one picture of 512 x 512 px" in err
    assert not (out / "writer.json").exists()
    assert said("generate", file, *runs.quick_options(out))[0] == 0


def test_plan_tells_what_would_be_done_and_changes_nothing(
    said: Any, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = runs.prompt_file(tmp_path, ["a red star", *runs.prompts(5), "picture 4"])
    before = everything_below(tmp_path)
    code, told, _ = said("plan", file, *runs.quick_options(collection, embedder="carried"), "--price", 3, "--json")
    record = json.loads(told)
    assert code == 0
    assert (record["asked"], record["duplicates"], record["held"], record["to_render"]) == (7, 1, 1, 5)
    assert (record["batches"], record["workers"]) == (3, 2)
    assert "to render" in said("plan", file, *runs.quick_options(collection, embedder="carried"))[1]
    elsewhere = runs.quick_options(tmp_path / "new", embedder="carried")
    _, told, _ = said("plan", file, *elsewhere, "--reuse-from", collection, "--json")
    assert (json.loads(told)["held"], json.loads(told)["to_render"]) == (1, 5)
    code, _, err = said("plan", file, *elsewhere, "--reuse-from", collection.parent, "--tenant", "acme")
    assert (code, "passed over for what does not fit: 1 (tenant: 1" in err) == (0, True)
    assert everything_below(tmp_path) == before


# search, verify, report


def test_search_names_picture_prompt_and_score_best_first(said: Any, made: Path) -> None:
    code, told, _ = said("search", made, "a star", "--json")
    hits = json.loads(told)
    assert code == 0
    assert sorted(hit["prompt"] for hit in hits) == sorted(row["prompt"] for row in PROMPTS)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert all((made / hit["path"]).is_file() for hit in hits)
    assert len(json.loads(said("search", made, "a star", "-k", 1, "--json")[1])) == 1


def test_search_filters_on_columns_and_on_the_users_own(said: Any, made: Path) -> None:
    wanted = {"extra.campaign=summer": {"one", "three"}, "prompt~BLUE": {"two"}, "user_id=three": {"three"}}
    for condition, ids in wanted.items():
        hits = json.loads(said("search", made, "a star", "--where", condition, "--json")[1])
        assert {hit["row"]["user_id"] for hit in hits} == ids
    both = ("--where", "extra.campaign=summer", "--where", "prompt~star")
    assert [hit["prompt"] for hit in json.loads(said("search", made, "x", *both, "--json")[1])] == ["a red star"]
    assert said("search", made, "a star", "--where", "nonsense=1")[0] == 2
    assert said("search", made, "a star", "-k", 0)[0] == 2


def test_search_by_a_picture_finds_that_picture(said: Any, made: Path) -> None:
    for row in runs.rows(made).values():
        best, *_ = json.loads(said("search", made, "--image", made / row["path"], "--json")[1])
        assert best["image_id"] == row["image_id"]
        assert best["score"] == pytest.approx(1, abs=0.01)
    code, _, err = said("search", made, "--image", made / "collection.json")
    assert code == 2
    assert "cannot be read as a picture" in err


def test_search_shows_prompts_as_they_were_written(said: Any, made: Path) -> None:
    code, told, _ = said("search", made, "a ring")
    assert code == 0
    assert PROMPTS[1]["prompt"].split()[0] in told
    assert ":star:" in told


def test_search_tells_where_pictures_of_another_collection_are(said: Any, made: Path, tmp_path: Path) -> None:
    referring = tmp_path / "referring"
    reuse = {"embedder": "carried", "reuse_from": [str(made)], "reuse_as": "reference"}
    open_run(runs.job(referring, PROMPTS, **reuse).job(), "run-2").close()
    assert said("verify", referring, "--repair")[0] == 0  # makes the index, which is the last stage of a run
    _, told, _ = said("search", referring, "a star")
    paths = [Path(line.split("\t")[1]) for line in told.splitlines()]
    assert len(paths) == 3
    assert all(path.is_file() and path.is_relative_to(made) for path in paths)


def test_search_gives_another_program_one_hit_a_line(said: Any, made: Path) -> None:
    _, told, _ = said("search", made, "a ring", "-k", 2)
    for line in told.splitlines():
        score, path, prompt = line.split("\t")
        assert 0 < float(score) < 1
        assert Path(path).is_file()
        assert prompt in {row["prompt"] for row in PROMPTS}
    assert len(told.splitlines()) == 2
    code, told, err = said("search", made, "a ring", "--where", "prompt=no such prompt")
    assert (code, told) == (0, "")
    assert "no picture fulfils" in err


def test_a_damaged_index_is_told_with_its_remedy_and_mended(said: Any, collection: Path) -> None:
    for damage in ("{}", ""):
        (collection / "index" / "current.json").write_text(damage)
        code, _, err = said("search", collection, "a star")
        assert (code, "verify --repair" in err) == (2, True)
        assert said("verify", collection, "--repair")[0] == 0
        assert said("search", collection, "a star")[0] == 0


def test_what_the_file_system_refuses_is_told_without_a_traceback(said: Any, collection: Path) -> None:
    code, _, err = said("report", collection, "--output", collection / "no" / "such" / "page.html")
    assert code == 1
    assert "Traceback" not in err
    assert "No such file" in err


def test_verify_proves_names_flaws_and_mends_them_only_when_asked(said: Any, collection: Path) -> None:
    code, told, _ = said("verify", collection)
    assert code == 0
    assert "sound: 3 images, 3 objects" in told
    stray = collection / "images" / "aa" / "[/odd].png"  # two folders to the file system, a closing tag to Rich
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    code, told, _ = said("verify", collection)
    assert code == 4
    assert "orphan images/aa/[/odd].png" in told
    code, told, _ = said("verify", collection, "--json")
    assert code == 4
    assert [flaw["kind"] for flaw in json.loads(told)["flaws"]] == ["orphan"]
    assert stray.exists()
    assert said("verify", collection, "--repair")[0] == 0
    assert not stray.exists()
    assert json.loads(said("verify", collection, "--json")[1])["sound"] is True


def test_report_draws_the_page_again_where_it_is_asked_for(said: Any, collection: Path, tmp_path: Path) -> None:
    page = collection / "report.html"
    page.unlink()
    code, told, _ = said("report", collection)
    assert (code, told.strip()) == (0, str(page))
    assert "a red star" in page.read_text()
    (run,) = (collection / "runs").iterdir()
    elsewhere = tmp_path / "page.html"
    code, told, _ = said("report", collection, "--run", run.name, "--output", elsewhere)
    assert (code, told.strip()) == (0, str(elsewhere))
    assert elsewhere.read_text() == page.read_text()
    code, _, err = said("report", collection, "--run", "nonsense")
    assert code == 2
    assert "no report of run nonsense" in err
