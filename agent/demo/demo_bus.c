/*
 * The demo server's side of the broker (agent/demo/demo_bus.h). Called by agent/demo/demo.c. Owns one broker connection and its
 * subscriptions. agent/core/broker.c reconnects; agent/demo/demo_server.c sends the messages to its clients.
 */
#include "agent/demo/demo_bus.h"

#include "agent/base/mem.h"
#include "brokers/memory.h"

static const char *const topics[] = { DEMO_CHANNEL, DEMO_NEWS };
enum { TOPIC_COUNT = sizeof topics / sizeof *topics };

struct demo_bus {
    struct broker *broker;
    struct broker_listener listeners[TOPIC_COUNT];
    bool attached;
    void (*on_message)(void *user, struct slice body);
    void *user;
    void (*on_closed)(void *user);
    void *closed_user;
};

static void on_message(void *user, struct slice body, uint64_t received_ns)
{
    struct demo_bus *bus = user;
    (void)received_ns;
    bus->on_message(bus->user, body);
}

static void attach(struct demo_bus *bus, bool on)
{
    if (bus->attached == on)
        return;
    bus->attached = on;
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        if (on)
            broker_listen(bus->broker, &bus->listeners[i], topics[i]);
        else
            broker_unlisten(&bus->listeners[i]);
}

struct demo_bus *demo_bus_open(struct loop *loop, const struct broker_conf *conf, struct tls_context *tls,
                               void (*on_body)(void *user, struct slice body), void *user)
{
    struct demo_bus *bus = mem_alloc(sizeof *bus);
    bus->on_message = on_body;
    bus->user = user;
    bus->broker = broker_new(loop, conf, tls);
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        bus->listeners[i] = (struct broker_listener){ .on_message = on_message, .user = bus };
    attach(bus, true);
    broker_start(bus->broker);
    return bus;
}

void demo_bus_set_faults(struct demo_bus *bus, demo_fault_set faults)
{
    attach(bus, !(faults & DEMO_FAULT_BIT(DEMO_DETACH_BROKER)));
    memory_set_fault(faults & DEMO_FAULT_BIT(DEMO_BROKER_DOWN)        ? MEMORY_DOWN
                     : faults & DEMO_FAULT_BIT(DEMO_BROKER_READ_ONLY) ? MEMORY_READ_ONLY
                     : faults & DEMO_FAULT_BIT(DEMO_BROKER_MUTE)      ? MEMORY_MUTE
                                                                      : MEMORY_WELL);
}

static void on_freed(void *user)
{
    struct demo_bus *bus = user;
    void (*on_closed)(void *user) = bus->on_closed;
    void *closed_user = bus->closed_user;
    mem_free(bus);
    on_closed(closed_user);
}

void demo_bus_close(struct demo_bus *bus, void (*on_closed)(void *user), void *user)
{
    bus->on_closed = on_closed;
    bus->closed_user = user;
    attach(bus, false);
    broker_free(bus->broker, on_freed, bus);
}
