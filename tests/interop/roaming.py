"""What a real client does after its first path and aioice does not: it goes on looking.

Every pair is checked for as long as it exists, with the credentials of the beginning. The best one that was answered is
nominated and carries the traffic; when it or its remote candidate goes, the next best. Candidates may come and go.
"""

import asyncio
import time

import aioice
from aioice.ice import CandidatePair, candidate_pair_priority

# Of a real client while there is traffic, and without.
FIRST, STEADY, TRIES = 0.25, 1.5, 12
IDLE_AFTER, IDLE_STEADY, IDLE_TRIES = 20, 25, 4
SUCCEEDED, WAITING = CandidatePair.State.SUCCEEDED, CandidatePair.State.WAITING


def describe(pair):
    sides = {}
    for side, candidate in (("local", pair.local_candidate), ("remote", pair.remote_candidate)):
        sides[side] = {"type": candidate.type, "address": candidate.host, "port": candidate.port}
    relayed = "relay" in (sides["local"]["type"], sides["remote"]["type"])
    return {"kind": "relayed" if relayed else "direct", **sides}


class Connection(aioice.Connection):
    """aioice's connection up to roam(); from then on its checks, pairs and candidates in another order of events."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.carrier = None
        self.checked = {}            # pair -> [the task that checks it, an event that makes it check at once]
        self.chosen = set()          # pairs that were selected once: their checks say so for ever
        self.selected = None
        self.gone = set()            # addresses of removed candidates: their checks are not answered
        self.tries = TRIES
        self.selections = []         # for the tests: {t, pair}
        self.active_at = time.monotonic()

    def roam(self, carrier):
        """To be called once connected."""
        self._query_consent_handle.cancel()    # each check is one
        self._query_consent_handle = asyncio.ensure_future(self.watch_traffic())
        self.carrier = carrier
        self.select(self._nominated[1])
        for pair in self._check_list:
            self.check(pair)

    async def watch_traffic(self):
        """Wakes the checks when there is something to send after a silence."""
        while True:
            await self.carrier.wanted.wait()
            self.carrier.wanted.clear()
            self.wake()
            await asyncio.sleep(0.1)

    def wake(self):
        was_idle, self.active_at = self.idle(), time.monotonic()
        for pair in self._check_list if was_idle else ():
            self.check(pair)

    def idle(self):
        return time.monotonic() - self.active_at > IDLE_AFTER

    # --- candidates

    async def add_remote_candidate(self, remote_candidate):
        self.gone.discard((remote_candidate.host, remote_candidate.port))
        for known in self._remote_candidates:
            if known.type == "prflx" and (known.host, known.port) == (remote_candidate.host, remote_candidate.port):
                known.type, known.priority = remote_candidate.type, remote_candidate.priority
                known.foundation = remote_candidate.foundation
                return self.sort_check_list()
        await super().add_remote_candidate(remote_candidate)
        if self.carrier:
            self.wake()
            for pair in self._check_list:
                if pair.remote_candidate is remote_candidate:
                    self.check(pair)
        return None

    def remove_remote_candidate(self, gone):
        address = (gone.host, gone.port)
        self._remote_candidates = [candidate for candidate in self._remote_candidates
                                   if (candidate.type, candidate.host, candidate.port) != (gone.type, *address)]
        if all((candidate.host, candidate.port) != address for candidate in self._remote_candidates):
            self.gone.add(address)
        self.wake()
        for pair in list(self._check_list):
            if pair.remote_candidate not in self._remote_candidates:
                self.remove(pair)

    def request_received(self, message, addr, protocol, raw_data):
        if addr not in self.gone:
            super().request_received(message, addr, protocol, raw_data)

    # --- pairs

    def check_complete(self, pair):
        """aioice would take every pair for failed when one is answered while the one that is nominated is not yet."""
        waiting = pair.component in self._nominating and pair.component not in self._nominated
        if pair.state != SUCCEEDED or pair.nominated or not waiting:
            super().check_complete(pair)

    async def check_start(self, pair):
        """What aioice calls for a pair that the other side has checked."""
        if self.carrier is None:
            await super().check_start(pair)
        else:
            self.check(pair)

    def check(self, pair):
        """Now, and from now on."""
        if pair not in self.checked:
            now = asyncio.Event()
            self.checked[pair] = [asyncio.ensure_future(self.keep_checking(pair, now)), now]
        self.checked[pair][1].set()

    async def keep_checking(self, pair, now):
        if pair.state != SUCCEEDED:
            self.check_state(pair, WAITING)
        missed = 0
        while missed < (IDLE_TRIES if self.idle() else self.tries):
            now.clear()
            started = time.monotonic()
            missed = 0 if await self.is_answered(pair) else missed + 1
            if missed == 0:
                self.check_state(pair, SUCCEEDED)
                self.nominate(pair)
            wait = min(FIRST * 2 ** (missed - 1), STEADY) if missed else STEADY
            wait = (IDLE_STEADY if self.idle() else wait) - (time.monotonic() - started)
            if wait > 0:
                try:
                    await asyncio.wait_for(now.wait(), wait)
                except asyncio.TimeoutError:
                    pass
        self.remove(pair)

    async def is_answered(self, pair):
        request = self.build_request(pair, nominate=pair in self.chosen)
        try:
            _, addr = await pair.protocol.request(request, pair.remote_addr, retransmissions=0,
                                                  integrity_key=self.remote_password.encode())
        except aioice.stun.TransactionError:
            return False
        return addr == pair.remote_addr

    def remove(self, pair):
        if pair not in self._check_list:
            return
        self._check_list.remove(pair)
        self.chosen.discard(pair)
        task, _ = self.checked.pop(pair, (None, None))
        if pair is self._nominated.get(1):
            del self._nominated[1]
        if pair is self.selected:
            self.selected = None
            for other in sorted(self._check_list, key=self.priority, reverse=True):
                if other.state == SUCCEEDED:
                    self.select(other)
                    break
        if task and task is not asyncio.current_task():
            task.cancel()

    def priority(self, pair):
        return candidate_pair_priority(pair.local_candidate, pair.remote_candidate, self.ice_controlling)

    def nominate(self, pair):
        """A pair was answered: it is selected if it is better, and carries the traffic once it knows of it."""
        if self.selected is None or self.priority(pair) > self.priority(self.selected):
            self.select(pair)
        elif pair is self.selected and pair is not self._nominated.get(1):
            pair.nominated = True
            self.check_complete(pair)
            self.selections.append({"t": time.time(), "pair": describe(pair)})

    def select(self, pair):
        self.selected = pair
        self.chosen.add(pair)
        self.check(pair)

    async def close(self):
        for task, _ in self.checked.values():
            task.cancel()
        await super().close()
