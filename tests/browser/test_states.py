"""The status page in a real Chromium, of daemons in states that real servers seldom have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from cdc_daemon.sources.requests.jobs import SyncJobReport
from cdc_daemon.store.sync_jobs import SyncJob
from cdc_daemon.tablejobs.range_job import JobRequest
from tests.browser.conftest import TOKEN, WAIT, Show
from tests.browser.scenes import ODD, OVERRIDE, letters, work
from tests.browser.served import Served

expect.set_options(timeout=WAIT)

WIDTHS = (320, 390, 768, 1280, 2000)
NONE = "\u2013"
LONG_AND_ODD = OVERRIDE + "k" * 700


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(work()) as served:
        yield served


def sign_in(page: Page) -> None:
    page.get_by_label("Token with the scope admin").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#operator-result")).to_have_text("Signed in.")


def make_it_odd(served: Served) -> None:
    """Show all there is, with names and values as long and as odd as can be."""
    served.tell(work(ODD, outage=130, odd=LONG_AND_ODD, paused_by="anna"))
    assert served.daemon.control is not None
    served.daemon.control.letters = letters(60, odd=LONG_AND_ODD)
    served.daemon.control.config = {"elasticsearch": {"hosts": ["https://" + "h" * 300]}}
    served.order(JobRequest(kind="backfill", types=("user",)))


def dialog(page: Page, answer: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=answer, exact=True).click()


def open_all(page: Page) -> None:
    for summary in page.locator("summary").all():
        summary.click()
    for more in page.locator("button.more").all()[:3]:
        more.click()


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, ("light", "dark") * 3, strict=False)])
def test_everything_fits_and_can_be_read_by_everybody(served: Served, show_at: Show, width: int, scheme: str) -> None:
    make_it_odd(served)
    page = show_at(served.url, color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    sign_in(page)
    expect(page.locator("#letters tbody tr")).to_have_count(25)
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    open_all(page)
    assert overflowing(page) == []
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


def test_it_fits_at_every_width_between(served: Served, show_at: Show) -> None:
    make_it_odd(served)
    page = show_at(served.url, reduced_motion="reduce")
    sign_in(page)
    expect(page.locator("#letters tbody tr")).to_have_count(25)
    open_all(page)
    for width in range(320, 2001, 24):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflowing(page) == [], width


def overflowing(page: Page) -> list[str]:
    """Return what reaches beyond the page's right edge, or beyond the table or card that it is in."""
    found: list[str] = page.evaluate(
        """() => {
            const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
            const out = [...document.querySelectorAll("main *:not(.unseen, thead, thead *)")].filter((element) => {
                const frame = element.closest(".rows, .card, .verdict, details") ?? document.body;
                const box = element.getBoundingClientRect();
                return box.width && box.right > frame.getBoundingClientRect().right + 1;
            });
            return [...wide, ...out.map((element) => element.outerHTML.slice(0, 200))];
        }"""
    )
    return found


def test_in_an_outage_the_largest_figure_is_how_late_documents_are(served: Served, show_at: Show) -> None:
    served.tell(work(outage=130))
    page = show_at(served.url)
    expect(page.locator("#lateness-title")).to_have_text("Documents are late by")
    expect(page.locator("#behind")).to_have_text(re.compile(r"^2 min \d+ s$"))
    sizes: dict[str, float] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".number")].map(
            (element) => [element.id, parseFloat(getComputedStyle(element).fontSize)]))"""
    )
    assert max(sizes, key=sizes.__getitem__) == "behind"
    assert sizes["behind"] > 1.5 * sizes["pending"]
    assert sizes["freshness-p50"] < sizes["pending"] / 1.5, "the last good minute is small"
    expect(page.locator("#freshness-title")).to_have_text("Freshness of what was written in the last minute")
    served.tell(work())
    expect(page.locator("#lateness-title")).to_have_text("Documents are")
    expect(page.locator("#behind")).to_have_text("up to date")
    expect(page.locator("#freshness-p50")).to_have_text(re.compile(r"^\d+ ms$"))


def test_a_page_without_its_daemon_is_old_at_first_sight(served: Served, show_at: Show) -> None:
    page = show_at(served.url, reduced_motion="reduce")
    sign_in(page)
    state = page.locator("#servers tbody tr .state").first
    before = dot_of(page)
    page.get_by_role("button", name="Pause the commit log").click()
    served.stop()
    expect(page.locator("#verdict")).to_contain_text("No connection to the daemon: all below is old, values of")
    assert page.title().startswith("✕ no connection · cassandra-0")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("main :is(button, input, select):not(:disabled)")).to_have_count(0)
    expect(state).to_have_text("available")
    assert dot_of(page) != before, "no state looks as if it were of now"
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    served.start()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.get_by_role("button", name="Pause the commit log")).to_be_enabled()
    assert dot_of(page) == before
    assert not page.title().startswith("✕")


def dot_of(page: Page) -> str:
    colour: str = page.evaluate(
        """() => getComputedStyle(document.querySelector("#servers .state"), "::before").backgroundColor"""
    )
    return colour


def test_replay_says_why_letters_stay(served: Served, show_at: Show) -> None:
    assert served.daemon.control is not None
    served.daemon.control.letters = letters(9)
    served.daemon.control.unmended = {"ExpressionError"}
    page = show_at(served.url)
    sign_in(page)
    page.get_by_role("button", name="Replay all").click()
    result = page.locator("#letters-result")
    expect(result).to_contain_text("6 replayed, 3 stay.")
    expect(result.get_by_role("listitem")).to_have_text("3 ExpressionError: still no date (dead letter 3, for example)")
    page.get_by_role("button", name="Replay dead letter 9 of sunbird.user").click()
    expect(result).to_have_text("Dead letter 9 stays: ExpressionError: still no date")


def test_long_keys_are_cut_and_what_turns_text_around_is_written_out(served: Served, show_at: Show) -> None:
    make_it_odd(served)
    page = show_at(served.url)
    sign_in(page)
    key = page.locator("#letters tbody tr code").first
    expect(key).to_contain_text("id u60\\u202ekkk")
    assert len(key.inner_text()) < 200
    button = key.get_by_role("button")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(key).to_contain_text("k" * 700)
    expect(button).to_have_text("Show less")
    button.click()
    expect(button).to_have_text(re.compile(r"^Show all \d+ characters$"))
    expect(page.get_by_role("rowheader", name="evil\\u202etxt")).to_be_visible()
    open_all(page)
    assert OVERRIDE not in page.locator("body").inner_text()
    assert OVERRIDE not in page.title()
    labels: list[str] = page.evaluate("[...document.querySelectorAll('[aria-label]')].map((e) => e.ariaLabel)")
    assert not any(OVERRIDE in label for label in labels)


def test_numbers_of_keys_keep_all_their_digits(served: Served, show_at: Show) -> None:
    assert served.daemon.control is not None
    (letter,) = letters(1)
    served.daemon.control.letters = [replace(letter, detail={"key": {"id": 2**63 - 1, "n": 12}})]
    page = show_at(served.url)
    sign_in(page)
    expect(page.locator("#letters tbody tr code").first).to_have_text("id 9223372036854775807, n 12")


def test_the_daemon_s_own_timers_are_folded_at_the_end(served: Served, show_at: Show) -> None:
    page = show_at(served.url)
    assert page.locator("main > :last-child").get_attribute("id") == "tasks"
    names = page.get_by_role("table", name="Servers and sources").get_by_role("rowheader").all_inner_texts()
    assert names == ["Cassandra", "Elasticsearch", "commit log", "requests for rows", "poll sunbird.device"]
    expect(page.locator("#tasks-summary")).to_have_text("7 tasks of the daemon's own, none failing")
    expect(page.locator("#tasks-table")).to_be_hidden()
    page.locator("#tasks-summary").click()
    expect(page.get_by_role("rowheader", name="heartbeat")).to_be_visible()


def test_each_problem_leads_to_its_section_and_to_the_runbook(served: Served, show_at: Show) -> None:
    scene = work(outage=130)
    scene.status["problems"] = [
        {
            "severity": "critical",
            "text": "Trouble.",
            "section": "servers",
            "runbook": "cdcelasticsearchunavailable",
        },
        {"severity": "warning", "text": "heartbeat fails", "section": "tasks", "runbook": "cdcscheduledworkfailing"},
        {"severity": "warning", "text": "Letters.", "section": "letters", "runbook": "cdcdeadlettersgrowing"},
        {"severity": "warning", "text": "Something that leads nowhere."},
    ]
    served.tell(scene)
    page = show_at(served.url)
    expect(page.locator("#verdict")).to_have_text("Trouble.")
    page.get_by_role("link", name="Show: Trouble.").click()
    expect(page.locator("#servers-title")).to_be_focused()
    page.get_by_role("link", name="Show: heartbeat fails").click()
    expect(page.locator("#tasks-table")).to_be_visible()
    page.get_by_role("link", name="Show: Letters.").click()
    expect(page.locator("#operator-title")).to_be_focused()
    sign_in(page)
    page.get_by_role("link", name="Show: Letters.").click()
    expect(page.locator("#letters-title")).to_be_focused()
    expect(page.locator("#problems li").last.get_by_role("link")).to_have_count(0)
    page.get_by_role("link", name="Runbook: Trouble.").click()
    expect(page.get_by_role("heading", name="CdcElasticsearchUnavailable")).to_be_in_viewport()
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_pause_asks_first_and_says_who_paused_since_when(served: Served, show_at: Show) -> None:
    page = show_at(served.url)
    sign_in(page)
    button = page.get_by_role("button", name="Pause the commit log")
    button.click()
    expect(page.get_by_role("dialog")).to_contain_text(
        "When cdc_raw is full, Cassandra rejects writes. It is 1.1 % full"
    )
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    dialog(page, "Cancel")
    expect(button).to_be_focused()
    control = served.daemon.control
    assert control is not None
    assert not control.paused
    button.click()
    dialog(page, "Pause")
    expect(page.locator("#operator-result")).to_contain_text("The commit log is paused by anna since")
    served.tell(work(paused_by="ben"))
    expect(page.locator("#paused")).to_have_text(
        re.compile(r"^The commit log is paused by ben since \d\d:\d\d:\d\d\.$")
    )
    page.get_by_role("button", name="Resume the commit log").click()
    expect(page.locator("#operator-result")).to_have_text("The daemon reads the commit log again.")


def test_letters_are_paged_filtered_and_dropped(served: Served, show_at: Show) -> None:
    control = served.daemon.control
    assert control is not None
    control.letters = letters(60)
    page = show_at(served.url)
    sign_in(page)
    rows, where = page.locator("#letters tbody tr"), page.locator("#letters-range")
    expect(where).to_have_text("1 to 25 of 60, newest first")
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()
    page.get_by_role("button", name="Older").click()
    expect(where).to_have_text("26 to 50 of 60, newest first")
    page.get_by_role("button", name="Older").click()
    expect(where).to_have_text("51 to 60 of 60, newest first")
    expect(rows).to_have_count(10)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect(where).to_have_text("26 to 50 of 60, newest first")

    page.get_by_label("Reason").select_option("ExpressionError")
    expect(page.locator("#letters-count")).to_have_text("20 kept now that match")
    expect(rows).to_have_count(20)
    page.get_by_label("Table", exact=True).select_option("sunbird.user")
    expect(rows).to_have_count(10)
    rows.first.get_by_role("button", name="Drop dead letter 57").click()
    dialog(page, "Cancel")
    rows.first.get_by_role("button", name="Drop dead letter 57").click()
    dialog(page, "Drop")
    expect(page.locator("#letters-result")).to_have_text("Dead letter 57 was dropped.")
    expect(rows).to_have_count(9)
    expect(page.locator("#letters .acts button:focus")).to_have_count(1)

    control.letters = [replace(control.letters[0], id=99, reason="ExpressionError", table="user"), *control.letters]
    page.get_by_role("button", name="Drop the 9 that match").click()
    dialog(page, "Drop 9 dead letters")
    expect(page.locator("#letters-result")).to_have_text("9 dead letters dropped.")
    expect(rows).to_have_count(1)  # it came after the list, so nobody has seen it
    assert len(control.letters) == 51


def test_jobs_of_both_kinds_are_cancelled(served: Served, show_at: Show) -> None:
    control = served.daemon.control
    assert control is not None
    report = served.order(JobRequest(kind="backfill", types=("user",)))
    control.jobs = kept = [SyncJob(id="ab12", kind="sync", object_type="user", created=1_700_000_000_000_000, total=10)]
    cancelled: list[str] = []

    class Jobs:
        async def cancel(self, identity: str) -> SyncJobReport:
            cancelled.append(identity)
            kept[:] = [replace(kept[0], state="cancelled", finished=1)]
            return SyncJobReport(kept[0], {})

    served.daemon.jobs = Jobs()  # type: ignore[assignment]
    page = show_at(served.url)
    sign_in(page)
    for name, identity in (("backfill user", report.job.id), ("sync user", "ab12")):
        row = page.locator("#jobs tbody tr").filter(has_text=identity)
        row.get_by_role("button", name=f"Cancel {name}").click()
        dialog(page, "Cancel the job")
        expect(page.locator("#jobs-result")).to_have_text(f"Job {identity} is cancelled.")
        expect(row.locator(".state")).to_have_text("cancelled")
        expect(row.get_by_role("button")).to_have_count(0)
    assert cancelled == ["ab12"]


def test_indices_are_there_with_their_states(served: Served, show_at: Show) -> None:
    page = show_at(served.url)
    states = page.locator("#indices tbody .state")
    expect(states).to_have_text(["live", "former is kept, lacks changes", "second is being built", "live"])
    row = page.locator("#indices tbody tr").first
    expect(row.locator("td")).to_have_text(["user", "live", "user-000001", NONE, NONE, NONE])
    sign_in(page)
    expect(row.locator("td")).to_have_text(["user", "live", "user-000001", "7", NONE, "7"])
    page.get_by_role("button", name="Sign out").click()
    expect(row.locator("td")).to_have_text(["user", "live", "user-000001", NONE, NONE, NONE])
    served.daemon.state = {
        **served.daemon.state,
        "indices": [
            {**served.daemon.state["indices"][0], "trouble": {"error_type": "cluster_block_exception", "since": None}},
            {**served.daemon.state["indices"][3], "live": None},
        ],
    }
    expect(states).to_have_text(["takes no writes", "missing"])
    expect(row).to_contain_text("error type cluster_block_exception")


def test_counts_say_what_they_count(served: Served, show_at: Show) -> None:
    page = show_at(served.url)
    table = page.get_by_role("table", name="Tables")
    expect(table.get_by_role("columnheader", name="Documents, since start")).to_be_visible()
    expect(page.locator("#tables .note")).to_contain_text("Dead letters kept now: 240.")
    facts = page.locator("#servers tbody tr").filter(has_text="commit log").locator(".facts li")
    expect(facts.nth(1)).to_have_text("since start:")
    expect(facts.nth(2)).to_have_text("changes read 0")
    page.set_viewport_size({"width": 390, "height": 800})
    label = page.locator("#tables tbody td").nth(4)
    assert label.get_attribute("data-label") == "Indexed since start"


def test_times_have_a_zone_and_drawings_have_axes_and_values(served: Served, show_at: Show) -> None:
    page = show_at(served.url, timezone_id="Asia/Kolkata")
    expect(page.locator("#zone")).to_have_text(re.compile(r"^times in Asia/(Kolkata|Calcutta), UTC\+5:30$"))
    chart = page.locator("#freshness .chart")
    expect(chart.locator(".top")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(chart.locator(".middle")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(chart.locator(".bottom")).to_have_text("0")
    for edge in (".start", ".end"):
        expect(chart.locator(edge)).to_have_text(re.compile(r"^\d\d:\d\d$"))
    field = chart.locator(".field")
    box = field.bounding_box()
    assert box is not None
    field.hover(position={"x": box["width"] * 0.8, "y": 20})
    reading = chart.locator(".reading")
    expect(reading).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\s+99th percentile \d+ ms, median \d+ ms$"))
    served.tell(work())
    page.wait_for_function("element => element.isConnected", arg=reading.element_handle())
    expect(reading).to_be_visible()
    page.mouse.move(0, 0)
    expect(reading).to_be_hidden()
    expect(chart.locator(".end")).to_be_visible()
