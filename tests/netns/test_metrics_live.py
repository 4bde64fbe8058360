# SPDX-License-Identifier: GPL-2.0-or-later
"""
The metrics page of a daemon that works: scraping costs no frame, what it says is true at every
moment, and neither side of it waits for the other.
"""
import http.client
import re
import socket
import subprocess
import threading

import pytest

from hold import held
from lib import parse_metrics, wait_for
from traffic import Books, Box, ask, settled

SCRAPES = 200


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(daemon, path="/metrics"):
    """(status, headers, body), without a process in between."""
    connection = UnixConnection(daemon.metrics_listen.removeprefix("unix:"))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def counters_of(page):
    """The series that may only grow: counters, and a histogram's buckets, count and sum."""
    kinds = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", page))
    return {key: value for key, value in parse_metrics(page).items()
            if kinds.get(key[0]) == "counter" or
            kinds.get(re.sub(r"_(bucket|count|sum)$", "", key[0])) == "histogram"}


def promtool(page):
    return subprocess.run(["promtool", "check", "metrics"], input=page, text=True,
                          capture_output=True, check=False)


def check_monotone(pages):
    assert len(pages) > 1
    last = counters_of(pages[0])
    assert len(last) > 50
    for page in pages[1:]:
        now = counters_of(page)
        assert last.keys() <= now.keys()
        for key, value in last.items():
            assert now[key] >= value, (key, value, now[key])
        last = now


def test_scraping_under_load_costs_no_frame(net):
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start(daemon="workers = 2")
    pages, stop = [], threading.Event()

    def scrape():
        while not stop.is_set() or len(pages) < SCRAPES:
            status, _, page = get(daemon)
            assert status == 200
            pages.append(page)
            stop.wait(0.005)
    scraper = threading.Thread(target=scrape)
    scraper.start()
    try:
        box.cross_both_ways_intact(60_000, "--queues", "all", "--flows", "8", "--rate", "40k")
    finally:
        stop.set()
        scraper.join()
    assert len(pages) >= SCRAPES
    check_monotone(pages)
    # They were taken while it worked, not before and after.
    received = [Books(parse_metrics(p)).queue("receive_packets_total", "wan") for p in pages[::10]]
    assert len({n for n in received if 0 < n < 60_000}) > 3
    assert promtool(pages[len(pages) // 2]).stdout == ""
    # Everything that design.md promises can be computed from this page alone.
    books = settled(daemon)
    assert books.errors() == []
    assert books.queue("transmit_completed_packets_total", "lan") >= 60_000


def test_a_page_in_the_middle_of_a_flood_is_well_formed(net):
    """A worker counts on while it is read: never can less have come in than went out."""
    box = Box(net, queues=2)
    daemon = box.start(daemon="workers = 2")
    pages = []
    flood = net.popen("a", _generator(), "send", "va", "--flood", "--duration", "1s", "--cpu", "0",
                      stdout=subprocess.DEVNULL)
    while flood.poll() is None:
        pages.append(get(daemon)[2])
    settled(daemon)
    pages.append(get(daemon)[2])
    check_monotone(pages)
    for page in pages:
        books = Books(parse_metrics(page))
        assert books.sum("sluice_umem_frames") == books.sum("sluice_umem_size_frames")
        assert books.sum("sluice_umem_frames_lost") == 0
    for page in (pages[len(pages) // 2], pages[-1]):
        done = promtool(page)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    control = promtool(pages[0].replace("_total counter", "_total gauge", 1))
    assert control.returncode != 0 or control.stdout + control.stderr, "promtool does not look"


def _generator():
    from lib import binary
    return binary("tools/sluice-gen")


@pytest.mark.sanitizer
def test_health_and_readiness(net):
    box = Box(net)
    daemon = box.start()
    status, headers, page = get(daemon)
    assert status == 200 and promtool(page).returncode == 0
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert get(daemon, "/healthz")[0] == get(daemon, "/readyz")[0] == 200
    assert get(daemon, "/nosuch")[0] == 404
    net.ip("box", "link", "del", "wan")
    wait_for(lambda: get(daemon, "/readyz")[0] == 503, "not ready without its port")
    assert get(daemon, "/healthz")[0] == 200
    assert Books(daemon.metrics()).sum("sluice_ready") == 0


def test_a_hung_worker_does_not_hold_up_a_scrape(net):
    box = Box(net)
    daemon = box.start()
    tid = ask(daemon, "show workers")["workers"][0]["tid"]
    with held(tid):
        wait_for(lambda: Books(daemon.metrics()).sum("sluice_worker_stalled") == 1,
                 "the page says that the worker stands still")
        assert get(daemon, "/healthz")[0] in (200, 503)
        page = get(daemon)[2]
        assert promtool(page).returncode == 0
    wait_for(lambda: Books(daemon.metrics()).sum("sluice_worker_stalled") == 0, "it runs again")
    assert Books(parse_metrics(page)).sum("sluice_umem_frames_lost") == 0


def test_a_scrape_that_hangs_holds_up_no_worker(net):
    """The control thread is stopped in the middle of scrapes, wherever it is; frames cross."""
    box = Box(net)
    daemon = box.start()
    asking = threading.Event()

    def scrape():
        while not asking.is_set():
            get(daemon)
    scraper = threading.Thread(target=scrape)
    scraper.start()
    try:
        for i in range(20):
            before = len(daemon.metrics())
            assert before
            with held(daemon.pid):
                frames = [bytes(6) + bytes(6) + b"\x88\xb6" + bytes([i] * 46)] * 50
                assert box.play(frames) == frames
    finally:
        asking.set()
        scraper.join()
    books = settled(daemon)
    assert books.queue("transmit_completed_packets_total", "lan") == 20 * 50
