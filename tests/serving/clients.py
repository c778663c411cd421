"""Many clients: 4 processes of threads, each with connections that it keeps. Run as a script by ``serving.Site``.

Nothing but the standard library is imported: a client knows what came over the wire.
"""

import http.client
import json
import multiprocessing
import sys
import threading
import time

PROCESSES = 4
THREADS = 16
BARRIER_SECONDS = 120
PAUSE_SECONDS = 0.02
#: With these it is known what became of a code.
SETTLED = (200, 410, 429)


class Client:
    """One keep-alive connection. One that breaks is an answer with status 0; the next request opens another."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.broken = None

    def send(self, path, body):
        self.broken = None
        try:
            self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        except (OSError, http.client.HTTPException) as error:
            self.broken = self._break(error)

    def receive(self):
        """Return the answer as a dict: its status, what its body says, and who gave it."""
        if self.broken:
            return self.broken
        try:
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return self._break(error)
        is_json = answer.headers["Content-Type"] == "application/json"
        return {
            "status": answer.status,
            "body": json.loads(text) if is_json else text.decode(),
            "retry_after": answer.headers["Retry-After"],
            "worker": answer.headers["X-Worker"],
            "comparisons": int(answer.headers["X-Comparisons"] or 0),
        }

    def ask(self, path, body):
        self.send(path, body)
        return self.receive()

    def _break(self, error):
        self.connection.close()
        body = f"{type(error).__name__}: {error}"
        return {"status": 0, "body": body, "retry_after": None, "worker": None, "comparisons": 0}


def race(plan, number, shared, answers):
    """Send body t, t + 16, t + 32... in thread t, each at the same moment as thread t of the other processes."""
    mine = []

    def client(thread):
        client = Client(plan["ports"][number % len(plan["ports"])])
        for index in range(thread, len(plan["bodies"]), THREADS):
            shared["barriers"][thread].wait(BARRIER_SECONDS)
            mine.append({"index": index, **client.ask(plan["path"], plan["bodies"][index])})

    in_threads(THREADS, client)
    answers.put(mine)


def storm(plan, number, shared, answers):
    """Until told to stop: get a code in each thread, and send it twice at once until it is known what became of it."""
    stopped = shared["stopped"]
    mine = []

    def client(_):
        pair = [Client(plan["ports"][number % len(plan["ports"])]) for _ in range(2)]
        while not stopped.is_set():
            issued = pair[0].ask("/issue/", [{"max_retries": 1000}])
            if issued["status"] != 200:
                time.sleep(PAUSE_SECONDS)
                continue
            code, settled = issued["body"][0], False
            while not settled and not stopped.is_set():
                begun = time.monotonic()
                for one in pair:
                    one.send("/confirm/", {"otp": code["otp"], "context": code["context"]})
                for one in pair:
                    answer = one.receive()
                    settled |= answer["status"] in SETTLED
                    mine.append({**answer, "code": code, "begun": begun, "ended": time.monotonic()})
                if not settled:
                    time.sleep(PAUSE_SECONDS)

    in_threads(plan["threads"], client)
    answers.put(mine)


def in_threads(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    context = multiprocessing.get_context("fork")
    work = {"race": race, "storm": storm}[sys.argv[1]]
    plan = json.loads(sys.stdin.readline())
    shared = {"barriers": [context.Barrier(PROCESSES) for _ in range(THREADS)], "stopped": context.Event()}
    answers = context.SimpleQueue()
    processes = [context.Process(target=work, args=(plan, number, shared, answers)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    if work is storm:
        sys.stdin.read()  # Until the other end is closed.
        shared["stopped"].set()
    found = [answer for _ in processes for answer in answers.get()]
    for process in processes:
        process.join()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
