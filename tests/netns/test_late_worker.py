# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker that was held up while something changed catches up with it when it runs again."""
from hold import held
from lib import wait_for
from traffic import Books, Box, ask, frame, settled


def test_a_worker_that_was_late_is_one_of_the_crew_again(net):
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start(daemon="workers = 2")
    late = ask(daemon, "show workers")["workers"][0]
    with held(late["tid"]):
        net.ip("box", "link", "set", "lan", "mtu", 1200)
        daemon.wait_log("worker 0: does not respond")
        assert ask(daemon, "status")["status"]["degraded"] is True
        # While it hangs there is more to be told to it.
        net.ip("box", "link", "set", "lan", "mtu", 1300)
        wait_for(lambda: {i["interface"]: i["mtu"] for i in ask(
            daemon, "show interfaces")["interfaces"]}["lan"] == 1300, "the MTU is 1300")
    daemon.wait_log("worker 0: responds again")
    wait_for(lambda: not ask(daemon, "status")["status"]["degraded"], "all is well")
    assert Books(daemon.metrics()).sum("sluice_worker_stalled") == 0

    def obeys():
        before = settled(daemon).drops("wan", reason="mtu")
        net.gen("a", "send", "va", "--count", "2", "--queues", "0-1", "--size", "1315")
        return settled(daemon).drops("wan", reason="mtu") - before == 2
    wait_for(obeys, "both workers know the MTU")
    assert box.play([frame(length=1314)]) == [frame(length=1314)]
    box.cross_intact(2000, "--queues", "all", "--rate", "20k")
    # It is no stranger to a change that needs every worker's hand either.
    net.ip("box", "link", "del", "lan")
    daemon.wait_log("lan does not exist")
    daemon.stop()
    assert "does not respond" not in daemon.log().partition("responds again")[2]


def test_what_a_late_worker_counts_is_counted(net):
    """Its port is rebuilt without it; what it then does with the old lanes stays in the books."""
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start(daemon="workers = 2")
    late = ask(daemon, "show workers")["workers"][0]
    with held(late["tid"]):
        net.gen("a", "send", "va", "--count", "400", "--queues", "0-1", "--rate", "20k")
        daemon.configure(daemon.config_path.read_text().replace("timeout = 5s", "timeout = 6s"))
        daemon.control("reload")
        daemon.wait_log("worker 0: does not respond")
    daemon.wait_log("worker 0: responds again")
    wait_for(lambda: not ask(daemon, "status")["status"]["degraded"], "all is well")
    books = settled(daemon)
    assert books.verdict("wan", "redirect") == 400
    assert books.queue("receive_packets_total", "wan") + \
        books.queue("receive_abandoned_packets_total", "wan") == 400
    box.cross_intact(2000, "--queues", "all", "--rate", "20k")
    daemon.stop()
