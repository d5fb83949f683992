"""Watchers and regions (agent/fleet/outside.h), and roll-outs (agent/fleet/rollout.h): real agents on a real Redis, a way in for each region."""
import contextlib

from harness import agent, echo_server, until
from relay import relay
from test_fleet import broker, cause, fleet, states, word

REGIONS = ("us", "eu", "ap")
CHECKS = "defaults: { interval: 300ms, fast_interval: 100ms, timeout: 1s }\nchecks: [ { type: handshake }, { type: ping } ]\n"


def conf(url, bus, name, region, more="", identity=""):
    return (f"target: {{ url: '{url}' }}\nidentity: {{ id: {name}, region: {region}{identity} }}\n"
            f"brokers: [ {{ name: bus, type: redis, url: '{bus}' }} ]\n"
            f"fleet: {{ group: chat, every: 400ms, expire: 4s{more} }}\n{CHECKS}")


def start(stack, tmp_path, name, text):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    return stack.enter_context(agent(text, folder))


def found(child):
    return [(finding["cause"], finding["who"]) for finding in fleet(child)["findings"]]


def test_one_region_fails(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, echo_server() as server, contextlib.ExitStack() as stack:
        ways = {region: stack.enter_context(relay(server.port)) for region in REGIONS}
        beside = start(stack, tmp_path, "chat-0", conf(f"ws://127.0.0.1:{server.port}/", bus.url, "chat-0", "eu"))
        watchers = {region: start(stack, tmp_path, region,
                                  conf(f"ws://127.0.0.1:{ways[region].port}/", bus.url, f"watch-{region}", region, ", role: watcher"))
                    for region in REGIONS}
        second = start(stack, tmp_path, "ap-2", conf(f"ws://127.0.0.1:{ways['ap'].port}/", bus.url, "watch-ap-2", "ap", ", role: watcher"))
        everybody = [beside, second, *watchers.values()]
        for child in everybody:
            child.wait_ready()
            until("all know each other", lambda child=child: len(states(child)) == 5)
            assert found(child) == []
        code, table, _ = beside.command("fleet")
        assert code == 0 and "1 ready, 4 watching" in table, table
        assert sum(row["watchers"] for row in fleet(beside)["regions"]) == 4
        metrics = beside.get("/metrics").body.decode()
        assert 'wshealthd_fleet_members{state="watcher",region="us"} 1' in metrics
        assert all(check["path"] == "public" for check in watchers["us"].status()["checks"] if check["type"] != "broker")
        assert "no check of the local path" not in watchers["us"].err()

        ways["us"].close()
        for child in everybody:
            until("its region is named", lambda child=child: found(child) == [("one_region_fails", "us")])
        until("all others get in", lambda: "from region us: all who look from there (1) fail, and 3 elsewhere get in" in beside.command("fleet")[1])
        until("its own diagnosis says so", lambda: cause(watchers["us"]) == "one_region_fails")
        diagnosis = watchers["us"].status()["diagnosis"]
        assert "only from region us does it fail" in diagnosis["sentence"], diagnosis
        assert word(watchers["us"]) == "degraded" and watchers["us"].ready() and watchers["us"].get("/live").status == 200
        assert word(beside) == word(watchers["eu"]) == "ready" and cause(beside) == "healthy"

        ways["eu"].close()
        until("both are named", lambda: sorted(found(beside)) == [("one_region_fails", "eu"), ("one_region_fails", "us")])
        log = beside.err()
        assert log.count("event=fleet_finding ") == 2 and "event=fleet_finding_over" not in log, log
        ways["ap"].close()
        until("it is no fault of one region", lambda: found(beside) == [("public_path_down", None)])
        log = beside.err()
        assert log.count("event=fleet_finding ") == 3 and log.count("event=fleet_finding_over cause=one_region_fails region=") == 2, log
        until("and each says so", lambda: {cause(child) for child in watchers.values()} == {"public_path_down"})
        assert word(beside) == "ready" and all(child.ready() for child in watchers.values())


def test_a_rollout_is_seen(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, echo_server() as server, contextlib.ExitStack() as stack:
        url = f"ws://127.0.0.1:{server.port}/"
        stays = start(stack, tmp_path, "chat-0", conf(url, bus.url, "chat-0", "eu", identity=", version: '1.4'"))
        with contextlib.ExitStack() as old:
            goes = start(old, tmp_path, "chat-1", conf(url, bus.url, "chat-1", "eu", identity=", version: '1.4'"))
            until("both are there", lambda: states(stays) == {"chat-0": "ready", "chat-1": "ready"})
            rollout = fleet(stays)["rollout"]
            assert not rollout["announced"] and rollout["versions"] == 1, rollout
            assert goes.command("drain")[0] == 0
            until("the drain is seen", lambda: fleet(stays)["rollout"]["announced"])
        start(stack, tmp_path, "chat-1", conf(url, bus.url, "chat-1", "eu", identity=", version: '1.5'"))
        until("the version is seen", lambda: fleet(stays)["rollout"]["to"] == "1.5")
        answer = fleet(stays)
        assert answer["rollout"]["sentence"].startswith("a roll-out is under way: ") and "1.4 → 1.5" in answer["rollout"]["sentence"], answer
        member = {row["id"]: row for row in answer["members"]}["chat-1"]
        assert member["version"] == "1.5" and member["agent_version"] != "1.5", member
        assert "a roll-out is under way" in stays.command("fleet")[1]
