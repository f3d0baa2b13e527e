"""What happens to a ring of three daemons: nothing, a restart, or random misfortunes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from tests.simulation.ring import NODES, START, RingDaemon, RingOrder, World, finish
from tests.simulation.servers import projection

KEYS = [bytes([number]) for number in range(12)]
MISFORTUNES = (
    *("", "", "", "kill", "terminate", "start", "hang", "go on", "down", "up", "cut", "join"),
    *("restart", "rolling restart", "forget", "lag", "clock", "no search", "search", "search"),
)
Make = Callable[[World, str], RingDaemon]


async def calm(seed: int, make: Make = RingDaemon, *, pause: float = 0.5, restart: bool = False) -> World:
    """Write 60 rows while nothing fails; with `restart`, one daemon is stopped and started when 40 are written."""
    chance = random.Random(seed)
    world = World(chance, make=make)
    for daemon in world.daemons.values():
        daemon.skew = chance.randint(-500_000, 500_000)
        daemon.start()
    for number in range(60):
        time = START + int(asyncio.get_running_loop().time() * 1e6) + number
        world.write(chance.choice(NODES), KEYS[number % 12], f"v{number}", time, dropped=None, hint=1.0)
        await asyncio.sleep(pause)
        if restart and number == 40:
            returning = world.daemons[chance.choice(NODES)]
            await returning.terminate()
            returning.start()
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
    return await ends_equal(world)


async def stopped_takeovers(seed: int, make: Make = RingDaemon) -> bool:
    """Stop the two other daemons while they write a dead daemon's changes; return whether it ends equal."""
    world = World(random.Random(seed), make=make)
    for daemon in world.daemons.values():
        daemon.start()
    await world.daemons["a"].kill()
    world.index.open.clear()
    for number, key in enumerate(each for each in KEYS if RingOrder(world, "a").owns(each)):
        world.write(world.chance.choice(NODES), key, f"v{number}", START + number, dropped=None, hint=0.0)
    await asyncio.sleep(90)
    for node in ("b", "c"):
        await world.daemons[node].terminate()
        world.daemons[node].start()
    return await ends_equal(world)


async def trouble(seed: int, make: Make = RingDaemon) -> bool:
    """Cause misfortunes while rows change; return whether the index ends equal to the rows."""
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
    lost = chance.choice(["", "", "", "", "killed", "hung"])
    await asyncio.sleep(chance.choice([0.0, 5.0, 90.0]))
    for node, daemon in world.daemons.items():
        daemon.awake.set()
        daemon.lag = 0.0
        if lost == "killed" and node == unlucky:
            await daemon.kill()
        elif lost == "hung" and node == unlucky:
            daemon.awake.clear()
        elif not daemon.runs:
            daemon.start()
    return await ends_equal(world)


async def ends_equal(world: World) -> bool:
    """Heal everything; return whether all is acknowledged within an hour, and the index is equal to the rows."""
    try:
        await finish(world)
    except TimeoutError:
        return False
    else:
        return equal(world)
    finally:
        await stop(world)


async def misfortune(world: World, unlucky: str, chance: random.Random) -> None:  # noqa: C901, PLR0912
    """Do something to the unlucky node, its daemon or its network; or to another daemon, which returns soon."""
    daemon, replica = world.daemons[unlucky], world.replicas[unlucky]
    match chance.choice(MISFORTUNES):
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
        case "rolling restart":
            other = world.daemons[chance.choice(NODES)]
            if other.runs:
                await other.terminate()
                other.start()
        case "no search":
            world.index.open.clear()
        case "search":
            world.index.open.set()
        case "terminate":
            await daemon.terminate()
        case "lag":
            daemon.lag = chance.choice([0.0, 2.0, 30.0])
        case "clock":
            world.daemons[chance.choice(NODES)].skew = chance.randint(-900_000, 900_000)
        case "forget":
            await daemon.kill()
            daemon.saved = daemon.bound = 0
            daemon.start()
        case _:
            pass
