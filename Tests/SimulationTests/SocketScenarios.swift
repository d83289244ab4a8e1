// What is done to sockets on both kernels in EqualityTests: one scenario a fact the engine relies on.
// Data only; each closure makes calls on the probe, which writes the answers down.

import CLinux
import Engine
import Simulation

let socketScenarios: [Scenario] = [
    Scenario("a connection is made") { p in
        p.listener("l")
        p.watch("l", Readiness.readable)
        p.events()
        p.socket("a")
        p.connect("a", to: "l")
        p.watch("a")
        p.events()
        p.events()
        _ = p.accept("l", as: "b")
        _ = p.accept("l", as: "c")
        p.watch("b")
        p.events()
        p.events()
        p.connect("a", to: "l")
        p.error("a")
    },
    Scenario("watched before it connects") { p in
        p.listener("l")
        p.socket("a")
        p.watch("a")
        p.events()
        p.connect("a", to: "l")
        p.events()
        p.events()
    },
    Scenario("an unconnected socket") { p in
        p.socket("a")
        p.watch("a")
        p.events()
        p.receive("a")
        p.send("a", "x")
        p.shutdown("a")
        p.error("a")
    },
    Scenario("nobody listens") { p in
        p.listener("l")
        let address = p.address(of: "l")
        p.close("l")
        p.socket("a")
        p.connect("a", address: address)
        p.watch("a")
        p.events()
        p.error("a")
        p.error("a")
        p.receive("a")
        p.send("a", "x")
        p.events()
    },
    Scenario("nobody listens and nobody asks for the error") { p in
        p.listener("l")
        let address = p.address(of: "l")
        p.close("l")
        p.socket("a")
        p.connect("a", address: address)
        p.send("a", "x")
        p.send("a", "x")
        p.receive("a")
    },
    Scenario("data is an edge each time it comes") { p in
        p.pair()
        p.watch("b")
        p.events()
        p.send("a", "hello")
        p.events()
        p.events()
        p.send("a", "more")
        p.events()
        p.receive("b", 4)
        p.events()
        p.receive("b", 4, flags: Int32(MSG_PEEK))
        p.receive("b")
        p.receive("b")
        p.events()
        p.send("b", "answer")
        p.watch("a")
        p.events()
    },
    Scenario("half close, both ways") { p in
        p.pair()
        p.watch("a")
        p.watch("b")
        p.events()
        p.send("a", "last")
        p.shutdown("a")
        p.events()
        p.receive("b")
        p.receive("b")
        p.send("a", "x")
        p.send("b", "answer")
        p.events()
        p.receive("a")
        p.shutdown("b")
        p.events()
        p.events()
        p.receive("a")
        p.receive("a")
        p.receive("b")
        p.send("b", "x")
        p.shutdown("a")
        p.shutdown("b")
        p.error("a")
        p.error("b")
    },
    Scenario("shutdown twice") { p in
        p.pair()
        p.shutdown("a")
        p.shutdown("a")
        p.watch("a")
        p.watch("b")
        p.events()
    },
    Scenario("an orderly close") { p in
        p.pair()
        p.watch("b")
        p.events()
        p.send("a", "bye")
        p.close("a")
        p.events()
        p.events()
        p.receive("b", 2)
        p.receive("b")
        p.receive("b")
        p.error("b")
    },
    Scenario("sending to a closed end") { p in
        p.pair()
        p.watch("b")
        p.events()
        p.close("a")
        p.events()
        p.send("b", "x")
        p.events()
        p.error("b")
        p.send("b", "x")
        p.receive("b")
        p.receive("b")
        p.events()
    },
    Scenario("sending twice to a closed end") { p in
        p.pair()
        p.close("a")
        p.send("b", "x")
        p.send("b", "x")
        p.send("b", "x")
        p.receive("b")
    },
    Scenario("close with unread data") { p in
        p.pair()
        p.watch("b")
        p.send("b", "nobody reads this")
        p.events()
        p.close("a")
        p.events()
        p.receive("b")
        p.receive("b")
        p.send("b", "x")
        p.events()
    },
    Scenario("close with unread data, then a send") { p in
        p.pair()
        p.send("b", "nobody reads this")
        p.close("a")
        p.send("b", "x")
        p.send("b", "x")
        p.receive("b")
        p.shutdown("b")
    },
    Scenario("close with unread data leaves what was received") { p in
        p.pair()
        p.watch("b")
        p.send("a", "received")
        p.send("b", "unread")
        p.events()
        p.close("a")
        p.events()
        p.receive("b", 3)
        p.receive("b")
        p.receive("b")
        p.receive("b")
    },
    Scenario("a listener closes before it accepts") { p in
        p.listener("l")
        p.socket("a")
        p.connect("a", to: "l")
        p.watch("a")
        p.events()
        p.close("l")
        p.events()
        p.receive("a")
        p.receive("a")
    },
    Scenario("the other end closes before it is accepted") { p in
        p.listener("l")
        p.watch("l", Readiness.readable)
        p.socket("a")
        p.connect("a", to: "l")
        p.send("a", "early")
        p.close("a")
        p.events()
        _ = p.accept("l", as: "b")
        p.watch("b")
        p.events()
        p.receive("b")
        p.receive("b")
    },
    Scenario("several wait in the queue") { p in
        p.listener("l")
        p.watch("l", Readiness.readable)
        for name in ["a", "c", "d"] {
            p.socket(name)
            p.connect(name, to: "l")
        }
        p.events()
        _ = p.accept("l", as: "b1")
        p.events()
        _ = p.accept("l", as: "b2")
        _ = p.accept("l", as: "b3")
        _ = p.accept("l", as: "b4")
        p.events()
    },
    Scenario("readiness before watching is an edge at once, and again after watching anew") { p in
        p.pair()
        p.send("a", "hello")
        p.watch("b")
        p.events()
        p.events()
        p.unwatch("b")
        p.unwatch("b")
        p.events()
        p.watch("b")
        p.events()
        p.watch("b")
    },
    Scenario("only what is asked for") { p in
        p.pair()
        p.watch("b", Readiness.readable | Readiness.edgeTriggered)
        p.events()
        p.send("a", "hello")
        p.events()
        p.shutdown("a")
        p.events()
        p.shutdown("b")
        p.events()
    },
    Scenario("level-triggered reading") { p in
        p.pair()
        p.watch("b", Readiness.readable)
        p.send("a", "hello")
        p.events()
        p.events()
        p.receive("b", 2)
        p.events()
        p.receive("b")
        p.events()
    },
    Scenario("a full buffer and its edge") { p in
        p.pair()
        p.watch("a")
        p.events()
        let sent = p.fill("a")
        p.events()
        var received = 0
        for _ in 0..<1000 where received < sent { received += p.empty("b") }
        p.say("all came: \(received == sent)")
    },
    Scenario("room after a full buffer is one edge") { p in
        p.pair()
        p.watch("a")
        p.events()
        _ = p.fill("a")
        p.events()
        var room = ""
        for _ in 0..<1000 where room.isEmpty {
            _ = p.drainQuietly("b", 65_536)
            room = p.eventsQuietly()
        }
        p.say("room \(room)")
        p.send("a", "x")
    },
    Scenario("an event counter") { p in
        p.keep("e", p.kernel.eventCreate())
        p.watch("e", Readiness.readable)
        p.events()
        p.kernel.eventSignal(p.fd("e"))
        p.kernel.eventSignal(p.fd("e"))
        p.events()
        p.events()
        p.kernel.eventDrain(p.fd("e"))
        p.events()
        p.kernel.eventDrain(p.fd("e"))
    },
    Scenario("an event counter, edge-triggered") { p in
        p.keep("e", p.kernel.eventCreate())
        p.watch("e", Readiness.readable | Readiness.edgeTriggered)
        p.kernel.eventSignal(p.fd("e"))
        p.events()
        p.events()
        p.kernel.eventSignal(p.fd("e"))
        p.events()
        p.kernel.eventDrain(p.fd("e"))
        p.events()
    },
    Scenario("closing ends the watch") { p in
        p.pair()
        p.watch("b")
        p.close("b")
        p.events()
        p.socket("c")
        p.watch("c")
        p.events()
    },
    Scenario("calls on the wrong thing") { p in
        p.listener("l")
        p.keep("e", p.kernel.eventCreate())
        p.receive("l")
        p.send("l", "x")
        p.receive("e")
        p.send("e", "x")
        p.receive("nothing")
        p.send("nothing", "x")
        p.watch("nothing")
        p.unwatch("l")
        p.socket("a")
        _ = p.accept("a", as: "b")
        _ = p.accept("nothing", as: "b")
        _ = p.accept("e", as: "b")
        p.shutdown("l")
    },
    Scenario("an address in use") { p in
        p.listener("l")
        p.socket("a")
        p.bind("a", to: p.address(of: "l"))
        p.bind("l", to: p.address(of: "l"))
        _ = p.kernel.setOption(p.fd("a"), level: SOL_SOCKET, name: SO_REUSEADDR, value: 1)
        p.bind("a", to: p.address(of: "l"))
    },
    Scenario("the accepted address is the other end's name") { p in
        p.listener("l")
        p.socket("a")
        p.connect("a", to: "l")
        let other = p.accept("l", as: "b")
        p.say("address \(other == p.address(of: "a")) \(other.count)")
        p.say("local \(p.address(of: "b") == p.address(of: "l")) \(p.address(of: "b").count)")
        p.socket("c")
        p.say("fresh \(p.address(of: "c"))")
    },
]
