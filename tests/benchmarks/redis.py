"""A verification on Redis beside the two EVALSHA that it consists of.

``redis-py`` is what a Django team would send them with: ``redis.Redis.evalsha()``. ``wire`` is the ledger's own way of
sending a command, without redis-py's client on top; less cannot be done in Python.
"""

from __future__ import annotations

from typing import Any

import redis

import backends
from benchmarks.ledgers import server
from benchmarks.measuring import EMAIL, medians, progress, report, set_up, timed, times_the_cost
from otp_actions import conf
from otp_actions.ledgers import ledger_for
from otp_actions.services import generate_otp, verify_otp

ROUNDS, WARM_UP, CALLS = 41, 2, 150


def unpacked(packed: bytes) -> list[bytes]:
    """Return the words of a command as Redis reads it: the size of each stands before it."""
    words = []
    while packed:
        head, _, packed = packed.partition(b"\r\n")
        size = int(head[1:])
        words.append(packed[:size])
        packed = packed[size + 2 :]
    return words


def measure(url: str) -> dict[str, float]:
    """Return the median microseconds of each."""
    ledger: Any = ledger_for(conf.current())
    sender = ledger._server
    ask = sender.ask

    def recorded(issued: tuple[str, str]) -> list[tuple[int, bytes]]:
        """Return the commands that verifying *issued* sends, packed."""
        commands: list[tuple[int, bytes]] = []
        sender.ask = lambda *command: commands.append(command) or ask(*command)
        try:
            verify_otp(*issued)
        finally:
            sender.ask = ask
        return commands

    # To run the same commands again as if for the first time, the database is emptied in between.
    samples: dict[str, list[float]] = {"ours": [], "redis-py": [], "wire": []}
    with redis.Redis.from_url(url) as client:

        def by_client(*commands: list[bytes]) -> None:
            for _, sha, keys, *words in commands:
                client.evalsha(sha, int(keys), *words)

        def on_the_wire(*commands: tuple[int, bytes]) -> None:
            for count, packed in commands:
                ask(count, packed)

        verify_otp(*generate_otp(EMAIL))  # Loads the scripts.
        for turn in progress(ROUNDS + WARM_UP):
            issued = [generate_otp(EMAIL) for _ in range(CALLS)]
            packed = [recorded(one) for one in issued]
            commands = [[unpacked(words) for _, words in each] for each in packed]
            assert all([words[0] for words in each] == [b"EVALSHA", b"EVALSHA"] for each in commands)
            for name, call, work in (
                ("redis-py", by_client, commands),
                ("ours", verify_otp, issued),
                ("wire", on_the_wire, packed),
            ):
                client.flushdb()
                took = timed(call, work)
                if turn >= WARM_UP:
                    samples[name].append(took / CALLS / 1000)
        client.flushdb()
    return medians(samples)


def main() -> None:
    try:
        url = server("redis")
    except backends.Missing as error:
        return report([], {}, {"Redis": str(error)})
    set_up(OTP_LEDGER="redis", OTP_REDIS_URL=url)
    time = measure(url)
    report(
        [
            times_the_cost("verify_otp, to two redis.Redis.evalsha()", time["ours"], time["redis-py"]),
            times_the_cost("verify_otp, to the two on the wire alone", time["ours"], time["wire"]),
        ],
        time,
    )
    return None


if __name__ == "__main__":
    main()
