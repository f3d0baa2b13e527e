"""What happens to a ring of three daemons: nothing for half a minute, or one misfortune after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from tests.simulation.ring import NODES, START, RingDaemon, RingOrder, World, finish
from tests.simulation.servers import projection

KEYS = [bytes([number]) for number in range(12)]
Make = Callable[[World, str], RingDaemon]


async def calm(seed: int, make: Make = RingDaemon, *, pause: float = 0.5) -> World:
    """Write a row after the other while nothing fails."""
    chance = random.Random(seed)
    world = World(chance, make=make)
    for daemon in world.daemons.values():
        daemon.skew = chance.randint(-500_000, 500_000)
        daemon.start()
    for number in range(60):
        time = START + int(asyncio.get_running_loop().time() * 1e6) + number
        world.write(chance.choice(NODES), KEYS[number % 12], f"v{number}", time, dropped=None, hint=1.0)
        await asyncio.sleep(pause)
    await finish(world, seconds=60)
    return world


def equal(world: World) -> bool:
    return {identity: body for identity, (_, body) in world.index.documents.items()} == projection(world.truth)


async def stop(world: World) -> None:
    for daemon in world.daemons.values():
        await daemon.kill()


async def twins(make: Make = RingDaemon) -> bool:
    """Write two values with one write time; the owner drops the one that counts. Return whether it ends equal."""
    world = World(random.Random(1), make=make)
    for daemon in world.daemons.values():
        daemon.start()
    owner = RingOrder(world, "a").replicas(RingOrder(world, "a").token(KEYS[0]))[0]
    world.write("a", KEYS[0], "v1", START, dropped=None, hint=0.0)
    await asyncio.sleep(0.5)
    world.write("a", KEYS[0], "v2", START, dropped=owner, hint=0.0)
    await finish(world)
    found = equal(world)
    await stop(world)
    return found


async def trouble(seed: int, make: Make = RingDaemon) -> bool:
    """Cause one misfortune after another while rows change; return whether the index ends equal to the rows."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    world = World(chance, make=make)
    for daemon in world.daemons.values():
        daemon.skew = chance.randint(-900_000, 900_000)
        daemon.lag = chance.choice([0.0, 0.0, 0.2, 8.0])
        daemon.start()
    # At most one node loses its daemon for good: what only two such nodes have in their logs could not be found.
    unlucky = chance.choice(NODES)
    time = START
    for number in range(chance.randint(5, 40)):
        await misfortune(world, unlucky, chance)
        # Write times of clients: some are equal, some are old.
        if chance.random() < 0.8:
            time = max(time, START + int(loop.time() * 1e6))
        world.write(
            chance.choice(NODES),
            chance.choice(KEYS),
            f"v{number}",
            time,
            dropped=chance.choice([None, None, *NODES]),
            hint=chance.choice([0.0, 0.5, 20.0]),
        )
        await asyncio.sleep(chance.choice([0.0, 0.05, 1.0, 6.0]))
    lost = chance.random() < 0.3
    await asyncio.sleep(chance.choice([0.0, 5.0, 90.0]))
    for node, daemon in world.daemons.items():
        daemon.awake.set()
        daemon.lag = 0.0
        if lost and node == unlucky:
            await daemon.kill()
        elif not daemon.runs:
            daemon.start()
    await finish(world)
    found = equal(world)
    await stop(world)
    return found


async def misfortune(world: World, unlucky: str, chance: random.Random) -> None:
    """Do something to the unlucky node, its daemon or its network; or to another daemon, which returns soon."""
    daemon, replica = world.daemons[unlucky], world.replicas[unlucky]
    match chance.choice(
        ["", "", "", "kill", "start", "hang", "go on", "down", "up", "cut", "join", "restart", "forget"]
    ):
        case "kill":
            await daemon.kill()
        case "start" if not daemon.runs:
            daemon.start()
        case "hang":
            daemon.awake.clear()
        case "go on":
            daemon.awake.set()
        case "down":
            replica.up = False
        case "up":
            replica.up = True
        case "cut":
            world.cut.add(frozenset((unlucky, chance.choice([node for node in NODES if node != unlucky]))))
        case "join":
            world.cut.clear()
        case "restart":
            other = world.daemons[chance.choice(NODES)]
            if other.runs:
                await other.kill()
                other.start()
        case "forget":
            await daemon.kill()
            daemon.saved = 0
            daemon.start()
        case _:
            pass
