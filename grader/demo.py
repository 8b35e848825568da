"""What a TA runs in lecture: the real programs of a stage in one narrated scene.

A tap stands between clients and server, so that the bytes that travel can be shown. The
programs are those in solutions/.
"""

from __future__ import annotations

import selectors
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .harness.build import KIT, Build
from .harness.lab import Lab
from .harness.peer import Peer
from .harness.program import Program
from .harness.wire import count, show
from .report.terminal import INDENT, WIDTH, event_lines
from .report.wrap import wrap
from .selftest.corpus import apply, mutant_named

COLOURS = {"server": "cyan", "alice": "green", "bob": "magenta", "carol": "yellow"}


@dataclass(slots=True)
class Scene:
    """One scene: narration, Enter, action, and what can be seen of it."""

    lab: Lab
    auto: bool
    console: Console
    names: dict[int, str] = field(default_factory=dict)

    def tell(self, words: str) -> None:
        """Says what comes next and waits for Enter."""
        self.console.print()
        for line in wrap(words, min(self.console.width, WIDTH) - 2):
            self.console.print(Text(f"  {line}", style="bold"))
        if not self.auto:
            self.console.input(Text("  [Enter] ", style="dim"))

    def line(self, who: str, text: str) -> None:
        """One labelled line."""
        self.console.print(Text.assemble((f"{who:>8} ", COLOURS.get(who.split()[0], "white")), ("| ", "dim"), text),
                           overflow="ellipsis", no_wrap=True)

    def server(self) -> Program:
        """Starts the server and shows the lines that it prints."""
        server = self.lab.server()
        self.names[id(server)] = "server"
        self.line("server", f"listens on port {server.address[1]}")
        return server

    def client(self, server: Program, name: str, *arguments: str) -> tuple[Program, Peer, Peer]:
        """Starts a client that reaches the server through the tap."""
        listener = self.lab.listen()
        client = self.lab.client(listener, *arguments)
        left = self.lab.accept(listener, f"to {name}")
        right = self.lab.connect(server, f"from {name}")
        self._forward(left, right, f"{name} -> server", name)
        self._forward(right, left, f"server -> {name}", "server")
        self.names[id(client)] = name
        return client, left, right

    def _forward(self, source: Peer, target: Peer, arrow: str, who: str) -> None:
        """Shows what comes from `source`, and hands it on to `target`."""
        plain_read = source._read

        def pass_on() -> None:
            if source.received:
                data = bytes(source.received)
                source.received.clear()
                self._arrow(arrow, f"{show(data)}  {count(len(data))}", who)
                target.send(data)
            elif source.ended and not target.ended:
                self._arrow(arrow, "end of the connection", who)
                target.half_close()

        def read() -> None:
            plain_read()
            pass_on()

        pass_on()  # what came before the tap was ready
        if not source.ended:
            self.lab.selector.modify(source.sock, selectors.EVENT_READ, read)

    def _arrow(self, arrow: str, what: str, who: str) -> None:
        self.console.print(Text.assemble((f"{'':>8} ", ""), ("| ", "dim"), (f"  {arrow}  {what}", f"dim {COLOURS.get(who, 'white')}")))

    def says(self, client: Program, text: str) -> None:
        """Types a line into a client."""
        self.line(self.names[id(client)], f"reads from the keyboard: {text}")
        client.write(text.encode() + b"\n")

    def prints(self, program: Program, text: str) -> None:
        """Waits until the program has printed the line, and shows it."""
        program.expect_line(text.encode())
        self.line(self.names[id(program)], f"prints on stdout: {text}")


def play(stage: int | None, *, auto: bool) -> int:
    """Plays the scene of the stage; returns the exit status."""
    scenes: dict[int, Callable[[Scene], None]] = {1: _echo, 2: _framing, 3: _threads, 4: _relay}
    lab = _lab(stage or 4, KIT / "solutions", KIT / "build" / "demo")
    console = Console(highlight=False)
    try:
        scenes[stage or 4](Scene(lab, auto or not sys.stdin.isatty(), console))
    finally:
        lab.close()
    console.print()
    return 0


def _lab(stage: int, source: Path, out: Path) -> Lab:
    out.mkdir(parents=True, exist_ok=True)
    return Lab(stage, Build(source, out), patience=2.0, logs=str(out))


def _echo(scene: Scene) -> None:
    scene.tell("Stage 1. A server waits. alice connects, sends one message, and prints what comes back.")
    server = scene.server()
    client, _, _ = scene.client(server, "alice", "hello")
    scene.prints(server, "received: hello")
    scene.prints(client, "reply: hello")
    client.expect_exit(0)
    scene.tell("The connection is over, and the server waits for the next client: bob.")
    client, _, _ = scene.client(server, "bob", "good morning")
    scene.prints(server, "received: good morning")
    scene.prints(client, "reply: good morning")


def _framing(scene: Scene) -> None:
    scene.tell("Stage 2. Many messages on one connection. DONE ends each: TCP itself keeps no boundaries.")
    server = scene.server()
    client, _, _ = scene.client(server, "alice")
    for text in ("hello", "two words"):
        scene.says(client, text)
        scene.prints(client, text)
    scene.tell("And a message that contains DONE? The sender puts a backslash in front.")
    scene.says(client, "I am DONE")
    scene.prints(client, "I am DONE")
    scene.tell("QUIT is the last message: the server answers BYE and closes.")
    scene.says(client, "QUIT")
    scene.prints(client, "BYE")
    client.expect_exit(0)


def _threads(scene: Scene) -> None:
    scene.tell("Stage 3. alice is connected and says nothing. Does bob have to wait?")
    server = scene.server()
    alice, _, _ = scene.client(server, "alice")
    bob, _, _ = scene.client(server, "bob")
    scene.says(bob, "is anybody there?")
    scene.prints(bob, "is anybody there?")
    scene.tell("He does not: each client has a thread of its own. alice is served as well.")
    scene.says(alice, "I am here, too")
    scene.prints(alice, "I am here, too")


def _relay(scene: Scene) -> None:
    scene.tell("Stage 4. The server keeps a table of names. alice and bob enter it.")
    server = scene.server()
    alice, _, _ = scene.client(server, "alice", "alice")
    scene.prints(alice, "OK")
    bob, _, _ = scene.client(server, "bob", "bob")
    scene.prints(bob, "OK")
    scene.tell("alice writes to bob. The server looks up his name and sends it to his socket.")
    scene.says(alice, "TO bob hello")
    scene.prints(bob, "FROM alice hello")
    scene.prints(alice, "OK")
    scene.tell("bob answers, and asks who is there.")
    scene.says(bob, "TO alice nice to see you")
    scene.prints(alice, "FROM bob nice to see you")
    scene.prints(bob, "OK")
    scene.tell("bob quits: his name leaves the table, his thread ends. alice finds nobody.")
    scene.says(bob, "QUIT")
    scene.prints(bob, "BYE")
    scene.says(alice, "TO bob still there?")
    scene.prints(alice, "ERR no such user")


def show_limit(stage: int | None) -> int:
    """Shows the limit of the stage that the next one removes; returns the exit status."""
    stage = stage or 1
    source = KIT / "solutions"
    out = KIT / "build" / "break"
    if stage == 4:
        mutant = mutant_named("lock_while_sending")
        shutil.rmtree(out / mutant.id, ignore_errors=True)
        source = apply(mutant, out / mutant.id)
    lab = _lab(stage, source.resolve(), out)
    console = Console(highlight=False)
    try:
        words = {1: _cut_message, 2: _second_client_waits, 3: _cannot_talk, 4: _lock_stops_all}[stage](lab)
        events = [asdict(event) for event in lab.events]
        for _style, line in event_lines(events, len(events), min(console.width, WIDTH) - len(INDENT)):
            console.print(Text(line, overflow="ellipsis", no_wrap=True))
    finally:
        lab.close()
    console.print()
    console.print(Text(words, style="bold"))
    return 0


def _cut_message(lab: Lab) -> str:
    server = lab.server()
    peer = lab.connect(server, "alice")
    peer.send_pieces(b"one message ")
    peer.send(b"in two halves")
    peer.expect_end(nothing_more=False)
    server.expect_line(b"received: one message ")
    return "Only the first half came back: the server took one recv() for the whole message. Stage 2 marks its end."


def _second_client_waits(lab: Lab) -> str:
    server = lab.server()
    alice = lab.connect(server, "alice")
    alice.send_message(b"hello")
    alice.expect_message(b"hello")
    bob = lab.connect(server, "bob")
    bob.send_message(b"is anybody there?")
    lab.let_pass(2.0)
    waited = not bob.received
    alice.close()
    bob.expect_message(b"is anybody there?")
    return "bob was answered only when alice had left." if waited else "bob was answered while alice was connected."


def _cannot_talk(lab: Lab) -> str:
    server = lab.server()
    alice, bob = lab.connect(server, "alice"), lab.connect(server, "bob")
    alice.send_message(b"TO bob hello")
    alice.expect_message(b"TO bob hello")
    bob.send_message(b"any mail?")
    bob.expect_message(b"any mail?")
    return "alice's message came back to alice. Both are connected, and bob has heard nothing. Stage 4 forwards it."


def _lock_stops_all(lab: Lab) -> str:
    server = lab.server()
    alice, carol = lab.connect(server, "alice"), lab.connect(server, "carol")
    bob = lab.connect(server, "bob", receive_buffer=4096)
    for peer in (alice, bob, carol):
        peer.send_message(b"NAME " + peer.name.encode())
        peer.expect_message(b"OK")
    bob.stop_reading()
    alice.flood(b"TO bob " + b"x" * 4000 + b"DONE" + (b"TO bob " + b"x" * 4000 + b"DONE") * 2000)
    flooded = len(lab.events)
    lab.let_pass(1.0)
    carol.send_message(b"WHO")
    answered = lab.until(lambda: carol.received, 1.0)
    lab.events[flooded:] = [e for e in lab.events[flooded:] if e.to != "alice"]  # an OK for each that found room
    return ("carol was answered at once." if answered else
            "bob does not read, alice's thread waits in send() and holds the lock: carol's WHO gets no answer.")
