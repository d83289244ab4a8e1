"""Owns the releases that `releases` plays, good and bad: each on a stage of its own, under the same users, and the account of it.
A row is a dictionary; `problems` in it are what must not be. Prints nothing."""

import math
import os
import re
import signal
import socket
from collections import Counter

from .lab import Failure, wait_until
from .stage import Stage
from .users import Users

PRICE = "42"
OLD, NEW = "v1", "v2"
# Of the guards of conf/deploy/canary.yaml, which has the proxy's defaults: see the manual's page on rollouts.
WINDOW_S, ERRORS_MAX, ERRORS_MIN, SAMPLES_MIN, DEVIATIONS = 15, 0.01, 5, 20, 3
# How often the proxy looks at the figures.
LOOK_S = 0.25


class Play:
    """What all releases have in common: the binaries, the load, the times."""

    def __init__(self, lab, binaries, options):
        self.lab, self.binaries, self.options = lab, binaries, options
        self.is_quick = options.quick
        self.life_s = 8 if options.quick else 60
        self.times = {"START_PERIOD": "10s", "DRAIN": "10s", "MONITOR": "500ms", "INTERVAL": "100ms", "TRIES": "30"}
        if options.quick:
            self.times |= {"STEP": "3s", "WARM_UP": "500ms", "BAKE": "3s", "DELAY": "500ms", "INCONCLUSIVE": "go_on"}
        else:
            self.times |= {"STEP": "20s", "WARM_UP": "5s", "BAKE": "20s", "DELAY": "2s", "INCONCLUSIVE": "hold"}

    def stage(self, plan, configuration="two-ports.conf", edit=lambda text: text):
        return Stage(self.lab, self.binaries, plan, configuration, edit, self.times)

    def users(self, stage):
        """Users who have been there for a while."""
        users = Users(stage.port, self.options.rate, self.options.users, self.options.seed).start()
        wait_until(lambda: len(users.visits) >= 2 * self.options.rate, 30, "the first answers")
        return users

    def settle(self, users):
        """Long enough to see whether it is over."""
        begun = users.begun
        wait_until(lambda: users.begun >= begun + self.options.rate, 30, "the users")
        return users.finish()


# The account of a row


def is_bad(visit, slow_s):
    return visit.is_failed or visit.text != PRICE or visit.seconds >= slow_s


def tipped_at(visits, begun, slow_s):
    """When the answers that users had by then were over the limit of errors, by the rule that the manual gives; None: never."""
    recent, counts = [], Counter()

    def ratio(version):
        return counts[version, True] / max(1, counts[version, True] + counts[version, False])

    for visit in visits:
        if visit.began < begun:
            continue
        # Answers in the upstream's stead name no version; the old one makes none here.
        key = (OLD if visit.version == OLD else NEW, visit.is_failed)
        recent.append((visit.ended, key))
        counts[key] += 1
        while recent[0][0] < visit.ended - WINDOW_S:
            counts[recent.pop(0)[1]] -= 1
        errors, requests = counts[NEW, True], counts[NEW, True] + counts[NEW, False]
        old = counts[OLD, True] + counts[OLD, False]
        if errors < ERRORS_MIN or requests < SAMPLES_MIN or not old:
            continue
        expected = requests * ERRORS_MAX
        both = (errors + counts[OLD, True]) / (requests + old)
        deviation = math.sqrt(both * (1 - both) * (1 / requests + 1 / old))
        is_over = errors > expected + DEVIATIONS * math.sqrt(expected * (1 - ERRORS_MAX))
        if is_over and ratio(NEW) > 1.5 * ratio(OLD) and ratio(NEW) - ratio(OLD) > 5 * deviation:
            return visit.ended
    return None


def account(row, play, stage, users, visits, begun, slow_s=math.inf):
    """What users saw, what the applications counted, what the receipts say."""
    bad = [visit for visit in visits if is_bad(visit, slow_s)]
    answers = Counter(visit.version for visit in visits)
    row |= {
        "requests": len(visits), "answered_by_new": answers[NEW], "failed": sum(visit.is_failed for visit in visits),
        "faults": sorted({visit.fault or str(visit.status) for visit in visits if visit.is_failed}),
        "bad": len(bad), "users_who_saw_it": len({visit.user for visit in bad}), "late_ms": round(users.late * 1000, 1),
        "p99_ms": round(1000 * sorted(visit.seconds for visit in visits)[len(visits) * 99 // 100], 1),
    }
    row["cause_to_last_bad_s"] = None
    died = [when for when, *words in stage.served(NEW) if words[0] == "died"]
    if bad:
        cause = min(died, default=min(visit.began for visit in bad))
        row["cause_to_last_bad_s"] = round(max(visit.ended for visit in bad) - cause, 3)
    served = Counter()
    for version in (OLD, NEW):
        names = [words[0] for _, *words in stage.served(version) if words[0] != "died"]
        served.update(names)
        if missing := {visit.name for visit in visits if visit.version == version} - set(names):
            row["problems"].append(f"{len(missing)} answers by {version} that it knows nothing of")
    row["served_twice"] = sum(count > 1 for count in served.values())
    receipts = stage.receipts()
    whole = [receipts[0]["before"], *(receipt["after"] for receipt in receipts)] if receipts else []
    row["changes"] = len(receipts)
    row["failed_by_proxy"] = sum(part["failed_by_proxy"] for part in whole)
    row["failed_by_upstream"] = sum(part["failed_by_upstream"] for part in whole)
    if unbalanced := [receipt["revision"] for receipt in receipts if not receipt["balances"]]:
        row["problems"].append(f"receipts {unbalanced} do not balance")
    if row["failed_by_proxy"]:
        row["problems"].append(f"{row['failed_by_proxy']} requests failed by the proxy")
    stood_in = sum(visit.is_failed and not visit.version and visit.status > 0 for visit in visits)
    if whole and row["failed_by_upstream"] != stood_in:
        row["problems"].append(f"receipts say {row['failed_by_upstream']} failed by upstreams, users saw {stood_in}")
    return died


def spotless(row, stage, visits):
    """No request failed, and each was served once: counted by users, by applications and by receipts."""
    if row["failed"]:
        row["problems"].append(f"{row['failed']} failed requests: {', '.join(row['faults'])}")
    if row["failed_by_upstream"]:
        row["problems"].append(f"{row['failed_by_upstream']} requests failed by upstreams")
    mark = visits[0].name.partition("-")[0] + "-"
    served = Counter(words[0] for version in (OLD, NEW) for _, *words in stage.served(version) if words[0].startswith(mark))
    if served != Counter(visit.name for visit in visits):
        row["problems"].append(
            f"applications counted {served.total()} requests ({row['served_twice']} twice), users {len(visits)}")


def sent_back(visits, until=math.inf):
    """Users who had the new version and then the old one."""
    seen, back = set(), set()
    for visit in sorted(visits, key=lambda visit: visit.began):
        if visit.began >= until:
            break
        if visit.version == NEW:
            seen.add(visit.user)
        elif visit.version == OLD and visit.user in seen:
            back.add(visit.user)
    return len(back)


def reason(said):
    """Why a deploy failed, in its own words, and those of a command that did."""
    lines = said.strip().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("proxyctl: "):
            words = [word.strip() for word in lines[number + 1:number + 3]] or [line]
            return " ".join(words) if words[0].endswith(":") else words[0]
    return lines[-1] if lines else ""


def judge_rollback(row, stage, visits, died, begun, slow_s):
    """From the answer that tipped the guard until nobody was sent to the new version any more."""
    rollout = stage.get("/rollouts/1")
    row["why"] = rollout["finding"]["text"] if rollout.get("finding") else ""
    row["ended"] = rollout["phase"].replace("_", " ")
    times = {entry["kind"]: entry["at_ms"] / 1000 for entry in rollout["entries"]}
    if rollout["phase"] != "rolled_back":
        row["problems"].append(f"ended: {row['ended']}, not rolled back")
        return
    decided = times["rolling_back"]
    # Other guards than those of errors have no rule of a line: the proxy looks this often, so it was tipped since the last look.
    tipped = tipped_at(visits, begun, slow_s) if rollout["finding"]["kind"].startswith("error_r") else None
    tipped = tipped if tipped and tipped <= decided else max(decided - LOOK_S, min(died, default=0))
    last = max((visit.began for visit in visits if visit.version == NEW), default=0)
    row["tip_to_back_s"] = round(max(times["rolled_back"], last) - tipped, 3)
    row["rolled_back_at_percent"] = [entry["percent"] for entry in rollout["entries"] if entry["kind"] == "step"][-1]


# The rows


def good(play):
    """A release that is as good as the one before."""
    row = {"release": "good", "problems": []}
    with play.stage("canary.yaml") as stage:
        first(stage)
        users = play.users(stage)
        begun = users.now()
        status, said = stage.run("deploy", "--commit", NEW, "--yes", timeout=300)
        row["took_s"] = round(users.now() - begun, 1)
        visits = play.settle(users)
        account(row, play, stage, users, visits, begun)
        spotless(row, stage, visits)
        row |= {"ended": "100 %" if status == 0 else "undone", "why": "" if status == 0 else reason(said),
                "sent_back": sent_back(visits)}
        if status != 0 or visits[-1].version != NEW:
            row["problems"].append(f"did not reach everybody: {row['why']}")
        if row["sent_back"]:
            row["problems"].append(f"{row['sent_back']} users were sent back to the old version")
    return row


def first(stage, plan="two-ports.yaml"):
    stage.deploy(OLD, *(["--to", "green"] if "two-ports" in plan else []), plan=plan, environment={"BAKE": "0s"})


def bad(play, name, breaks, slow_s=math.inf, edit=lambda text: text, spares=False):
    """A release that its rollout has to take back. `spares`: nobody may see a failed request all the same."""
    row = {"release": name, "problems": []}
    with play.stage("canary.yaml", edit=edit) as stage:
        first(stage)
        users = play.users(stage)
        begun = users.now()
        status, said = stage.run("deploy", "--commit", NEW, "--yes", timeout=300,
                                 environment={"BREAKS": breaks, "BREAKS_VERSION": NEW})
        row["took_s"] = round(users.now() - begun, 1)
        visits = play.settle(users)
        died = account(row, play, stage, users, visits, begun, slow_s)
        judge_rollback(row, stage, visits, died, begun, slow_s)
        if spares and row["failed"]:
            row["problems"].append(f"{row['failed']} failed requests: {', '.join(row['faults'])}")
        left_alone(row, stage, status, said, visits)
    return row


def left_alone(row, stage, status, said, visits):
    """In the end everything is as before."""
    if status != 1 or "is undone, what ran before runs on" not in said:
        row["problems"].append(f"proxyctl ended with {status}: {reason(said)}")
    if visits[-1].version != OLD:
        row["problems"].append(f"{visits[-1].version or 'nobody'} serves in the end")
    if list(stage.pids()) != ["app-green"]:
        row["problems"].append(f"what runs in the end: {', '.join(stage.pids())}")


def stopped(play, name, plan, environment):
    """A release that must not get as far as a single request."""
    row = {"release": name, "problems": []}
    with play.stage(plan) as stage:
        first(stage, "two-ports.yaml")
        users = play.users(stage)
        begun = users.now()
        status, said = stage.run("deploy", "--commit", NEW, "--yes", environment=environment, timeout=120)
        row["took_s"] = round(users.now() - begun, 1)
        visits = play.settle(users)
        account(row, play, stage, users, visits, begun)
        spotless(row, stage, visits)
        left_alone(row, stage, status, said, visits)
        row |= {"ended": "stopped", "why": reason(said)}
        if row["answered_by_new"]:
            row["problems"].append(f"{row['answered_by_new']} answers by the new version")
    return row


def shadowed(play):
    """A release that is quick and well, and answers something else. It is asked what users ask, and nobody gets its answers."""
    row = {"release": "other answers, behind a shadow gate", "problems": []}
    with play.stage("canary.yaml") as stage:
        stage.edit("canary.yaml", "    rollout:\n", "    shadow: {compared_min: 200, time_max: 60s}\n    rollout:\n")
        first(stage)
        users = play.users(stage)
        begun = users.now()
        status, said = stage.run("deploy", "--commit", NEW, "--yes", timeout=120,
                                 environment={"BREAKS": "answers", "BREAKS_VERSION": NEW})
        row["took_s"] = round(users.now() - begun, 1)
        visits = play.settle(users)
        account(row, play, stage, users, visits, begun)
        left_alone(row, stage, status, said, visits)
        rollout = stage.get("/rollouts/1")
        row |= {"ended": "stopped", "why": rollout["finding"]["text"] if rollout.get("finding") else reason(said)}
        row["shadows"] = len([words for _, *words in stage.served(NEW)])
        for what, count in (("failed requests", row["failed"]), ("answers by the new version", row["answered_by_new"]),
                            ("wrong answers", row["bad"])):
            if count:
                row["problems"].append(f"{count} {what}")
        if rollout["phase"] != "failed" or not row["shadows"]:
            row["problems"].append(f"the gate did not stop it: {rollout['phase']}, {row['shadows']} requests mirrored")
    return row


def rolling(play):
    """Three replicas, one after another, the new one first."""
    row = {"release": "three replicas, start-first", "problems": []}
    with play.stage("start-first.yaml", "three-replicas.conf") as stage:
        first(stage, "start-first.yaml")
        users = play.users(stage)
        begun = users.now()
        status, said = stage.run("deploy", "--commit", NEW, timeout=200)
        row["took_s"] = round(users.now() - begun, 1)
        visits = play.settle(users)
        account(row, play, stage, users, visits, begun)
        spotless(row, stage, visits)
        row |= {"ended": "100 %" if status == 0 else "undone", "why": "" if status == 0 else reason(said)}
        if status != 0 or any(visit.version != NEW for visit in visits[-20:]):
            row["problems"].append(f"did not reach everybody: {row['why']}")
    return row


def sites(play):
    """Two sites: drills, failovers by hand, and the death of the one that serves. Three rows."""
    rows = []
    words = ("--primary", "blue", "--secondary", "green")
    with play.stage("two-ports.yaml") as stage:
        apps = [play.lab.spawn(
            ["python3", os.path.join(stage.examples, "app.py")], play.lab.cores.upstream,
            env={**stage.environment, "PORT": str(stage.ports[number]), "VERSION": version})
            for number, version in enumerate((OLD, NEW))]
        wait_until(lambda: all(_listens(port) for port in stage.ports[:2]), 20, "the applications")
        for name, act in (("drill of a failover", _drill), ("failover by hand, and back", _failover), ("primary site killed", _kill)):
            row = {"release": name, "problems": [], "why": ""}
            users = play.users(stage)
            before = len(stage.receipts())
            begun = users.now()
            row["ended"] = act(stage, users, words, apps, row)
            row["took_s"] = round(users.now() - begun, 1)
            visits = play.settle(users)
            account(row, play, stage, users, visits, begun)
            row["changes"] -= before
            if act != _kill:
                spotless(row, stage, visits)
            elif row["failed"]:
                row["problems"].append(f"{row['failed']} failed requests: {', '.join(row['faults'])}")
            rows.append(row)
        for app in apps:
            play.lab.stop(app, signal.SIGKILL)
    return rows


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _drill(stage, users, words, apps, row):
    before = stage.get("/upstreams")
    drills = 20
    for _ in range(drills):
        status, said = stage.run("failover", "--drill", *words)
        if status != 0 or "Would change" not in said:
            row["problems"].append(f"the drill ended with {status}: {said.strip()}")
    if stage.get("/upstreams") != before:
        row["problems"].append("a drill has changed something")
    if any(visit.version == NEW for visit in users.visits):
        row["problems"].append("a drill has moved users")
    return f"{drills} drills changed nothing"


def _failover(stage, users, words, apps, row):
    for site, version in (("secondary", NEW), ("primary", OLD)):
        status, said = stage.run("failover", site, "--wait", *words)
        if status != 0:
            raise Failure(f"proxyctl failover {site}: {said}")
        acknowledged, begun = users.now(), users.begun
        wait_until(lambda: users.begun > begun + 40, 10, "more users")
        wait_until(lambda: len(users.visits) > begun + 20, 10, "their answers")
        if stale := sum(visit.began > acknowledged and visit.version != version for visit in users.visits):
            row["problems"].append(f"{stale} requests after the acknowledgement went to the other site")
    return "there and back"


def _kill(stage, users, words, apps, row):
    apps[0].kill()
    apps[0].wait()
    killed = users.now()
    wait_until(lambda: users.visits[-1].version == NEW, 10, f"the secondary site: {stage.log()}")
    first_there = min(visit.ended for visit in users.visits if visit.version == NEW)
    return f"secondary serves after {max(0, first_there - killed) * 1000:.0f} ms"


def _without_backup(text):
    return re.sub(r" server [^;]* backup;", "", text)


# Name -> what plays it: a row, or a list of them.
ROWS = {
    "good": good,
    "errors": lambda play: bad(play, "5 % errors", "errors:0.05"),
    "slow": lambda play: bad(play, "300 ms slower", "slow:300", slow_s=0.3),
    "dies": lambda play: bad(play, f"dies after {play.life_s} s", f"dies-later:{play.life_s}", spares=True),
    "dies-alone": lambda play: bad(
        play, f"dies after {play.life_s} s, no backup", f"dies-later:{play.life_s}", edit=_without_backup),
    "migration": lambda play: stopped(play, "migration fails", "migrations.yaml", {"BREAKS": "migration"}),
    "health": lambda play: stopped(play, "never healthy", "canary.yaml", {"BREAKS": "health", "BREAKS_VERSION": NEW}),
    "shadow": shadowed,
    "rolling": rolling,
    "sites": sites,
}
