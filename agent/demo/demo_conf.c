/*
 * The demo's configuration (agent/demo/demo_conf.h). Called by agent/demo/demo.c. Owns the directory of the admin socket. The configuration is
 * written as YAML text and read like a user's file, so that the demo runs what the manual describes.
 */
#include "agent/demo/demo_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/mem.h"
#include "agent/demo/demo_bus.h"
#include "agent/net/listen.h"
#include "agent/run/agent.h"

enum { HEALTH_PORT = 9717, TEXT_MAX = 64 << 10, BROKER_URL_MAX = 2048 };

#define IN_PROCESS_URL "memory://demo"

static void on_nobody(void *user, struct stream *stream)
{
    (void)user;
    stream_close_now(stream);
}

/* The port if it is free, or with port 0 any free one; 0: it is taken. The agent binds it a moment later. */
static uint16_t free_port(struct loop *loop, const char *host, uint16_t port)
{
    struct listen_address address = { .port = port };
    const struct listen_options options = { .fd = -1 };
    struct err err;
    snprintf(address.host, sizeof address.host, "%s", host);
    struct listener *listener = listener_open(loop, &address, &options, on_nobody, NULL, &err);
    if (!listener)
        return 0;
    port = listener_port(listener);
    listener_close(listener);
    return port;
}

/* Chooses the address of the health listener. Without --listen a taken port is replaced by a free one, which the welcome text
 * shows. */
static int choose_listen(struct demo_setup *setup, struct loop *loop, const char *wanted, struct err *err)
{
    struct listen_address address = { .host = "127.0.0.1", .port = HEALTH_PORT };
    if (wanted && listen_address_parse(wanted, &address, err) < 0)
        return err_prefix(err, "--listen");
    mem_free(setup->conf->listen);
    if (address.is_unix) {
        setup->conf->listen = mem_strdup(wanted);
        return 0;
    }
    uint16_t port = address.port;
    if (!port || (!wanted && !free_port(loop, address.host, port)))
        port = free_port(loop, address.host, 0);
    setup->conf->listen = mem_printf(strchr(address.host, ':') ? "[%s]:%u" : "%s:%u", address.host, port);
    return 0;
}

/* The demo's admin socket has a directory of its own: /run may not be writable, and another agent may use its socket there. */
static void choose_admin(struct demo_setup *setup)
{
    const char *home = getenv("XDG_RUNTIME_DIR");
    bool fits = home && *home == '/' && strlen(home) < sizeof setup->directory - sizeof "/wshealthd-demo-XXXXXX";
    snprintf(setup->directory, sizeof setup->directory, "%s/wshealthd-demo-XXXXXX", fits ? home : "/tmp");
    if (!mkdtemp(setup->directory))
        setup->directory[0] = '\0';
    mem_free(setup->conf->admin);
    setup->conf->admin = *setup->directory ? mem_printf("unix:%s/admin.sock", setup->directory) : mem_strdup("off");
}

/* Reports the first error only, and drops the file position for the broker's URL: the user gave a flag, not a file. */
static int conf_failed(struct conf_errors *errors, struct err *err)
{
    static const char url_path[] = "brokers[0].url: ";
    const char *text = buf_str(&errors->text), *at = strstr(text, url_path);
    size_t len;
    text = at ? at + sizeof url_path - 1 : text;
    len = strcspn(text, "\n");
    err_set(err, REASON_NONE, 0, "%s%.*s", at ? "--broker: " : "", (int)len, text);
    conf_errors_fini(errors);
    return -1;
}

/* The demo's configuration, as a user would write it. */
static const char conf_text[] = "target: { url: '%s' }\n"
                                "log: { level: error }\n"
                                "liveness: { after: 10s }\n"
                                "defaults: { interval: 1s, timeout: 800ms }\n"
                                "brokers:\n"
                                "  - { name: bus, url: '%s', timeout: 1s, retry: { min: 50ms, max: 1s } }\n"
                                "checks:\n"
                                "  - { name: handshake, type: handshake }\n"
                                "  - { name: ping, type: ping }\n"
                                "  - { name: hold, type: hold }\n"
                                "  - { name: echo, type: echo, slo: 200ms }\n"
                                "  - { name: delivery, type: delivery, broker: bus, channel: " DEMO_CHANNEL ", within: 500ms }\n";

/* Quotes in the broker's URL are doubled, as YAML wants it. */
static void write_conf(const char *url, const char *broker, struct buf *out)
{
    struct buf quoted = BUF_INIT(2 * BROKER_URL_MAX);
    for (const char *c = broker; *c; c++)
        buf_append(&quoted, *c == '\'' ? "''" : c, *c == '\'' ? 2 : 1);
    buf_printf(out, conf_text, url, buf_str(&quoted));
    buf_fini(&quoted);
}

int demo_conf_make(struct demo_setup *setup, struct loop *loop, const char *url, const struct demo_options *options,
                   struct err *err)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    struct conf_errors errors;

    if (options->broker && strlen(options->broker) > BROKER_URL_MAX)
        return err_set(err, REASON_NONE, 0, "--broker: longer than %d bytes", BROKER_URL_MAX);
    write_conf(url, options->broker ? options->broker : IN_PROCESS_URL, &text);
    conf_errors_init(&errors);
    setup->conf = conf_load_text("demo", buf_slice(&text), &agent_conf_env, &errors);
    buf_fini(&text);
    if (!setup->conf)
        return conf_failed(&errors, err);
    if (choose_listen(setup, loop, options->listen, err) < 0) {
        conf_errors_fini(&errors);
        return -1;
    }
    choose_admin(setup);
    if (conf_seal(setup->conf, &agent_conf_env, &errors) < 0)
        return conf_failed(&errors, err);
    conf_errors_fini(&errors);
    setup->in_process = strcmp(setup->conf->brokers[0].type->name, "memory") == 0;
    return 0;
}

void demo_conf_fini(struct demo_setup *setup)
{
    if (setup->conf)
        conf_unref(setup->conf);
    if (*setup->directory)
        rmdir(setup->directory);
}
