"""Autobahn's cases, by kosoku: a process of its own, since kosoku runs on asyncio.

    peer.py fuzzingclient URL CONCURRENCY PATTERN...    against a server
    peer.py fuzzingserver PATTERN...                    for a client; says its port

Ends with one line: a list with the verdict of each case.
"""

import asyncio
import json
import sys

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver


async def test_a_server(url, concurrency, patterns):
    return await run_fuzzingclient(url, patterns, concurrency=concurrency)


async def test_a_client(patterns):
    async with run_fuzzingserver(patterns, port=0) as server:
        say(server.port)
        return await server.get_result()


def say(value):
    print(json.dumps(value), flush=True)


def verdict(result):
    return {
        "case": result.case_id,
        "behavior": result.behavior.value,
        "close": result.behavior_close.value,
        "words": f"{result.result} {result.result_close}",
        "expected": repr(result.expected),
        "received": repr(result.received)[:500],
    }


async def main(role, *args):
    try:
        if role == "fuzzingclient":
            results = await test_a_server(args[0], int(args[1]), args[2:])
        else:
            results = await test_a_client(args)
    except FailureError as failure:
        # Carries the same results: all of them, not only those that failed.
        results = failure.results
    say([verdict(result) for result in results])


asyncio.run(main(*sys.argv[1:]))
