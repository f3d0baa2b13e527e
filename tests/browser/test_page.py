"""The status page in a real Chromium, before a real daemon: what happens is seen, and can be acted on."""

from __future__ import annotations

import itertools
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import TOKEN, WAIT, Show
from tests.browser.relay import Relay
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

expect.set_options(timeout=WAIT)

NUMBERS = itertools.count(1)
LONG = re.compile(r"^\d+(\.\d+)? s$|^\d+ min")
FORGIVING = {"height": {"type": "integer", "ignore_malformed": True}}


def cell(page: Page, table: str, row: str, column: str) -> Locator:
    """A cell by its row's and column's names, as somebody who listens to the page finds it."""
    heads = page.get_by_role("table", name=table).locator("thead tr").last
    names = heads.get_by_role("columnheader").all_text_contents()
    found = (
        page.get_by_role("table", name=table)
        .get_by_role("row")
        .filter(has=page.get_by_role("rowheader", name=row, exact=True))
    )
    return found.locator(f":scope > *:nth-child({names.index(column) + 1})")


def count_in(locator: Locator) -> int:
    return int(locator.inner_text().replace(",", ""))


def sign_in(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Token with the scope admin").fill(token)
    page.get_by_role("button", name="Sign in").click()


def set_aside_a_tree(stage: Stage) -> int:
    """Write a row of which Elasticsearch takes no document; return its id, which is the document's too."""
    number = next(NUMBERS)
    stage.execute("INSERT INTO {ks}.tree (id, height) VALUES (%s, 'tall')", [number])
    return number


def set_aside_a_bush(stage: Stage) -> int:
    """Do the same in a table that no other test writes to."""
    number = next(NUMBERS)
    stage.execute("INSERT INTO {ks}.bush (id, height) VALUES (%s, 'tall')", [number])
    return number


def test_values_change_as_rows_change(stage: Stage, show: Show) -> None:
    page = show()
    indexed, deleted = (cell(page, "Tables", "person", column) for column in ("Indexed", "Deleted"))
    expect(indexed).to_have_text(re.compile(r"^[\d,]+$"))
    before, gone = count_in(indexed), count_in(deleted)
    first = next(NUMBERS) * 1000
    for number in range(30):
        stage.execute("INSERT INTO {ks}.person (id, name) VALUES (%s, 'a')", [first + number])
    # A change may be indexed more than once, as a test before left one that is tried again.
    wait_for("thirty more that are indexed", lambda: count_in(indexed) >= before + 30, seconds=WAIT / 1000)
    expect(page.locator("#freshness-p50")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(cell(page, "Tables", "person", "Newest")).to_have_text(re.compile(r"ago$"))
    stage.execute("DELETE FROM {ks}.person WHERE id = %s", [first])
    wait_for("one more that is deleted", lambda: count_in(deleted) > gone, seconds=WAIT / 1000)
    expect(page.locator("#behind")).to_have_text("up to date")
    expect(page.locator("#pending")).to_have_text("0")


def test_the_last_hour_is_drawn_and_told(show: Show) -> None:
    page = show()
    drawing = page.get_by_role("img", name=re.compile(r"^Last .*Freshness, 99th percentile: .*Freshness, median"))
    expect(drawing).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Last .*Documents written: lowest"))).to_be_visible()


def test_an_outage_shows_and_its_end_too(stage: Stage, relay: Relay, show: Show) -> None:
    page = show()
    state = cell(page, "Servers and sources", "Elasticsearch", "State")
    expect(state).to_have_text("available")
    number = next(NUMBERS) * 1000
    relay.shut()
    try:
        stage.execute("INSERT INTO {ks}.person (id, name) VALUES (%s, 'b')", [number])
        expect(page.locator(".verdict")).to_contain_text("Elasticsearch takes no writes")
        expect(page.locator("#verdict")).to_have_attribute("data-state", "critical")
        expect(state).to_have_text("unavailable")
        expect(cell(page, "Servers and sources", "commit log", "State")).to_have_text("waiting for Elasticsearch")
        expect(page.locator("#pending")).not_to_have_text("0")
        expect(page.locator("#lateness-title")).to_have_text("Documents are late by")
        expect(page.locator("#behind")).to_have_text(LONG)
        assert page.title().startswith("✕")
    finally:
        relay.open()
    expect(state).to_have_text("available")
    expect(page.locator(".verdict")).not_to_contain_text("Elasticsearch takes no writes")
    expect(page.locator("#behind")).to_have_text("up to date")
    wait_for("the document", lambda: stage.get("person", str(number)))


def test_dead_letters_are_seen_and_replayed_by_keyboard_alone(stage: Stage, show: Show) -> None:
    page = show()
    number, *others = (set_aside_a_tree(stage) for _ in range(3))
    expect(page.locator(".verdict")).to_contain_text("dead letter")
    assert page.get_by_role("table", name="Dead letters").count() == 0
    tab_to(page, page.get_by_label("Token with the scope admin"))
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    row = page.locator("#letters tbody tr").filter(has=page.locator("code", has_text=re.compile(rf"\b{number}\b")))
    expect(row).to_contain_text("document_parsing_exception")
    expect(row).to_contain_text(f'{{"id":{number},"height":"tall"}}')
    replay = row.get_by_role("button", name=re.compile(rf"^Replay dead letter \d+ of {stage.keyspace}\.tree$"))
    tab_to(page, replay)
    outline = replay.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid", "whoever uses the keyboard sees where they are"
    page.keyboard.press("Enter")
    expect(page.locator("#letters-result")).to_contain_text("stays: document_parsing_exception")
    expect(replay).to_be_focused()

    stage.elastic.indices.put_mapping(index=stage.alias("tree"), properties=FORGIVING)
    page.keyboard.press("Enter")
    expect(page.locator("#letters-result")).to_contain_text("was replayed")
    expect(row).to_have_count(0)
    assert stage.get("tree", str(number)) == {"id": number, "height": "tall"}
    expect(page.locator("#letters button:focus")).to_have_count(1)

    page.get_by_role("button", name="Replay all").click()
    expect(page.locator("#letters-result")).to_have_text(re.compile(r"^2 replayed, [\d,]+ stay\.$"))
    expect(page.locator("#letters-none")).to_be_visible()
    assert all(stage.get("tree", str(other)) for other in others)


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus, as often as there may be things to pass."""
    wanted.wait_for()
    for _ in range(200):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {wanted}")


def test_a_token_opens_what_is_for_operators_and_stays_in_its_tab(show: Show) -> None:
    page = show()
    sign_in(page, "wrong")
    expect(page.locator("#operator-result")).to_have_text("The token is not valid.")
    expect(page.get_by_role("heading", name="Configuration")).to_be_hidden()
    sign_in(page)
    page.get_by_text("The effective configuration").click()
    expect(page.locator("#config")).to_contain_text("cdc_raw_directory")
    assert TOKEN not in page.content()
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]
    assert page.context.cookies() == []
    page.reload()
    expect(page.get_by_role("heading", name="Configuration")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token with the scope admin")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0
    assert page.locator("#config dd").count() == 0


def test_pause_and_resume(show: Show) -> None:
    page = show()
    sign_in(page)
    page.get_by_role("button", name="Pause the commit log").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    state = cell(page, "Servers and sources", "commit log", "State")
    try:
        expect(state).to_have_text("paused")
        expect(page.locator(".verdict")).to_contain_text("The commit log is paused by operator")
        expect(page.locator("#paused")).to_have_text(
            re.compile(r"^The commit log is paused by operator since \d\d:\d\d:\d\d\.$")
        )
    finally:
        page.get_by_role("button", name="Resume the commit log").click()
    expect(state).to_have_text("running")
    expect(page.locator("#paused")).to_be_hidden()


def test_dead_letters_are_filtered_and_dropped(stage: Stage, show: Show) -> None:
    page = show()
    sign_in(page)
    numbers = [set_aside_a_bush(stage) for _ in range(2)]
    page.get_by_label("Table", exact=True).select_option(f"{stage.keyspace}.bush")
    rows = page.locator("#letters tbody tr")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("button", name="Drop dead letter").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop", exact=True).click()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Drop the 1 that match").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop 1 dead letter").click()
    expect(page.locator("#letters-none")).to_have_text("None match.")
    assert all(stage.get("bush", str(number)) is None for number in numbers)


def test_indices_are_shown_with_their_documents(stage: Stage, show: Show) -> None:
    page = show()
    alias = stage.alias("person")
    expect(cell(page, "Indices", alias, "State")).to_have_text("live")
    expect(cell(page, "Indices", alias, "Types")).to_have_text("person")
    sign_in(page)
    row = page.locator("#indices tbody tr").filter(has=page.get_by_role("rowheader", name=alias, exact=True))
    expect(row.locator("td").nth(3)).to_have_text(re.compile(r"^[\d,]+$"))


def test_jobs_are_cancelled(stage: Stage, relay: Relay, show: Show) -> None:
    page = show()
    sign_in(page)
    number = next(NUMBERS) * 1000
    stage.execute("INSERT INTO {ks}.person (id, name) VALUES (%s, 'c')", [number])
    stage.settle()
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    later = {"objectType": "person", "objectIds": [str(number)], "operationType": "async"}
    relay.shut()  # no job can end meanwhile
    try:
        table = page.request.post(f"{page.url}admin/backfill", data={"types": ["person"]}, headers=headers)
        ids = page.request.post(f"{page.url}sync", data={"params": {}, "request": later}, headers=headers)
        assert (table.status, ids.status) == (202, 202)
        for kind, job in (("backfill", table.json()["job"]), ("sync", ids.json()["result"]["job"])):
            row = page.locator("#jobs tbody tr").filter(has_text=job)
            row.get_by_role("button", name=f"Cancel {kind} person").click()
            page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
            expect(row).to_contain_text("cancelled")
            expect(row.get_by_role("button")).to_have_count(0)
    finally:
        relay.open()


def test_a_job_is_followed(stage: Stage, show: Show) -> None:
    page = show()
    sign_in(page)
    body = {"params": {}, "request": {"objectType": "person", "objectIds": ["1", "2"], "operationType": "async"}}
    answer = page.request.post(f"{page.url}sync", data=body, headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status == 202
    job = answer.json()["result"]["job"]
    row = page.locator("#jobs tbody tr").filter(has_text=job)
    expect(row).to_contain_text("2 of 2 ids")
    expect(row).to_contain_text("done")
    assert row.get_by_role("progressbar").get_attribute("value") == "1"


def test_a_daemon_that_stops_is_told_and_found_again(stage: Stage, show: Show) -> None:
    page = show()
    http = stage.daemon.config["http"]
    try:
        assert stage.daemon.stop() == 0
        expect(page.locator("#connection")).to_have_text(re.compile(r"Old: values of \d\d:\d\d:\d\d"))
        stage.daemon.config["http"] = {"port": http["port"]}
        stage.daemon.run()
        expect(page.locator("#connection")).to_have_text("Live")
        page.reload()
        expect(page.locator("#operator-text")).to_contain_text("set http.auth.tokens with a token of the scope admin")
        expect(page.get_by_label("Token with the scope admin")).to_be_hidden()
    finally:
        stage.daemon.kill()
        stage.daemon.config["http"] = http
        stage.daemon.run()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_everybody_can_read_it(stage: Stage, show: Show, scheme: str, width: int) -> None:
    page = show(color_scheme=scheme, viewport={"width": width, "height": 740}, reduced_motion="reduce")
    sign_in(page)
    page.get_by_text("The effective configuration").click()
    expect(page.locator("#tables tbody tr")).not_to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
